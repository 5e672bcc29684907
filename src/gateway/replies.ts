/** Puts answers and problems on the wire. Every reply forbids caching and content sniffing. */
import type { FastifyReply } from "fastify";
import { utf8Length } from "../base/bytes.ts";
import type { Timers } from "../host/host.ts";
import type { Answer } from "./answer.ts";
import type { Problem } from "./problem.ts";

/** What every reply carries besides its own. */
export interface ReplyFacts {
  /** The request's session token, which goes back with every reply. */
  readonly sessionToken: string | undefined;
  /** True: the connection ends with this reply. */
  readonly closes: boolean;
}

const common = { "cache-control": "no-store", "x-content-type-options": "nosniff" } as const;

/**
 * Writes past the framework's own way of replying, of which nothing is used here (no serialisers, no hooks, no trailers)
 * and which took a fifth of a short request's time.
 */
export function sendAnswer(reply: FastifyReply, answer: Answer, facts: ReplyFacts, allow?: readonly string[]): void {
  reply.hijack();
  reply.raw.writeHead(answer.status, headOfAnswer(answer, facts, allow)).end(answer.body);
}

/** Names and values in turn: Node's fastest form. */
export function headOfAnswer(answer: Answer, facts: ReplyFacts, allow?: readonly string[]): string[] {
  const {
    body,
    stream,
    sequence,
    staleForMs,
    etag,
    contentType = "application/json",
    sessionToken = facts.sessionToken,
  } = answer;
  const headers = ["cache-control", "no-store", "x-content-type-options", "nosniff"];
  const sizeBytes = body === undefined ? stream?.sizeBytes : utf8Length(body);
  if (sizeBytes !== undefined || stream !== undefined) headers.push("content-type", contentType);
  if (sizeBytes !== undefined) headers.push("content-length", String(sizeBytes));
  if (sequence !== undefined) headers.push("onefold-sequence", String(sequence));
  if (staleForMs !== undefined) headers.push("onefold-stale-for-ms", String(Math.ceil(staleForMs)));
  if (etag !== undefined) headers.push("etag", etag);
  if (allow !== undefined) headers.push("allow", allow.join(", "));
  if (sessionToken !== undefined) headers.push("onefold-session", sessionToken);
  if (facts.closes) headers.push("connection", "close");
  return headers;
}

export function sendProblem(reply: FastifyReply, problem: Problem, facts: ReplyFacts, allow?: readonly string[]): void {
  reply
    .code(problem.status)
    .headers(problemHeaders(problem, facts, allow))
    .send(problem.body);
}

/**
 * Replies to a request of whose body more may be under way: the whole reply goes out at once, then what still comes is
 * discarded until its end, or until `bytesMax` or `lingerMs` is reached; then the connection ends. (Closing it while bytes
 * are unread would reset it, and the sender would lose the reply.)
 */
export function sendProblemAndLinger(
  reply: FastifyReply,
  problem: Problem,
  facts: ReplyFacts,
  bounds: { readonly timers: Timers; readonly lingerMs: number; readonly bytesMax: number },
): void {
  reply.hijack();
  const outgoing = reply.raw;
  const incoming = reply.request.raw;
  // The sender went away: nobody to answer, and no event left to wait for.
  if (outgoing.destroyed || incoming.destroyed) {
    outgoing.destroy();
    return;
  }
  outgoing.writeHead(problem.status, {
    ...problemHeaders(problem, { ...facts, closes: true }),
    "content-length": String(utf8Length(problem.body)),
  });
  outgoing.write(problem.body);
  let discardedBytes = 0;
  const finish = (): void => {
    timer.cancel();
    incoming.off("data", discard).off("end", finish);
    outgoing.off("close", finish);
    // The reply says `connection: close`: its end is the connection's.
    outgoing.end();
  };
  const discard = (chunk: Uint8Array): void => {
    discardedBytes += chunk.length;
    if (discardedBytes > bounds.bytesMax) finish();
  };
  const timer = bounds.timers.after(bounds.lingerMs, finish);
  outgoing.on("close", finish);
  incoming.on("data", discard).on("end", finish).resume();
}

function problemHeaders(problem: Problem, facts: ReplyFacts, allow?: readonly string[]): Record<string, string> {
  const headers: Record<string, string> = { ...common, "content-type": "application/problem+json" };
  if (problem.retryAfterSeconds !== undefined) headers["retry-after"] = String(problem.retryAfterSeconds);
  // RFC 9110, 15.5.2: a 401 must name a scheme. Which one `authenticate` reads is the system's own affair.
  if (problem.status === 401) headers["www-authenticate"] = "Bearer";
  if (allow !== undefined) headers.allow = allow.join(", ");
  addFacts(headers, facts);
  return headers;
}

function addFacts(headers: Record<string, string>, facts: ReplyFacts): void {
  if (facts.sessionToken !== undefined) headers["onefold-session"] = facts.sessionToken;
  if (facts.closes) headers.connection = "close";
}
