/**
 * The way from one endpoint to one peer: a TCP connection that is made when something is to be sent. The peer confirms what
 * it received by number, on the same connection, so that what is under way is known exactly, the kernel's buffers included,
 * and a peer that has vanished is noticed in `networkAnswerMs` rather than in the quarter of an hour that TCP would take.
 *
 *     absent ──send──▶ open ──error, end, no answer in time──▶ absent, and for `networkRedialMs` lossy if nothing was confirmed
 *
 * L1  A connection's frames are the hello, which names the sender, and then messages in order of their sending.
 * L2  A connection's end loses what it had not confirmed: none of it is sent again, for it may have arrived.
 */
import type { Socket } from "node:net";
import { encodeUtf8 } from "../../base/bytes.ts";
import type { Timer, Trace } from "../host.ts";
import { assertRoom, type HostAndPort, type NetworkLimits, queuedBytes } from "../network.ts";
import { nodeClock, nodeTimers } from "./clock.ts";
import { encodeFrame, FrameReader } from "./frame.ts";
import { connectToPeer, type NetworkTls } from "./network-tls.ts";

/** What a hello begins with; the sender's address follows. The number is the protocol's version. */
export const helloPrefix = "onefold-network 1 ";
/** A confirmation's body: how many messages, big-endian. */
export const confirmationBytes = 4;

export interface OutgoingLinkOptions {
  readonly from: string;
  readonly to: string;
  readonly target: HostAndPort;
  readonly limits: NetworkLimits;
  readonly tls: NetworkTls | undefined;
  readonly trace: Trace;
}

interface Connection {
  readonly socket: Socket;
  /** What each message that is not confirmed counts, oldest first. */
  readonly unconfirmed: number[];
  wasConfirmed: boolean;
  answerTimer: Timer | undefined;
}

export class OutgoingLink {
  readonly #options: OutgoingLinkOptions;
  #connection: Connection | undefined;
  #underWayBytes = 0;
  #lossyUntilMs = Number.NEGATIVE_INFINITY;
  #isAway = false;
  #isClosed = false;

  constructor(options: OutgoingLinkOptions) {
    this.#options = options;
  }

  /** True while nothing is under way. */
  get isIdle(): boolean {
    return this.#underWayBytes === 0;
  }

  /** Throws `too-large` or `full`. */
  send(message: Uint8Array): void {
    assertRoom(message, this.#underWayBytes, this.#options.limits);
    if (this.#connection === undefined && nodeClock.monotonicMs() < this.#lossyUntilMs) return;
    this.#connection ??= this.#connect();
    const connection = this.#connection;
    const counted = queuedBytes(message.length);
    connection.unconfirmed.push(counted);
    this.#underWayBytes += counted;
    connection.socket.write(encodeFrame(message));
    connection.answerTimer ??= this.#awaitAnswer(connection);
  }

  /** What is under way may be lost. */
  close(): void {
    this.#isClosed = true;
    this.#connection?.socket.destroy();
  }

  #connect(): Connection {
    const { from, target, tls } = this.#options;
    const socket = connectToPeer(tls, target);
    const connection: Connection = { socket, unconfirmed: [], wasConfirmed: false, answerTimer: undefined };
    const confirmations = new FrameReader(confirmationBytes);
    let failure: Error | undefined;
    socket.on("data", (chunk: Buffer) => {
      const bodies = confirmations.push(chunk);
      let next = bodies.next();
      for (; !next.done; next = bodies.next()) this.#confirm(connection, next.value);
      if (next.value === "too-long") socket.destroy(new Error("the peer sent what is no confirmation"));
    });
    socket.on("error", (error) => {
      failure = error;
    });
    socket.on("end", () => socket.destroy());
    socket.on("close", () => this.#lose(connection, failure));
    socket.write(encodeFrame(encodeUtf8(helloPrefix + from)));
    return connection;
  }

  #confirm(connection: Connection, body: Uint8Array): void {
    const count = body.length === confirmationBytes ? new DataView(body.buffer, body.byteOffset).getUint32(0) : 0;
    if (count === 0 || count > connection.unconfirmed.length) {
      connection.socket.destroy(new Error("the peer confirmed what it was not sent"));
      return;
    }
    for (const counted of connection.unconfirmed.splice(0, count)) this.#underWayBytes -= counted;
    connection.wasConfirmed = true;
    connection.answerTimer?.cancel();
    connection.answerTimer = connection.unconfirmed.length === 0 ? undefined : this.#awaitAnswer(connection);
    if (this.#isAway)
      this.#options.trace("info", "A peer is back.", { from: this.#options.from, to: this.#options.to });
    this.#isAway = false;
  }

  #awaitAnswer(connection: Connection): Timer {
    const { networkAnswerMs } = this.#options.limits;
    return nodeTimers.after(networkAnswerMs, () => {
      connection.socket.destroy(new Error(`the peer confirmed nothing for ${networkAnswerMs} ms`));
    });
  }

  #lose(connection: Connection, failure: Error | undefined): void {
    connection.answerTimer?.cancel();
    this.#connection = undefined;
    this.#underWayBytes = 0;
    if (!connection.wasConfirmed) this.#lossyUntilMs = nodeClock.monotonicMs() + this.#options.limits.networkRedialMs;
    if (this.#isClosed || this.#isAway || connection.unconfirmed.length === 0) return;
    // Once, not at every attempt: until it is back, all that is sent to it is lost.
    this.#isAway = true;
    const { from, to } = this.#options;
    const fields = { from, to, lostMessages: connection.unconfirmed.length, error: failure };
    this.#options.trace(
      "warn",
      "A peer is away; messages to it are lost until it is back. Check it, and the network between.",
      fields,
    );
  }
}
