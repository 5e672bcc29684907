/**
 * Holds a reply against the document.
 *
 * Z1  The status is one that the document has for the operation; never 5xx but 503, whatever was asked.
 * Z2  The body's type and content, and the headers, are as the document has them for that status.
 * Z3  What the document's schema refuses is refused, what it accepts is not refused as malformed or invalid.
 * Z4  What the document doesn't have gets a problem document that says so: 404, or 405 with the methods that it has.
 */
import { parseTaggedJson } from "../../src/base/tagged-json.ts";
import type { ApiDocument, Operation } from "./document.ts";
import type { FuzzRequest } from "./request-arbitrary.ts";

export interface FuzzReply {
  readonly status: number;
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string | undefined>>;
  readonly body: string;
}

/** What any request may meet before it is looked at closely: its head, its caller, its size, the node's state. */
const statusesOfStrays: ReadonlySet<number> = new Set([400, 401, 403, 404, 405, 408, 413, 415, 431, 503]);
const invalidCodes: ReadonlySet<string> = new Set(["malformed", "invalid-input", "invalid-value", "invalid-id"]);
/** What a command does with a valid input may still come to a wrong id or value, inside. */
const invalidInputCodes: ReadonlySet<string> = new Set(["malformed", "invalid-input"]);

/** Undefined where the reply is as it should be, else what is wrong. */
export function faultOf(document: ApiDocument, request: FuzzRequest, reply: FuzzReply): string | undefined {
  const { status } = reply;
  if (status >= 500 && status !== 503) return `Z1: it answers ${status}`;
  if (request.operation === undefined) return strayFault(document, request, reply);
  if (request.method !== request.operation.method) return otherMethodFault(document, request, request.operation, reply);
  return (
    replyFault(document, request.operation, reply, "body") ?? inputFault(document, request, request.operation, reply)
  );
}

function replyFault(
  document: ApiDocument,
  operation: Operation,
  reply: FuzzReply,
  expect: "body" | "head",
): string | undefined {
  const response = operation.responses.get(reply.status);
  if (response === undefined) return `Z1: ${reply.status} is not documented`;
  for (const [name, pointer] of response.headers) {
    const value = reply.headers[name];
    if (value === undefined) continue;
    // Numbers in headers are digits.
    const fault = document.fault(pointer, /^\d+$/.test(value) ? Number(value) : value);
    if (fault !== undefined && document.fault(pointer, value) !== undefined) return `Z2: header ${name}: ${fault}`;
  }
  if (expect === "head") return reply.body === "" ? undefined : "Z2: there is a body";
  if (response.content.size === 0) return reply.body === "" ? undefined : "Z2: there is a body, and none is documented";
  const type = mediaTypeOf(reply);
  const pointer = response.content.get(type);
  if (!response.content.has(type)) return `Z2: the type ${type} is not documented for ${reply.status}`;
  if (pointer === undefined) return undefined;
  const value: unknown = type.endsWith("json") ? JSON.parse(reply.body) : reply.body;
  const fault = document.fault(pointer, value);
  return fault === undefined ? undefined : `Z2: the body of ${reply.status}: ${fault}`;
}

/** Z3, where the input alone decides. */
function inputFault(
  document: ApiDocument,
  request: FuzzRequest,
  operation: Operation,
  reply: FuzzReply,
): string | undefined {
  const schema = operation.body?.schema ?? operation.parameters.find(({ isJson }) => isJson)?.schema;
  if (!request.isProper || reply.status === 503) return undefined;
  const { code } = reply.status < 400 ? { code: "" } : (JSON.parse(reply.body) as { readonly code: string });
  if (schema === undefined || request.inputText === undefined) {
    return invalidCodes.has(code) ? `Z3: nothing is wrong with it, and it answers ${code}` : undefined;
  }
  // Tagged JSON's escape for an object that looks like a tag is no part of any schema.
  if (request.inputText.includes('"$object"')) return undefined;
  const isAccepted = isTaggedJson(request.inputText) && document.accepts(schema, JSON.parse(request.inputText));
  if (isAccepted && invalidInputCodes.has(code)) return `Z3: the document accepts the input, and the answer is ${code}`;
  if (!isAccepted && reply.status < 400) return "Z3: the document refuses the input, and it was accepted";
  return undefined;
}

/** Tags whose content is not theirs, and keys that are not allowed, are the business of tagged JSON and of no schema. */
function isTaggedJson(text: string): boolean {
  try {
    parseTaggedJson(text);
    return true;
  } catch {
    // The verdict is all that is asked for.
    return false;
  }
}

function otherMethodFault(
  document: ApiDocument,
  request: FuzzRequest,
  operation: Operation,
  reply: FuzzReply,
): string | undefined {
  const { method } = request;
  const sibling = document.operations.find((each) => each.path === operation.path && each.method === method);
  // What the sibling would have been sent, this request does not have.
  if (sibling !== undefined) return replyFault(document, sibling, reply, "body");
  if (method === "HEAD") {
    const read = document.operations.find((each) => each.path === operation.path && each.method === "GET");
    if (read !== undefined) return replyFault(document, read, reply, "head");
  }
  return strayFault(document, request, reply);
}

function strayFault(document: ApiDocument, request: FuzzRequest, reply: FuzzReply): string | undefined {
  const { status, headers, body } = reply;
  if (request.method === "OPTIONS" && status === 204) {
    return headers.allow?.includes("OPTIONS") === true && body === "" ? undefined : "Z4: OPTIONS without Allow";
  }
  if (!statusesOfStrays.has(status)) return `Z4: it answers ${status}`;
  if (status === 405 && (headers.allow ?? "") === "") return "Z4: 405 without Allow";
  if (request.method === "HEAD") return body === "" ? undefined : "Z4: HEAD with a body";
  if (mediaTypeOf(reply) !== "application/problem+json") return `Z4: no problem document: ${body.slice(0, 100)}`;
  const fault = document.fault(`#/components/schemas/Problem${status}`, JSON.parse(body));
  return fault === undefined ? undefined : `Z4: the body of ${status}: ${fault}`;
}

function mediaTypeOf({ headers }: FuzzReply): string {
  return headers["content-type"]?.split(";")[0] ?? "none";
}
