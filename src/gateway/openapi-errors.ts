/**
 * Errors and refusals as the parts of an OpenAPI document: a schema for each code of `errorTable`, a response for each
 * status. `problem.ts` writes what is described here.
 */
import { type ErrorCode, errorTable } from "../base/errors.ts";
import type { JsonSchema } from "./openapi-schema.ts";
import { schemasPointer } from "./openapi-schema.ts";

/** These end a process before it serves; no answer can carry them. */
const neverAnswered: ReadonlySet<ErrorCode> = new Set(["invalid-configuration", "data-directory-busy"]);
/** A refusal has its command's own code. */
const refusedCode: ErrorCode = "refused";

export const answeredCodes: readonly ErrorCode[] = (Object.keys(errorTable) as ErrorCode[]).filter(
  (code) => !neverAnswered.has(code) && code !== refusedCode,
);

/** The statuses that an error can have, in order. */
export const problemStatuses: readonly number[] = [
  ...new Set(answeredCodes.map((code) => errorTable[code].status)),
].sort((a, b) => a - b);

const text: JsonSchema = { type: "string" };
const count: JsonSchema = { type: "integer", minimum: 0 };

const issues: JsonSchema = {
  description: "What the schema objects to, at most 32 issues.",
  type: "array",
  maxItems: 32,
  items: {
    type: "object",
    required: ["path", "message"],
    properties: {
      path: { description: "From the root to the part.", type: "array", items: { type: ["string", "integer"] } },
      message: text,
    },
  },
};

/** The facts that stand beside `code` where there are any. */
const facts: { readonly [code in ErrorCode]?: Readonly<Record<string, JsonSchema>> } = {
  malformed: { position: { description: "In UTF-16 units, from 0.", ...count }, path: text, reason: text },
  "invalid-id": { reason: text },
  "invalid-input": { issues },
  "invalid-state": { issues },
  "invalid-value": { path: text, reason: text },
  "payload-too-large": { bodyBytesMax: count },
  "too-large": { bytes: count, bytesMax: count },
  forbidden: { scope: text },
  "not-ready": {
    state: text,
    sequence: count,
    appliedSequence: count,
    queuedCalls: count,
    problems: { type: "array", items: text },
  },
};

/** The schemas of all errors, of refusals, and of the problems of each status, by name. */
export function problemSchemas(): Readonly<Record<string, JsonSchema>> {
  const schemas: Record<string, JsonSchema> = {
    Retry: {
      description:
        "What may be done with the same request: `never` send it again; `safe`: nothing happened, send it again; `unknown`: " +
        "it may have happened, send it again only under the same Onefold-Request or Idempotency-Key.",
      enum: ["never", "safe", "unknown"],
    },
    Refusal: {
      description: "A command, query or transaction said no, with a code of its own. Nothing of it has happened.",
      type: "object",
      required: ["type", "title", "status", "detail", "code", "retry", "refused"],
      properties: {
        type: { const: "urn:onefold:refused" },
        title: text,
        status: { const: errorTable.refused.status },
        detail: text,
        code: text,
        retry: { const: errorTable.refused.retry },
        refused: { const: true },
      },
    },
  };
  for (const code of answeredCodes) schemas[errorName(code)] = errorSchema(code);
  for (const status of problemStatuses) {
    const codes = answeredCodes.filter((code) => errorTable[code].status === status);
    schemas[problemName(status)] = { anyOf: codes.map((code) => reference(errorName(code))) };
  }
  return schemas;
}

function errorSchema(code: ErrorCode): JsonSchema {
  const { status, title, retry } = errorTable[code];
  return {
    description: `${title}. Retry, unless it says otherwise: ${retry}.`,
    type: "object",
    required: ["type", "title", "status", "detail", "code", "retry"],
    properties: {
      type: { const: `urn:onefold:error:${code}` },
      title: { const: title },
      status: { const: status },
      detail: { description: "What happened and what to do about it.", ...text },
      code: { const: code },
      retry: reference("Retry"),
      ...facts[code],
    },
  };
}

/** The schema of one refusal: its code, and its details as declared. */
export function refusalSchema(
  code: string,
  details: { readonly schema: JsonSchema; readonly isOptional: boolean } | "no details",
): JsonSchema {
  const isBare = details === "no details";
  return {
    allOf: [reference("Refusal")],
    properties: { code: { const: code }, details: isBare ? false : details.schema },
    required: isBare || details.isOptional ? ["code"] : ["code", "details"],
  };
}

/** The responses to which operations refer, by name: one for each status. */
export function problemResponses(): Readonly<Record<string, object>> {
  return Object.fromEntries(
    problemStatuses.map((status) => {
      const isRefusal = status === errorTable.refused.status;
      const schema = reference(problemName(status));
      return [
        problemName(status),
        problemResponse(status, isRefusal ? { anyOf: [schema, reference("Refusal")] } : schema),
      ];
    }),
  );
}

/** A response with a problem document of this schema. */
export function problemResponse(status: number, schema: JsonSchema): object {
  const codes = answeredCodes.filter((code) => errorTable[code].status === status);
  return {
    description: `${codes.map((code) => `\`${code}\``).join(", ")}${status === errorTable.refused.status ? ", or a refusal" : ""}.`,
    headers: {
      ...(status === 429 || status === 503 ? { "Retry-After": header("RetryAfter") } : {}),
      ...(status === 401 ? { "WWW-Authenticate": header("WwwAuthenticate") } : {}),
      "Onefold-Session": header("OnefoldSession"),
    },
    content: { "application/problem+json": { schema } },
  };
}

export function problemName(status: number): string {
  return `Problem${status}`;
}

function errorName(code: ErrorCode): string {
  return `Error.${code}`;
}

function header(name: string): object {
  return { $ref: `#/components/headers/${name}` };
}

function reference(name: string): JsonSchema {
  return { $ref: schemasPointer + name };
}
