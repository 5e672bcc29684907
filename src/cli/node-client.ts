/**
 * One request to a running node, for the command line: JSON text in, JSON text out, untouched, so that bytes, dates and big
 * integers keep the tags that the node gave them.
 */
import { errorTable, type Retry } from "../base/errors.ts";
import { CommandFailure, exitCodeOfRetry, exitCodes } from "./exit-code.ts";

export interface NodeRequest {
  /** The node's address, e.g. `http://127.0.0.1:7400`. */
  readonly url: string;
  readonly method: "GET" | "POST" | "DELETE";
  /** Begins with a slash, already percent-encoded. */
  readonly path: string;
  /** JSON text. */
  readonly body?: string;
  /** `Name: value` lines, as a user gives them. */
  readonly headers: readonly string[];
}

export interface NodeAnswer {
  /** JSON text. */
  readonly body: string;
  /** The place in the log, where the node gave one. */
  readonly sequence: number | undefined;
}

/**
 * Throws `CommandFailure`: `unreachable` if nobody answers, `outcomeUnknown` if the connection broke after a request that may
 * change something was sent, else what the answer's retry class says.
 */
export async function askNode(request: NodeRequest): Promise<NodeAnswer> {
  const target = targetOf(request);
  const headers = parseHeaders(request.headers);
  if (request.body !== undefined) headers.set("content-type", "application/json");
  let response: Response;
  let body: string;
  try {
    const content = request.body === undefined ? {} : { body: request.body };
    response = await fetch(target, { method: request.method, headers, redirect: "error", ...content });
    body = await response.text();
  } catch (cause) {
    throw connectionFailure(request, cause);
  }
  if (!response.ok) throw answerFailure(response, body, request.url);
  if (response.headers.get("content-type")?.startsWith("application/json") !== true)
    throw foreignAnswer(response, request.url);
  const sequence = response.headers.get("onefold-sequence");
  return { body, sequence: sequence === null ? undefined : Number(sequence) };
}

function targetOf(request: NodeRequest): string {
  let base: URL;
  try {
    base = new URL(request.url);
  } catch (cause) {
    throw new CommandFailure(exitCodes.usage, `${request.url} is not a URL, such as http://127.0.0.1:7400.`, { cause });
  }
  if (base.protocol !== "http:" && base.protocol !== "https:") {
    throw new CommandFailure(exitCodes.usage, `${request.url} must begin with http:// or https://.`);
  }
  return base.origin + request.path;
}

function parseHeaders(lines: readonly string[]): Headers {
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

const neverSent = new Set(["ECONNREFUSED", "ENOTFOUND", "EAI_AGAIN", "EHOSTUNREACH", "ENETUNREACH", "ETIMEDOUT"]);

function connectionFailure(request: NodeRequest, cause: unknown): CommandFailure {
  const code = connectionCode(cause);
  if (request.method === "GET" || neverSent.has(code) || code === "UND_ERR_CONNECT_TIMEOUT") {
    const hint = code === "ECONNREFUSED" ? " Is it running? Start one with: onefold start SYSTEM." : "";
    return new CommandFailure(exitCodes.unreachable, `No node answers at ${request.url} (${code}).${hint}`, { cause });
  }
  const message = `The connection to ${request.url} broke before the answer came (${code}); the request may have taken hold.`;
  return new CommandFailure(exitCodes.outcomeUnknown, message, { cause });
}

function connectionCode(error: unknown): string {
  for (let at = error, depth = 0; at instanceof Error && depth < 4; at = at.cause, depth++) {
    if ("code" in at && typeof at.code === "string") return at.code;
    if (at instanceof AggregateError && at.errors.length > 0) return connectionCode(at.errors[0]);
  }
  return error instanceof Error ? error.message : String(error);
}

interface Problem {
  readonly title?: unknown;
  readonly detail?: unknown;
  readonly code?: unknown;
  readonly retry?: unknown;
  readonly details?: unknown;
  readonly refused?: unknown;
}

function answerFailure(response: Response, body: string, url: string): CommandFailure {
  const problem = parseProblem(body);
  if (problem === undefined) return foreignAnswer(response, url);
  const said = [problem.detail, problem.title].find((text) => typeof text === "string" && text !== "");
  const isRefusal = problem.refused === true;
  const lines = [
    isRefusal ? `Refused: ${String(problem.code)}` : `${String(problem.code)}: ${String(said ?? response.statusText)}`,
  ];
  if (problem.details !== undefined && problem.details !== null) lines.push(JSON.stringify(problem.details, null, 2));
  return new CommandFailure(exitCodeOfProblem(problem), lines.join("\n"), { problem });
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
