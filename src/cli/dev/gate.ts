/**
 * The port of `onefold dev`, kept while the processes behind it come and go.
 *
 * D1  A request is answered by a worker, or told why not; none is dropped because a worker was replaced.
 * D2  A request is sent to a worker once. It is sent again only if it certainly had no effect there: the worker refused the
 *     connection, or the request is a read, or it carries an idempotency key.
 * D3  Requests that wait are bounded in number, bytes and time; past a bound they get 503 with `Retry-After`.
 * D4  A request's body is read in full before it is sent on, so that a slow sender holds up nobody's reload. Nor does one that
 *     only waits for something to happen.
 * D5  A WebSocket waits for a worker as a request does, and ends with it: its client connects again and resumes.
 */
import {
  createServer,
  type IncomingMessage,
  request as sendRequest,
  type Server,
  type ServerResponse,
} from "node:http";
import { connect } from "node:net";
import type { Duplex } from "node:stream";
import { type ErrorCode, errorTable } from "../../base/errors.ts";
import { limits } from "../../base/limits.ts";

export interface GateLimits {
  readonly heldBytesMax: number;
  readonly heldMs: number;
  readonly attemptsMax: number;
}

const defaultLimits: GateLimits = { heldBytesMax: 64 * 1024 * 1024, heldMs: 30_000, attemptsMax: 4 };

/** Not for the next hop (RFC 9110, 7.6.1), or set anew because the body is sent in one piece. */
const hopHeaders = new Set(
  "connection,keep-alive,proxy-connection,te,trailer,transfer-encoding,upgrade,expect,content-length".split(","),
);

/** `settled`: the client has its answer, or has left. `unknown`: the worker may have acted on the request. */
type Attempt = "settled" | "not-sent" | "unknown";

/** Holds requests until `open`; then sends them to that port of loopback until `hold`. */
export class Gate {
  readonly #server: Server;
  readonly #limits: GateLimits;
  #port: number | undefined;
  #openCount = 0;
  #heldBytes = 0;
  #inFlight = 0;
  readonly #sockets = new Set<Duplex>();
  readonly #waiting = new Set<() => void>();
  readonly #idle = new Set<() => void>();

  constructor(gateLimits: Partial<GateLimits> = {}) {
    this.#limits = { ...defaultLimits, ...gateLimits };
    this.#server = createServer({ requestTimeout: limits.requestReceiveMs }, (request, response) => {
      this.#serve(request, response).catch((error: unknown) => {
        if (response.headersSent) response.destroy();
        else answer(response, "internal", `The development proxy failed: ${String(error)}`);
      });
    });
    this.#server.on("upgrade", (request, socket, head) => {
      this.#upgrade(request, socket, head).catch((error: unknown) => socket.destroy(error as Error));
    });
  }

  /** Resolves with the port once clients can connect. Rejects with Node's error, e.g. `EADDRINUSE`. */
  async listen(hostname: string, port: number): Promise<number> {
    await new Promise<void>((resolve, reject) => {
      this.#server.once("error", reject);
      this.#server.listen(port, hostname, () => {
        this.#server.off("error", reject);
        resolve();
      });
    });
    const address = this.#server.address();
    return address !== null && typeof address === "object" ? address.port : port;
  }

  open(port: number): void {
    this.#port = port;
    for (const wake of [...this.#waiting]) wake();
  }

  hold(): void {
    this.#port = undefined;
  }

  /** Waits until no request is with a worker, at most `timeoutMs`; returns how many still are. Only useful after `hold`. */
  async idle(timeoutMs: number): Promise<number> {
    if (this.#inFlight > 0) await wakeOrTimeout(this.#idle, timeoutMs);
    return this.#inFlight;
  }

  /** Takes no more connections and waits for the requests that are under way, at most `graceMs`. */
  async close(graceMs: number): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    this.#server.closeIdleConnections();
    await this.idle(graceMs);
    this.#server.closeAllConnections();
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (this.#openCount >= limits.requestsOpenMax) {
      request.resume();
      answer(response, "overloaded", "Too many requests are open.");
      return;
    }
    this.#openCount++;
    let bodyBytes = 0;
    try {
      const chunks: Uint8Array[] = [];
      for await (const chunk of request as AsyncIterable<Uint8Array>) {
        bodyBytes += chunk.length;
        this.#heldBytes += chunk.length;
        if (bodyBytes > limits.bodyBytesMax) {
          answer(response, "payload-too-large", `A body may have ${limits.bodyBytesMax} bytes.`);
          return;
        }
        if (this.#heldBytes > this.#limits.heldBytesMax) {
          answer(response, "overloaded", "Too many bytes wait for the system to come back.");
          return;
        }
        chunks.push(chunk);
      }
      await this.#forward(request, response, Buffer.concat(chunks));
    } catch (error) {
      // The client went away while it was sending: there is nobody left to answer.
      if (!request.destroyed || request.complete) throw error;
    } finally {
      this.#heldBytes -= bodyBytes;
      this.#openCount--;
    }
  }

  async #forward(request: IncomingMessage, response: ServerResponse, body: Uint8Array): Promise<void> {
    const deadline = performance.now() + this.#limits.heldMs;
    for (let attempt = 0; attempt < this.#limits.attemptsMax; attempt++) {
      while (this.#port === undefined) {
        const leftMs = deadline - performance.now();
        if (leftMs <= 0) {
          answer(response, "not-ready", "The system is not running; the terminal of onefold dev says why.");
          return;
        }
        await wakeOrTimeout(this.#waiting, leftMs, response);
        if (response.destroyed) return; // The client has gone.
      }
      const port = this.#port;
      const weight = isWait(request) ? 0 : 1;
      this.#inFlight += weight;
      const outcome = await send(request, response, body, port);
      this.#inFlight -= weight;
      if (this.#inFlight === 0) for (const wake of [...this.#idle]) wake();
      if (outcome === "settled") return;
      if (outcome === "unknown" && !isRepeatable(request)) {
        answer(response, "outcome-unknown", "The process that ran the request ended before it answered.");
        return;
      }
      // Nobody listens there any more: whoever replaces workers notices in a moment, and opens the gate again.
      if (outcome === "not-sent" && this.#port === port) this.#port = undefined;
    }
    answer(response, "not-ready", "The system keeps ending before it answers.");
  }

  /** D5. */
  async #upgrade(request: IncomingMessage, socket: Duplex, head: Uint8Array): Promise<void> {
    this.#sockets.add(socket);
    socket.once("close", () => this.#sockets.delete(socket));
    // What goes wrong on it ends it; a client that leaves is nothing to report.
    socket.on("error", () => socket.destroy());
    if (this.#sockets.size > limits.connectionsMax) {
      socket.end(rawRefusal);
      return;
    }
    if (this.#port === undefined) await wakeOrTimeout(this.#waiting, this.#limits.heldMs, socket);
    if (this.#port === undefined) socket.end(rawRefusal);
    if (this.#port === undefined || socket.destroyed) return;
    const worker = connect(this.#port, "127.0.0.1");
    worker.on("error", () => socket.destroy());
    socket.once("close", () => worker.destroy());
    worker.write(`${headText(request)}\r\n\r\n`, "latin1");
    worker.write(head);
    worker.pipe(socket).pipe(worker);
  }
}

const rawRefusal =
  "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

/** The request's head as it came. */
function headText({ method, url, rawHeaders }: IncomingMessage): string {
  const lines = [`${method} ${url} HTTP/1.1`];
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) lines.push(`${rawHeaders[i]}: ${rawHeaders[i + 1]}`);
  return lines.join("\r\n");
}

/** A read that is answered when something happens, and may be sent again: a worker that is to be replaced need not be asked twice. */
function isWait({ method, url = "" }: IncomingMessage): boolean {
  return method === "GET" && url.startsWith("/v1/changes?");
}

/** One try at one worker. Never rejects. */
function send(request: IncomingMessage, response: ServerResponse, body: Uint8Array, port: number): Promise<Attempt> {
  return new Promise((resolve) => {
    const headers = endToEnd(request.rawHeaders);
    if (body.length > 0 || request.headers["content-length"] !== undefined) {
      headers.push("Content-Length", String(body.length));
    }
    // A connection of its own: an idle one could be closed by the worker at the moment it is used again.
    const forwarded = sendRequest({
      host: "127.0.0.1",
      port,
      agent: false,
      method: request.method ?? "GET",
      path: request.url ?? "/",
      headers,
      setHost: false,
    });
    let answering = false;
    forwarded.on("response", (incoming) => {
      answering = true;
      response.writeHead(incoming.statusCode ?? 502, incoming.statusMessage, endToEnd(incoming.rawHeaders, true));
      incoming.pipe(response);
      incoming.on("error", () => response.destroy());
      incoming.on("close", () => resolve("settled"));
    });
    forwarded.on("error", (error) => {
      if (answering) {
        response.destroy();
        resolve("settled");
      } else resolve("code" in error && error.code === "ECONNREFUSED" ? "not-sent" : "unknown");
    });
    response.on("close", () => {
      resolve("settled");
      if (!response.writableEnded) forwarded.destroy();
    });
    forwarded.end(body);
  });
}

function endToEnd(rawHeaders: readonly string[], keepLength = false): string[] {
  const kept: string[] = [];
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
    const name = rawHeaders[i]!.toLowerCase();
    if (!hopHeaders.has(name) || (keepLength && name === "content-length"))
      kept.push(rawHeaders[i]!, rawHeaders[i + 1]!);
  }
  return kept;
}

function isRepeatable(request: IncomingMessage): boolean {
  return request.method === "GET" || request.method === "HEAD" || request.headers["idempotency-key"] !== undefined;
}

function answer(response: ServerResponse, code: ErrorCode, detail: string): void {
  if (response.destroyed || response.headersSent) return;
  const { status, retry, title } = errorTable[code];
  const headers: Record<string, string> = { "content-type": "application/problem+json", connection: "close" };
  if (retry === "safe") headers["retry-after"] = "1";
  response.writeHead(status, headers);
  response.end(JSON.stringify({ type: "about:blank", title, status, detail, code, retry }));
}

/** Resolves when the set's members are called, after `timeoutMs`, or when whoever waits for `response` is gone. */
function wakeOrTimeout(
  sleepers: Set<() => void>,
  timeoutMs: number,
  response?: ServerResponse | Duplex,
): Promise<void> {
  return new Promise((resolve) => {
    const wake = (): void => {
      clearTimeout(timer);
      response?.off("close", wake);
      sleepers.delete(wake);
      resolve();
    };
    const timer = setTimeout(wake, timeoutMs);
    response?.once("close", wake);
    sleepers.add(wake);
  });
}
