/**
 * The connections of one server: how many there are, what is under way on each, and how they end.
 *
 * N1  At most `connectionsMax` are served. A few more are told so with 503; beyond those the server refuses at once.
 * N2  At most `requestsPerConnectionMax` requests of one connection are under way.
 * N3  An idle connection ends after `keepAliveMs`; one that takes nothing of its reply for `replyStalledMs` is destroyed.
 *     One that waits for its reply is left alone: the reply has a deadline of its own.
 * N4  A connection whose bytes are no HTTP, or came too slowly, gets an answer only if that answer can't be mistaken for
 *     the answer to an earlier request on it; then it ends.
 * N5  After `drain` each reply says `connection: close` where no other request is under way on its connection.
 */
import type { FastifyInstance, FastifyReply } from "fastify";
import { OnefoldError } from "../base/errors.ts";
import type { Timers } from "../host/host.ts";
import type { Incoming } from "./body.ts";
import { rawProblemReply } from "./raw-reply.ts";

type Server = FastifyInstance["server"];
type Socket = Incoming["socket"];
type Outgoing = FastifyReply["raw"];

export interface ConnectionLimits {
  readonly connectionsMax: number;
  readonly requestsPerConnectionMax: number;
  readonly keepAliveMs: number;
  readonly replyStalledMs: number;
  readonly lingerMs: number;
}

interface Connection {
  readonly socket: Socket;
  /** N1: above the maximum; told so and closed. */
  readonly surplus: boolean;
  requestsOpen: number;
  latest: { readonly incoming: Incoming; readonly outgoing: Outgoing } | undefined;
  /** N4: nothing more is read from it. */
  broken: OnefoldError | undefined;
  /** It has become a WebSocket, which knows itself when it is idle. */
  isUpgraded: boolean;
  /** For the end of each of its replies. */
  readonly onReplyEnd: () => void;
}

/** How many connections beyond the maximum are told politely. */
const surplusMax = 64;

export class Connections {
  readonly #limits: ConnectionLimits;
  readonly #timers: Timers;
  readonly #open = new Map<Socket, Connection>();
  #draining = false;
  readonly #onDrain = new Set<() => void>();
  #whenEmpty: (() => void) | undefined;

  constructor(
    server: Server,
    limits: ConnectionLimits,
    timers: Timers,
    { isSecure }: { readonly isSecure: boolean } = { isSecure: false },
  ) {
    this.#limits = limits;
    this.#timers = timers;
    server.maxConnections = limits.connectionsMax + surplusMax;
    server.timeout = limits.replyStalledMs;
    server.keepAliveTimeout = limits.keepAliveMs;
    // With TLS, requests come on the socket above the connection.
    server.on(isSecure ? "secureConnection" : "connection", (socket: Socket) => this.#opened(socket));
    server.on("timeout", (socket: Socket) => this.#timedOut(socket));
  }

  get count(): number {
    return this.#open.size;
  }

  get draining(): boolean {
    return this.#draining;
  }

  /** Calls `listener` when draining starts, at once if it has; until the returned function is called. */
  onDrain(listener: () => void): () => void {
    if (this.#draining) listener();
    else this.#onDrain.add(listener);
    return () => this.#onDrain.delete(listener);
  }

  /** Notes a request. Throws `overloaded` (retry `safe`) at N1 and N2; it is noted then too. */
  begin(incoming: Incoming, outgoing: Outgoing): void {
    const connection = this.#open.get(incoming.socket);
    // The socket may have gone while its last bytes were parsed; then nobody waits for the reply.
    if (connection === undefined) return;
    connection.requestsOpen++;
    connection.latest = { incoming, outgoing };
    outgoing.on("close", connection.onReplyEnd);
    if (connection.surplus) {
      throw new OnefoldError("overloaded", "This node has as many connections as it accepts. Try again soon.", {
        retryAfterMs: 1000,
      });
    }
    if (connection.requestsOpen > this.#limits.requestsPerConnectionMax) {
      throw new OnefoldError(
        "overloaded",
        `At most ${this.#limits.requestsPerConnectionMax} requests of one connection may be under way. Await some first.`,
        { retryAfterMs: 1000 },
      );
    }
  }

  /** Notes that the connection speaks another protocol from now on. False where there is no place for it (N1). */
  upgraded(socket: Socket): boolean {
    const connection = this.#open.get(socket);
    if (connection === undefined || connection.surplus) return false;
    connection.isUpgraded = true;
    return true;
  }

  /** Ends a connection that asked for another protocol and does not get it, with the reason. */
  refused(socket: Socket, error: OnefoldError): void {
    this.#endWith({ socket }, error);
  }

  /** Whether the reply to this request is to be its connection's last one (N1, N5). */
  endsWith(incoming: Incoming): boolean {
    const connection = this.#open.get(incoming.socket);
    if (connection === undefined) return true;
    return connection.surplus || (this.draining && connection.requestsOpen === 1);
  }

  /** N4. For the server's `clientError`. */
  failed(socket: Socket, error: OnefoldError): void {
    const connection = this.#open.get(socket);
    if (connection === undefined || !socket.writable) {
      socket.destroy();
      return;
    }
    if (connection.broken !== undefined) return;
    connection.broken = error;
    const { requestsOpen, latest } = connection;
    // A request that is still arriving is the connection's last; with no other before it, the fault is its own.
    const isLastArriving = requestsOpen === 1 && latest !== undefined && !latest.incoming.complete;
    if (requestsOpen === 0 || (isLastArriving && !latest.outgoing.headersSent)) this.#endWith(connection, error);
    else if (isLastArriving) socket.destroySoon();
    // Otherwise earlier requests are answered first (see #ended).
  }

  /** From now on every connection ends with its replies (N5). */
  startDraining(): void {
    this.#draining = true;
    for (const listener of [...this.#onDrain]) listener();
    this.#onDrain.clear();
  }

  /** Ends the connections on which no request is under way; upgraded ones end by themselves. */
  closeIdle(): void {
    for (const { socket, requestsOpen, isUpgraded } of [...this.#open.values()]) {
      if (requestsOpen === 0 && !isUpgraded) socket.destroy();
    }
  }

  closeAll(): void {
    for (const { socket } of [...this.#open.values()]) socket.destroy();
  }

  /** Resolves when there is no connection, true, or after `timeoutMs`, false. One caller at a time. */
  whenEmpty(timeoutMs: number): Promise<boolean> {
    if (this.#open.size === 0) return Promise.resolve(true);
    return new Promise((resolve) => {
      const timer = this.#timers.after(timeoutMs, () => {
        this.#whenEmpty = undefined;
        resolve(false);
      });
      this.#whenEmpty = () => {
        this.#whenEmpty = undefined;
        timer.cancel();
        resolve(true);
      };
    });
  }

  #opened(socket: Socket): void {
    // A connection is told again when its request to change the protocol was ignored.
    if (this.#open.has(socket)) return;
    const surplus = this.#open.size >= this.#limits.connectionsMax;
    const connection: Connection = {
      socket,
      surplus,
      requestsOpen: 0,
      latest: undefined,
      broken: undefined,
      isUpgraded: false,
      onReplyEnd: () => this.#ended(connection),
    };
    this.#open.set(socket, connection);
    socket.once("close", () => {
      this.#open.delete(socket);
      if (this.#open.size === 0) this.#whenEmpty?.();
    });
  }

  /** N3. Node's socket time-out, which counts any byte that moves in either direction. */
  #timedOut(socket: Socket): void {
    const connection = this.#open.get(socket);
    if (connection === undefined || connection.requestsOpen === 0 || socket.writableLength > 0) socket.destroy();
  }

  #ended(connection: Connection): void {
    connection.requestsOpen--;
    if (connection.requestsOpen > 0) return;
    connection.latest = undefined;
    if (connection.broken !== undefined && connection.socket.writable) this.#endWith(connection, connection.broken);
  }

  /** Sends the problem and reads on for a while: a close with unread bytes would reset the connection and lose the reply. */
  #endWith({ socket }: Pick<Connection, "socket">, error: OnefoldError): void {
    socket.end(rawProblemReply(error));
    const timer = this.#timers.after(this.#limits.lingerMs, () => socket.destroy());
    socket.once("end", () => socket.destroy());
    socket.once("close", () => timer.cancel());
    socket.resume();
  }
}
