/**
 * Requests by an OpenAPI document, for fast-check: of every operation, with parameters, headers and bodies that are right,
 * wrong, missing, and such as no document speaks of.
 */
import fc from "fast-check";
import { isWellFormed } from "../../src/base/bytes.ts";
import type { ApiDocument, Operation, Parameter } from "./document.ts";
import { anyJson, mutated, valuesOf } from "./json-arbitrary.ts";

export interface FuzzRequest {
  /** Undefined: a path that the document does not have. */
  readonly operation: Operation | undefined;
  readonly method: string;
  /** As it goes over the wire, percent-encoded. */
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array | undefined;
  /** The input as JSON text where it is well-formed; undefined: none is sent, or what is sent is no JSON. */
  readonly inputText: string | undefined;
  /** True where everything but the input is as the document asks, so that the input alone decides. */
  readonly isProper: boolean;
}

/** What the fuzzer has learnt by asking: tokens of sessions, ids. Changes while it runs. */
export interface Knowledge {
  readonly sessions: readonly string[];
  readonly ids: readonly string[];
  /** Values of `Authorization` that get somewhere; empty where the system asks for none. */
  readonly credentials: readonly string[];
}

/** One part of a request and whether the document would have it so. */
interface Part<T> {
  readonly value: T;
  readonly isProper: boolean;
}

function proper<T>(values: fc.Arbitrary<T>): fc.Arbitrary<Part<T>> {
  return values.map((value) => ({ value, isProper: true }));
}

function improper<T>(values: fc.Arbitrary<T>): fc.Arbitrary<Part<T>> {
  return values.map((value) => ({ value, isProper: false }));
}

const visible = fc.string({
  unit: fc.integer({ min: 0x21, max: 0x7e }).map((code) => String.fromCharCode(code)),
  minLength: 1,
  maxLength: 20,
});

export function requestsOf(document: ApiDocument, knowledge: Knowledge): fc.Arbitrary<FuzzRequest> {
  const requests = document.operations.map((each) => requestOf(document, each, knowledge));
  return fc.oneof({ weight: 15, arbitrary: fc.oneof(...requests) }, { weight: 1, arbitrary: strayRequest(document) });
}

// ------------------------------------------------------------------------------------------------------------ operations

/** Requests for one operation: most of them as the document asks, so that the input decides. */
export function requestOf(
  document: ApiDocument,
  operation: Operation,
  knowledge: Knowledge,
): fc.Arbitrary<FuzzRequest> {
  const parameters = operation.parameters.map((each) => parameterValues(document, each, knowledge));
  return fc
    .record({
      parameters: fc.tuple(...parameters),
      method: methodsOf(operation),
      body: operation.body === undefined ? noBody : bodiesOf(document, operation, knowledge),
      credentials: credentialsOf(operation, knowledge),
      extra: extraHeaders,
      extraQuery: fc.oneof(
        { weight: 30, arbitrary: proper(fc.constant("")) },
        {
          weight: 1,
          arbitrary: improper(fc.constantFrom("nothing=1", "%ff=1", "read=strong&read=strong", "input=%", "&&=")),
        },
      ),
    })
    .map(({ parameters, method, body, credentials, extra, extraQuery }) => {
      let path = operation.path;
      const query: string[] = [];
      const headers: Record<string, string> = { ...credentials.value, ...body.value.headers };
      let inputText = body.value.inputText;
      operation.parameters.forEach((parameter, index) => {
        const { value } = parameters[index]!;
        if (value === undefined) return;
        if (parameter.in === "path") path = path.replace(`{${parameter.name}}`, value);
        else if (parameter.in === "query") query.push(`${parameter.name}=${encodeURIComponent(value)}`);
        else headers[parameter.name.toLowerCase()] = value;
        if (parameter.isJson) inputText = value;
      });
      if (extraQuery.value !== "") query.push(extraQuery.value);
      const isProper =
        method.isProper &&
        credentials.isProper &&
        extra.isProper &&
        extraQuery.isProper &&
        body.isProper &&
        parameters.every((each) => each.isProper) &&
        // What two of them mean together, no schema says.
        !("idempotency-key" in headers) &&
        !("onefold-session" in headers) &&
        !("onefold-request" in headers) &&
        !query.includes("read=session");
      return {
        operation,
        method: method.value,
        path: query.length === 0 ? path : `${path}?${query.join("&")}`,
        headers: { ...headers, ...headersFor(method.value, extra.value) },
        body: body.value.bytes,
        inputText,
        isProper,
      };
    });
}

function methodsOf({ method }: Operation): fc.Arbitrary<Part<string>> {
  const others = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "M-SEARCH"];
  return fc.oneof(
    { weight: 20, arbitrary: proper(fc.constant(method)) },
    { weight: 1, arbitrary: improper(fc.constantFrom(...others.filter((other) => other !== method))) },
  );
}

/** What would only cost time: deadlines that end what is well, and waits for what never comes. */
const patience: Readonly<Record<string, object>> = {
  "Onefold-Deadline-Ms": { minimum: 2000 },
  waitMs: { maximum: 20 },
};

function parameterValues(
  document: ApiDocument,
  parameter: Parameter,
  knowledge: Knowledge,
): fc.Arbitrary<Part<string | undefined>> {
  if (parameter.in === "path") return pathPart(document, parameter, knowledge);
  const absent = { value: undefined, isProper: !parameter.required };
  if (parameter.isJson) {
    const inputs = inputsOf(document, parameter.schema).map((value) => ({
      value: JSON.stringify(value),
      isProper: true,
    }));
    const broken = improper(fc.constantFrom("{", "[1,", "nul", "\u0000", "{}{}"));
    return fc.oneof(
      { weight: parameter.required ? 1 : 4, arbitrary: fc.constant(absent) },
      { weight: 8, arbitrary: inputs },
      { weight: 1, arbitrary: broken },
    );
  }
  const schema = { ...parameter.schema, ...patience[parameter.name] };
  const values = valuesOf(schema, document.resolve).map(String);
  const known = parameter.name === "Onefold-Session" ? fc.constantFrom(...knowledge.sessions, "unknown") : values;
  // Of places in a list the document can only say that they are text; an id in a query has conditions that stand beside it.
  const isOpaque = parameter.in === "query" && ["cursor", "after", "id"].includes(parameter.name);
  const given = isOpaque ? improper(known) : proper(known);
  return fc.oneof(
    { weight: 12, arbitrary: fc.constant(absent) },
    { weight: 4, arbitrary: given },
    // Not too short a deadline: what it ends is no fault of the server's.
    {
      weight: 1,
      arbitrary: improper(
        parameter.in === "query" ? fc.string({ maxLength: 20 }) : visible.filter((text) => !/^\d+$/.test(text)),
      ),
    },
  );
}

const encoded = (text: string): string => encodeURIComponent(text).replaceAll(".", "%2E");
const anyId = fc
  .string({ unit: "binary", minLength: 1, maxLength: 24 })
  .filter((id) => isWellFormed(id) && !id.includes("\0") && id !== "." && id !== "..");
const badPart = fc.constantFrom("", "%00", "%2E", "%2E%2E", "%ff", "%", "%zz", "x".repeat(513), "%F0%9F%98");

function pathPart(document: ApiDocument, parameter: Parameter, knowledge: Knowledge): fc.Arbitrary<Part<string>> {
  if (parameter.name === "id") {
    return fc.oneof(
      { weight: 16, arbitrary: proper(fc.constantFrom(...knowledge.ids).map(encoded)) },
      { weight: 2, arbitrary: proper(anyId.map(encoded)) },
      { weight: 1, arbitrary: improper(badPart) },
    );
  }
  // Which names belong together the document says by the paths that have them, and those have schemas of their own.
  return fc.oneof(
    { weight: 12, arbitrary: improper(fc.constantFrom(...namesFor(parameter.name, document))) },
    { weight: 1, arbitrary: improper(anyId.map(encoded)) },
    { weight: 1, arbitrary: improper(badPart) },
  );
}

/** Where names stand in the paths that have them, by the parameter that stands there in the others. */
const namePatterns: Readonly<Record<string, RegExp>> = {
  kind: /^\/v1\/entities\/([^/{}]+)\//,
  operation: /^\/v1\/entities\/[^/{}]+\/\{id\}\/([^/{}]+)$/,
  name: /^\/v1\/transactions\/([^/{}]+)$/,
};

function namesFor(parameter: string, document: ApiDocument): readonly string[] {
  const names = document.operations.flatMap(({ path }) => namePatterns[parameter]?.exec(path)?.[1] ?? []);
  return names.length === 0 ? ["nothing"] : [...new Set(names)];
}

function credentialsOf({ isOpen }: Operation, { credentials }: Knowledge): fc.Arbitrary<Part<Record<string, string>>> {
  if (credentials.length === 0 || isOpen) return proper(fc.constant({}));
  return fc.oneof(
    { weight: 12, arbitrary: proper(fc.constantFrom(...credentials).map((authorization) => ({ authorization }))) },
    { weight: 1, arbitrary: improper(fc.constant({})) },
    { weight: 1, arbitrary: improper(visible.map((authorization) => ({ authorization }))) },
  );
}

// ----------------------------------------------------------------------------------------------------------------- bodies

interface Body {
  readonly bytes: Uint8Array | undefined;
  readonly headers: Readonly<Record<string, string>>;
  readonly inputText: string | undefined;
}

const jsonType = { "content-type": "application/json" };
const utf8 = new TextEncoder();

function jsonBody(value: unknown, isProper: boolean): Part<Body> {
  const inputText = JSON.stringify(value);
  return { value: { bytes: utf8.encode(inputText), headers: jsonType, inputText }, isProper };
}

const noBody: fc.Arbitrary<Part<Body>> = fc.constant({
  value: { bytes: undefined, headers: {}, inputText: undefined },
  isProper: true,
});

function inputsOf(document: ApiDocument, schema: Operation["parameters"][number]["schema"]): fc.Arbitrary<unknown> {
  const valid = valuesOf(schema, document.resolve);
  return fc.oneof(
    { weight: 6, arbitrary: valid },
    { weight: 3, arbitrary: mutated(valid) },
    { weight: 1, arbitrary: anyJson },
  );
}

/** `POST /v1/call` names in its body what the others name in their path: their inputs, then, with those names. */
function callsOf(document: ApiDocument, knowledge: Knowledge): fc.Arbitrary<unknown> {
  const calls = document.operations.flatMap(({ path, body, parameters }) => {
    const schema = body?.schema ?? parameters.find(({ isJson }) => isJson)?.schema;
    const match = /^\/v1\/(?:entities\/([^/{}]+)\/\{id\}|transactions)\/([^/{}]+)$/.exec(path);
    if (match === null || schema === undefined) return [];
    const [, kind, name] = match;
    const input = valuesOf(schema, document.resolve);
    const id = fc.constantFrom(...knowledge.ids);
    return [
      kind === undefined
        ? fc.record({ transaction: fc.constant(name), input })
        : fc.record({ kind: fc.constant(kind), id, name: fc.constant(name), input }),
    ];
  });
  return calls.length === 0 ? anyJson : fc.oneof(...calls);
}

function bodiesOf(document: ApiDocument, operation: Operation, knowledge: Knowledge): fc.Arbitrary<Part<Body>> {
  const body = operation.body!;
  const isCall = operation.path === "/v1/call";
  // Whether its input is right for what it names, the schema of a call doesn't say.
  const named = isCall
    ? [{ weight: 20, arbitrary: callsOf(document, knowledge).map((value) => jsonBody(value, false)) }]
    : [];
  const inputs = inputsOf(document, body.schema).map((value) => jsonBody(value, !isCall));
  const absent: Part<Body> = {
    value: { bytes: undefined, headers: {}, inputText: undefined },
    isProper: !body.required,
  };
  const raw = (bytes: Uint8Array, headers: Readonly<Record<string, string>>): Part<Body> => ({
    value: { bytes, headers, inputText: undefined },
    isProper: false,
  });
  const texts = [
    "{",
    "",
    "[",
    "nul",
    '{"a":1,}',
    '{"__proto__":1}',
    '{"$date":1}',
    "1e999",
    '"\\ud800"',
    "\ufeff{}",
    "[".repeat(70) + "]".repeat(70),
  ];
  const broken = fc.oneof(
    fc.constantFrom(...texts).map((each) => raw(utf8.encode(each), jsonType)),
    fc.uint8Array({ maxLength: 30 }).map((bytes) => raw(bytes, jsonType)),
    fc
      .constantFrom(
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/json; charset=utf-16",
        "nonsense",
        "multipart/form-data",
      )
      .map((type) => raw(utf8.encode("{}"), { "content-type": type })),
    fc
      .constantFrom("gzip", "br", "identity", "nonsense")
      .map((encoding) => raw(utf8.encode("{}"), { ...jsonType, "content-encoding": encoding })),
    fc.constant(raw(new Uint8Array(1_048_577).fill(0x20), jsonType)),
  );
  return fc.oneof(
    ...named,
    { weight: 20, arbitrary: inputs },
    { weight: 1, arbitrary: fc.constant(absent) },
    { weight: 2, arbitrary: broken },
  );
}

// ---------------------------------------------------------------------------------------------------- what nobody asked for

const harmless = fc.constantFrom<Record<string, string>>(
  {},
  { accept: "text/html" },
  { "accept-encoding": "gzip" },
  { "x-nobody-knows": "1" },
  { traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01" },
);
const harmful = fc.constantFrom<Record<string, string>>(
  { host: "example.com" },
  { host: "" },
  { origin: "https://example.com" },
  { origin: "null" },
  { "sec-fetch-site": "cross-site" },
  { "x-long": "x".repeat(17_000) },
  { expect: "something" },
  { "if-none-match": '*, "1-1-1", W/"x"' },
  { "onefold-request": "1;lowest=1" },
  { "onefold-request": "0;lowest=9", "idempotency-key": "k" },
);

const extraHeaders: fc.Arbitrary<Part<Record<string, string>>> = fc.oneof(
  { weight: 10, arbitrary: proper(harmless) },
  { weight: 1, arbitrary: improper(harmful) },
);

/** A head that is too large is refused before its method is known, with a body, which is not for HEAD. The connection ends. */
function headersFor(method: string, headers: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  return method === "HEAD" && "x-long" in headers ? {} : headers;
}

/** A path that the document does not have. */
function strayRequest(document: ApiDocument): fc.Arbitrary<FuzzRequest> {
  const paths = document.operations.map(({ path }) => path);
  const near = fc.constantFrom(...paths).map((path) => `${path.replaceAll(/\{[a-z]+\}/gi, "x")}/`.replace("//", "/x/"));
  const far = fc.constantFrom(
    "/v1",
    "/v2/call",
    "/V1/call",
    "//",
    "/v1//call",
    "/.well-known/x",
    "/favicon.ico",
    "/a/b/c/d/e/f/g",
    "/%00",
    "/%ff",
    "/..",
  );
  return fc
    .record({
      path: fc.oneof(near, far),
      method: fc.constantFrom("GET", "POST", "DELETE", "PUT", "OPTIONS", "HEAD"),
      extra: extraHeaders,
    })
    .map(({ path, method, extra }) => ({
      operation: undefined,
      method,
      path,
      headers: headersFor(method, extra.value),
      body: undefined,
      inputText: undefined,
      isProper: false,
    }));
}
