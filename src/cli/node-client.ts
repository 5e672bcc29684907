/**
 * One request to a running node, for the command line: JSON text in, JSON text out, untouched, so that bytes, dates and big
 * integers keep the tags that the node gave them.
 */
import { once } from "node:events";
import { type IncomingHttpHeaders, type IncomingMessage, request as requestPlain } from "node:http";
import { request as requestOverTls } from "node:https";
import { errorTable, type Retry } from "../base/errors.ts";
import { limits } from "../base/limits.ts";
import { CommandFailure, exitCodeOfRetry, exitCodes } from "./exit-code.ts";

/** Which node is asked, and as whom: the options that all commands have which ask one. */
export interface NodeOptions {
  /** The node's address, e.g. `http://127.0.0.1:7400`. */
  readonly url: string;
  /** `Name: value` lines, as a user gives them. */
  readonly header: readonly string[];
  readonly json?: boolean;
}

export interface NodeRequest {
  readonly node: NodeOptions;
  readonly method: "GET" | "POST" | "DELETE";
  /** Begins with a slash, already percent-encoded. */
  readonly path: string;
  /** JSON text. */
  readonly body?: string;
  /** Header lines besides the user's. */
  readonly headers?: readonly string[];
  /** Besides JSON, the answer may be text that is none, such as metrics. */
  readonly accepts?: "text/plain";
  /** How long to wait for the whole answer; if absent, somewhat longer than the node takes at most to give one. */
  readonly answerMs?: number;
  /** Gives the request up. */
  readonly signal?: AbortSignal;
}

export interface NodeAnswer {
  /** JSON text. */
  readonly body: string;
  /** The place in the log, where the node gave one. */
  readonly sequence: number | undefined;
}

/** The answer to a GET, as a value of the shape that the node's contract promises. Throws as `askNode` does. */
export async function readNode<T>(node: NodeOptions, path: string, signal?: AbortSignal): Promise<T> {
  const answer = await askNode({ node, method: "GET", path, ...(signal === undefined ? {} : { signal }) });
  return JSON.parse(answer.body) as T;
}

/** `?a=1&b=2` of what is not undefined; empty where nothing is left. */
export function queryText(parameters: Readonly<Record<string, string | number | undefined>>): string {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) if (value !== undefined) query.set(name, String(value));
  return query.size === 0 ? "" : `?${query}`;
}

/**
 * Throws `CommandFailure`: `unreachable` if nobody answers, `outcomeUnknown` if the connection broke after a request that may
 * change something was sent, else what the answer's retry class says.
 */
export async function askNode(request: NodeRequest): Promise<NodeAnswer> {
  const { node } = request;
  const target = baseOf(node) + request.path;
  const headers = headersOf([...node.header, ...(request.headers ?? [])]);
  if (request.body !== undefined) headers.set("content-type", "application/json");
  const signal = boundOf(request, headers);
  let response: Response;
  try {
    response = await send(target, { method: request.method, headers, body: request.body, signal });
  } catch (cause) {
    throw connectionFailure(request, cause);
  }
  const { status, body, headers: answered } = response;
  if (status < 200 || status > 299) throw answerFailure(response, node.url);
  const accepted = ["application/json", ...(request.accepts === undefined ? [] : [request.accepts])];
  const contentType = answered["content-type"] ?? "";
  if (!accepted.some((type) => contentType.startsWith(type))) throw foreignAnswer(response, node.url);
  const sequence = answered["onefold-sequence"];
  return { body, sequence: sequence === undefined ? undefined : Number(sequence) };
}

export interface NodeStream {
  /** Ends early, or throws, where the connection breaks. */
  readonly body: AsyncIterable<Uint8Array>;
  readonly sizeBytes: number | undefined;
}

/** An answer as it comes. Throws as `askNode` does, until the answer has begun. */
export async function streamNode(
  request: Pick<NodeRequest, "node" | "path" | "headers" | "signal" | "body"> & {
    readonly method?: "GET" | "POST";
    readonly contentType: string;
  },
): Promise<NodeStream> {
  const { node, signal, method = "GET", body } = request;
  const target = baseOf(node) + request.path;
  const headers = headersOf([...node.header, ...(request.headers ?? [])]);
  let incoming: IncomingMessage;
  let failed: Response | undefined;
  try {
    if (body !== undefined) headers.set("content-type", "application/json");
    incoming = await begin(target, { method, headers, body, signal });
    const { statusCode = 0 } = incoming;
    if (statusCode < 200 || statusCode > 299) failed = await received(incoming);
  } catch (cause) {
    throw connectionFailure({ ...request, method }, cause);
  }
  if (failed !== undefined) throw answerFailure(failed, node.url);
  if (!(incoming.headers["content-type"] ?? "").startsWith(request.contentType)) {
    incoming.destroy();
    const { statusCode: status = 0, statusMessage: statusText = "", headers } = incoming;
    throw foreignAnswer({ status, statusText, headers, body: "" }, node.url);
  }
  const length = incoming.headers["content-length"];
  return { body: incoming, sizeBytes: length === undefined ? undefined : Number(length) };
}

/** What the way to the node and back may take beside the node's own deadline. */
const wayMs = 10_000;

/** Aborts when nobody wants the answer any more, and when it doesn't come: a node may have been paused, or its machine lost. */
function boundOf({ answerMs, signal }: NodeRequest, headers: Headers): AbortSignal {
  const deadlineMs = Number(headers.get("onefold-deadline-ms") ?? limits.deadlineMsDefault);
  const asked = Number.isFinite(deadlineMs) ? Math.min(deadlineMs, limits.deadlineMsMax) : limits.deadlineMsDefault;
  const bound = AbortSignal.timeout(answerMs ?? asked + wayMs);
  return signal === undefined ? bound : AbortSignal.any([signal, bound]);
}

interface Response {
  readonly status: number;
  readonly statusText: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

/** Far more than a node answers at once. */
const bodyBytesMax = 256 * 1024 * 1024;

interface Outgoing extends Pick<NodeRequest, "method"> {
  readonly signal: AbortSignal | undefined;
  readonly headers: Headers;
  readonly body: string | undefined;
}

async function send(target: string, outgoing: Outgoing): Promise<Response> {
  return received(await begin(target, outgoing));
}

/** Not by `fetch`, which refuses some ports that a node may well have, and follows redirects that a node never gives. */
async function begin(target: string, { headers, body, signal, method }: Outgoing): Promise<IncomingMessage> {
  const content = body === undefined ? {} : { "content-length": String(Buffer.byteLength(body)) };
  const outgoing = (target.startsWith("https:") ? requestOverTls : requestPlain)(target, {
    method,
    headers: { ...Object.fromEntries(headers), ...content },
    agent: false,
    ...(signal === undefined ? {} : { signal }),
  });
  outgoing.end(body);
  const [incoming] = (await once(outgoing, "response")) as [IncomingMessage];
  return incoming;
}

async function received(incoming: IncomingMessage): Promise<Response> {
  const chunks: Uint8Array[] = [];
  let sizeBytes = 0;
  for await (const chunk of incoming as AsyncIterable<Uint8Array>) {
    sizeBytes += chunk.length;
    if (sizeBytes > bodyBytesMax) throw new Error(`the answer is larger than ${bodyBytesMax} bytes`);
    chunks.push(chunk);
  }
  const { statusCode = 0, statusMessage = "", headers: answered } = incoming;
  return { status: statusCode, statusText: statusMessage, headers: answered, body: Buffer.concat(chunks).toString() };
}

/** The node's origin. Throws `CommandFailure` (usage). */
export function baseOf({ url }: NodeOptions): string {
  let base: URL;
  try {
    base = new URL(url);
  } catch (cause) {
    throw new CommandFailure(exitCodes.usage, `${url} is not a URL, such as http://127.0.0.1:7400.`, { cause });
  }
  if (base.protocol !== "http:" && base.protocol !== "https:") {
    throw new CommandFailure(exitCodes.usage, `${url} must begin with http:// or https://.`);
  }
  return base.origin;
}

/** The headers that these lines say. Throws `CommandFailure` (usage). */
export function headersOf(lines: readonly string[]): Headers {
  const headers = new Headers();
  for (const line of lines) {
    const colon = line.indexOf(":");
    try {
      if (colon < 1) throw new TypeError("there is no name before a colon");
      headers.append(line.slice(0, colon).trim(), line.slice(colon + 1).trim());
    } catch (cause) {
      throw new CommandFailure(exitCodes.usage, `${JSON.stringify(line)} is not a header of the form 'Name: value'.`, {
        cause,
      });
    }
  }
  return headers;
}

function connectionFailure(request: NodeRequest, cause: unknown): CommandFailure {
  const code = connectionCode(cause);
  const { url } = request.node;
  if (request.method === "GET" || wasNeverSent(cause)) {
    const hint = code === "ECONNREFUSED" ? " Is it running? Start one with: onefold start SYSTEM." : "";
    return new CommandFailure(exitCodes.unreachable, `No node answers at ${url} (${code}).${hint}`, { cause });
  }
  const message = `The connection to ${url} broke before the answer came (${code}); the request may have taken hold.`;
  return new CommandFailure(exitCodes.outcomeUnknown, message, { cause });
}

/** There was no connection yet: a host of several addresses has failed at each. */
function wasNeverSent(error: unknown): boolean {
  if (error instanceof AggregateError) return error.errors.every(wasNeverSent);
  return error instanceof Error && "syscall" in error && /^(connect|getaddrinfo)$/.test(String(error.syscall));
}

function connectionCode(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  if (error.name === "AbortError") return "no answer in time";
  return "code" in error && typeof error.code === "string" ? error.code : error.message;
}

interface Problem {
  readonly type?: unknown;
  readonly status?: unknown;
  readonly title?: unknown;
  readonly detail?: unknown;
  readonly code?: unknown;
  readonly retry?: unknown;
  readonly details?: unknown;
  readonly refused?: unknown;
  readonly issues?: unknown;
  /** The error's own facts. */
  readonly [fact: string]: unknown;
}

interface Issue {
  readonly path?: unknown;
  readonly message?: unknown;
}

function answerFailure(response: Response, url: string): CommandFailure {
  const problem = parseProblem(response.body);
  if (problem === undefined) return foreignAnswer(response, url);
  const { type, status, title, detail, code, retry, refused, issues, details, reason, ...facts } = problem;
  // The detail has the reason in it.
  const said = [detail, title].find((text) => typeof text === "string" && text !== "");
  const lines = [
    refused === true ? `Refused: ${String(code)}` : `${String(code)}: ${String(said ?? response.statusText)}`,
    ...issueLines(issues),
  ];
  if (details !== undefined && details !== null) lines.push(JSON.stringify(details, null, 2));
  if (Object.keys(facts).length > 0) lines.push(JSON.stringify(facts, null, 2));
  return new CommandFailure(exitCodeOfProblem(problem), lines.join("\n"), { problem });
}

/** What a schema says against an input: `  cents: Too small`. */
function issueLines(issues: unknown): readonly string[] {
  // A single one is in the detail.
  if (!Array.isArray(issues) || issues.length < 2) return [];
  return (issues as readonly Issue[]).map(({ path, message }) => {
    const place = Array.isArray(path) && path.length > 0 ? `${path.map(String).join(".")}: ` : "";
    return `  ${place}${String(message)}`;
  });
}

function foreignAnswer(response: Response, url: string): CommandFailure {
  const message = `${url} answered ${response.status} ${response.statusText}, but not as a Onefold node does.`;
  return new CommandFailure(exitCodes.unreachable, message);
}

function exitCodeOfProblem(problem: Problem): ReturnType<typeof exitCodeOfRetry> {
  const retries: readonly Retry[] = ["never", "safe", "unknown"];
  const retry = retries.find((candidate) => candidate === problem.retry);
  return exitCodeOfRetry(retry ?? errorTable.internal.retry);
}

function parseProblem(body: string): Problem | undefined {
  let parsed: unknown;
  try {
    parsed = JSON.parse(body);
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
  return parsed !== null && typeof parsed === "object" && "code" in parsed ? parsed : undefined;
}
