/** The parts that operations of the OpenAPI document have in common: parameters, headers, responses. `docs/http.md` in data. */
import type { Limits } from "../base/limits.ts";
import { problemName } from "./openapi-errors.ts";
import { type JsonSchema, schemasPointer } from "./openapi-schema.ts";

export const anyValue: JsonSchema = { $ref: `${schemasPointer}Value` };

export function json(schema: JsonSchema): object {
  return { "application/json": { schema } };
}

export function parameter(name: string): object {
  return { $ref: `#/components/parameters/${name}` };
}

export function header(name: string): object {
  return { $ref: `#/components/headers/${name}` };
}

/** The problems of every request, whatever it asks for: its head, its caller, the node's state. */
const statusesOfAll = [400, 403, 408, 409, 422, 429, 431, 500, 503, 504];

/** The problem responses of an operation, by status. */
export function problems(of: {
  readonly isGuarded: boolean;
  readonly more?: readonly number[];
}): Record<string, object> {
  const statuses = [...statusesOfAll, ...(of.isGuarded ? [401] : []), ...(of.more ?? [])].sort((a, b) => a - b);
  return Object.fromEntries(
    statuses.map((status) => [String(status), { $ref: `#/components/responses/${problemName(status)}` }]),
  );
}

export function ok(description: string, content: object, headers: Readonly<Record<string, object>> = {}): object {
  return { description, headers: { "Onefold-Session": header("OnefoldSession"), ...headers }, content };
}

export const sequenceHeader = { "Onefold-Sequence": header("OnefoldSequence") };

/** For commands, transactions and deletions. */
export const callParameters = ["Session", "Request", "IdempotencyKey", "Deadline"].map(parameter);
/** For reads. */
export const readParameters = ["Read", "Session", "Deadline"].map(parameter);

export function sharedHeaders(): Readonly<Record<string, object>> {
  return {
    OnefoldSequence: {
      description: "Where in the log the effects stand, or up to where the answer has seen it.",
      schema: { type: "integer", minimum: 0 },
    },
    OnefoldSession: {
      description: "The token that the request came with, or the one that was asked for.",
      schema: { type: "string" },
    },
    RetryAfter: {
      description: "Try again after so many seconds.",
      schema: { type: "integer", minimum: 1 },
    },
    WwwAuthenticate: { description: "How to say who you are.", schema: { type: "string" } },
    ETag: { description: "Generation, version and schema version of the state.", schema: { type: "string" } },
  };
}

export function sharedParameters(limits: Limits): Readonly<Record<string, object>> {
  const inHeader = (name: string, description: string, schema: JsonSchema): object => ({
    name,
    in: "header",
    description,
    schema: { type: "string", ...schema },
  });
  const inQuery = (name: string, description: string, schema: JsonSchema): object => ({
    name,
    in: "query",
    description,
    schema: { type: "string", ...schema },
  });
  const inPath = (name: string, description: string, schema: JsonSchema): object => ({
    name,
    in: "path",
    required: true,
    description,
    schema: { type: "string", ...schema },
  });
  return {
    Kind: inPath("kind", "An entity kind of the system.", {}),
    Id: inPath(
      "id",
      `An entity's id, percent-encoded: 1 to ${limits.idBytesMax} bytes of UTF-8, anything but NUL, \`.\` and \`..\`.`,
      { minLength: 1, maxLength: limits.idBytesMax, pattern: "^[^\\u0000]*$", not: { enum: [".", ".."] } },
    ),
    Operation: inPath("operation", "A command (POST) or a query (GET) of the kind.", {}),
    Transaction: inPath("name", "A transaction of the system.", {}),
    Read: inQuery("read", "How fresh the answer must be; `session` needs Onefold-Session.", {
      enum: ["strong", "session", "eventual"],
      default: "strong",
    }),
    Prefix: inQuery("prefix", "Only ids that begin with it.", {}),
    Limit: inQuery("limit", "How many at most.", {
      type: "integer",
      minimum: 1,
      maximum: limits.listLimitMax,
      default: limits.listLimitDefault,
    }),
    Cursor: inQuery("cursor", "As the page before gave it.", {}),
    Session: inHeader("Onefold-Session", "A session's token, as POST /v1/sessions gives it.", {
      pattern: "^[\\x21-\\x7e]{1,4096}$",
    }),
    Request: inHeader(
      "Onefold-Request",
      "This request's number in its session, from 1, and the lowest number still unanswered: `<number>;lowest=<n>`. Sent " +
        "again, it gets the same answer. Needs Onefold-Session.",
      { pattern: "^[0-9]{1,15} *; *lowest=[0-9]{1,15}$" },
    ),
    IdempotencyKey: inHeader(
      "Idempotency-Key",
      "Makes the request take hold at most once, without a session. Excludes Onefold-Request.",
      { pattern: "^[\\x21-\\x7e]([\\x20-\\x7e]*[\\x21-\\x7e])?$", maxLength: limits.idempotencyKeyBytesMax },
    ),
    Deadline: inHeader("Onefold-Deadline-Ms", "How long the caller waits.", {
      type: "integer",
      minimum: 1,
      maximum: limits.deadlineMsMax,
      default: limits.deadlineMsDefault,
    }),
    IfNoneMatch: inHeader("If-None-Match", "ETags of states that the caller has.", {}),
    Traceparent: inHeader("traceparent", "W3C trace context; stands beside what the node logs about the request.", {}),
  };
}
