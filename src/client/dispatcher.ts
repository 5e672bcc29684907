/**
 * The client's calls: from the moment that they are made until they are answered, given up, or out of time.
 *
 *     made ──> queued <──────────── lost, or to be tried again
 *                │                        ^
 *                └──> sent ──> answered   │
 *                       └─────────────────┘
 *
 * DI1  A call that takes hold is sent under one session and number however often it is sent, so it takes hold once (G6).
 * DI2  A call ends once: with its answer, `deadline-passed`, the signal's reason, or the client's end.
 * DI3  No more calls are sent than the server has said it takes; the others wait here, `queuedMax` at most.
 * DI4  A call that may have been carried out is never sent under another number.
 */
import { OnefoldError, type Refused } from "../base/errors.ts";
import type { Value } from "../base/value.ts";
import type { Encoder } from "../wire/encoder.ts";
import { type FailureFacts, toClient, toServer, type Welcome } from "../wire/protocol.ts";
import type { Call, CallOptions, CallShape } from "./call.ts";
import { CallWriter, decodedBody, decodedParts, encodedBody } from "./call-writer.ts";
import { errorOfFacts } from "./failure.ts";
import type { HttpLink, HttpOutcome } from "./http-link.ts";
import type { ClientPlatform, ClientTimer } from "./platform.ts";
import { Sessions } from "./sessions.ts";
import { SocketLink, type SocketLinkOptions } from "./socket-link.ts";
import type { Subscriptions } from "./subscriptions.ts";
import type { WatchTarget } from "./watch-target.ts";

export interface DispatcherOptions {
  readonly platform: ClientPlatform;
  /** Absent: calls go over HTTP only. */
  readonly socket: SocketLinkOptions | undefined;
  /** Absent: never over HTTP. */
  readonly http: HttpLink | undefined;
  readonly deadlineMs: number;
  /** False: calls have no numbers, so one that may have been carried out is never sent again. */
  readonly isExactlyOnce: boolean;
}

const queuedMax = 65_536;
const retryMsMin = 20;
const retryMsMax = 2000;
const hintedRetryMsMax = 500;
/** So many failed attempts in a row to open a socket, and calls go over HTTP until one succeeds. */
const socketFailuresBeforeHttp = 2;
/** So often a call was told to come again, and it is another node's turn, where there is one. */
const retriesBeforeMove = 4;

export class Dispatcher {
  readonly #options: DispatcherOptions;
  readonly #platform: ClientPlatform;
  readonly link: SocketLink | undefined;
  readonly #writer: CallWriter | undefined;
  subscriptions: Subscriptions | undefined;
  readonly #open = new Map<number, Call>();
  /** Calls to be sent, in order, from `#queueHead` on. */
  #queue: Call[] = [];
  #queueHead = 0;
  #awaitedCount = 0;
  #awaitedBytes = 0;
  #lastId = -1;
  readonly #sessions: Sessions;
  #welcome: Welcome | undefined;
  #callsMax = 0;
  #isClosed = false;
  /** Ends the calls with the usual deadline, which are in the order of their ends. */
  #sweepTimer: ClientTimer | undefined;
  #lastError: Error | undefined;

  constructor(options: DispatcherOptions) {
    this.#options = options;
    this.#platform = options.platform;
    this.#sessions = new Sessions(options.platform, () => this.#nextId());
    if (options.socket === undefined) return;
    this.link = new SocketLink(options.socket, this);
    this.#writer = new CallWriter({
      link: this.link,
      sessions: this.#sessions,
      platform: options.platform,
      deadlineMs: options.deadlineMs,
      isNumbered: (call) => this.#isNumbered(call),
    });
  }

  // -------------------------------------------------------------------------------------------------------------- calls

  /**
   * Makes a call. `body` are the elements of its message behind the options, `input` the last of them where there is one: a value,
   * which is encoded before this returns. Rejects as DI2 says, and with `invalid-value` and `overloaded` (safe) where it never began.
   */
  call(
    shape: CallShape,
    body: readonly string[],
    input: Value | undefined,
    options: CallOptions | undefined,
    page?: Value,
  ): Promise<Value | undefined> {
    return new Promise((resolve, reject) => {
      if (this.#isClosed) throw new OnefoldError("not-ready", "The client was closed.", { retry: "never" });
      if (this.#open.size >= queuedMax) {
        throw new OnefoldError("overloaded", `More than ${queuedMax} calls are waiting. Await some first.`);
      }
      options?.signal?.throwIfAborted();
      const call: Call = {
        id: this.#nextId(),
        shape,
        bodyParts: body.length + (input === undefined ? 0 : 1),
        body: undefined,
        bodyStart: 0,
        bodyEnd: 0,
        deadlineAtMs: this.#platform.monotonicMs() + (options?.deadlineMs ?? this.#options.deadlineMs),
        options,
        page,
        session: undefined,
        number: 0,
        sentCount: 0,
        isAwaited: false,
        isOverHttp: false,
        retries: 0,
        retryTimer: undefined,
        deadlineTimer: undefined,
        onAbort: undefined,
        lastError: undefined,
        resolve,
        reject,
      };
      if (this.#queue.length === this.#queueHead && this.#canSend(call, 256)) {
        this.#writer!.writeNew(call, body, input, this.#welcome!.frameBytesMax);
        this.#sent(call, { overHttp: false });
        this.#accept(call);
      } else {
        call.body = encodedBody(body, input);
        call.bodyEnd = call.body.length;
        this.#accept(call);
        this.#queue.push(call);
        this.#pump();
      }
    });
  }

  /** Odd ids for calls, even ones for subscriptions. */
  #nextId(): number {
    this.#lastId += 2;
    return this.#lastId;
  }

  /** True while calls go over HTTP. */
  get isOnHttp(): boolean {
    const { link } = this;
    return (
      this.#options.http !== undefined &&
      (link === undefined || link.failures >= socketFailuresBeforeHttp * link.addressCount)
    );
  }

  /** What a subscription shows, asked for once. */
  async read({ kind, id, query, input }: WatchTarget): Promise<Value | undefined> {
    if (query !== undefined) {
      const [value] = input === undefined ? [] : decodedParts(input);
      return this.call({ type: toServer.call, isRead: true }, [kind, id, query], value, undefined);
    }
    try {
      return await this.call({ type: toServer.state, isRead: true }, [kind, id], undefined, undefined);
    } catch (error) {
      if (error instanceof OnefoldError && error.code === "not-found") return undefined;
      throw error;
    }
  }

  /** From now on the call ends in one of the ways of DI2. */
  #accept(call: Call): void {
    this.#open.set(call.id, call);
    const { options } = call;
    if (options?.deadlineMs !== undefined) {
      call.deadlineTimer = this.#platform.after(options.deadlineMs, () => this.#expire(call));
    } else this.#sweepTimer ??= this.#platform.after(this.#options.deadlineMs, this.#sweep);
    if (options?.signal !== undefined) {
      const { signal } = options;
      call.onAbort = () => this.#giveUp(call, signal.reason);
      signal.addEventListener("abort", call.onAbort, { once: true });
    }
  }

  /** Ends what is out of time, and comes again when the oldest of the rest is. */
  readonly #sweep = (): void => {
    this.#sweepTimer = undefined;
    const nowMs = this.#platform.monotonicMs();
    for (const call of this.#open.values()) {
      if (call.options?.deadlineMs !== undefined) continue;
      if (call.deadlineAtMs > nowMs) {
        this.#sweepTimer = this.#platform.after(call.deadlineAtMs - nowMs, this.#sweep);
        return;
      }
      this.#expire(call);
    }
  };

  #expire(call: Call): void {
    const wasSent = call.sentCount > 0;
    const cause = call.lastError ?? this.#lastError;
    this.#giveUp(
      call,
      new OnefoldError(
        "deadline-passed",
        wasSent ? "The deadline passed; the outcome is unknown." : "The deadline passed before the request began.",
        { retry: wasSent && !call.shape.isRead ? "unknown" : "safe", ...(cause === undefined ? {} : { cause }) },
      ),
    );
  }

  #giveUp(call: Call, reason: unknown): void {
    if (!this.#open.has(call.id)) return;
    if (call.isAwaited && !call.isOverHttp && this.link?.isOpen === true) {
      const encoder = this.link.begin();
      encoder.array(2);
      encoder.number(toServer.cancel);
      encoder.number(call.id);
      this.link.end();
    }
    this.#finish(call);
    call.reject(reason);
    this.#pump();
  }

  /** Takes the call out of everything; settling it is the caller's. */
  #finish(call: Call): void {
    this.#open.delete(call.id);
    this.#notAwaited(call);
    if (call.number > 0) call.session!.done(call.number);
    call.body = undefined;
    call.retryTimer?.cancel();
    call.deadlineTimer?.cancel();
    if (call.onAbort !== undefined) call.options!.signal!.removeEventListener("abort", call.onAbort);
    if (this.#open.size === 0) {
      this.#sweepTimer?.cancel();
      this.#sweepTimer = undefined;
    }
  }

  #notAwaited(call: Call): void {
    if (!call.isAwaited) return;
    call.isAwaited = false;
    this.#awaitedCount--;
    this.#awaitedBytes -= call.bodyEnd - call.bodyStart;
  }

  /** Ends the link and every call with `not-ready`. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.link?.close();
    this.#options.http?.close();
    for (const call of [...this.#open.values()]) {
      this.#finish(call);
      const retry = call.sentCount > 0 && !call.shape.isRead ? "unknown" : "safe";
      call.reject(new OnefoldError("not-ready", "The client was closed.", { retry }));
    }
    this.subscriptions?.closed();
  }

  // ------------------------------------------------------------------------------------------------------------ sending

  /** DI3. Whether the call, with a body of about `bytes`, may be written now. */
  #canSend(call: Call, bytes: number): boolean {
    const { link } = this;
    const welcome = this.#welcome;
    if (link === undefined || welcome === undefined || !link.isOpen) return false;
    if (this.#awaitedCount >= this.#callsMax || this.#awaitedBytes + bytes > welcome.callBytesMax) return false;
    if (!this.#isNumbered(call) || call.number > 0) return true;
    return this.#sessions.hasRoom(link, welcome.sessionRequestsMax);
  }

  /** The call is on its way. */
  #sent(call: Call, { overHttp }: { readonly overHttp: boolean }): void {
    call.sentCount++;
    call.isOverHttp = overHttp;
    call.isAwaited = true;
    this.#awaitedCount++;
    this.#awaitedBytes += call.bodyEnd - call.bodyStart;
  }

  #isNumbered({ shape, options }: Call): boolean {
    return this.#options.isExactlyOnce && !shape.isRead && options?.idempotencyKey === undefined;
  }

  /** Sends what waits, as far as it may be sent. */
  #pump(): void {
    if (this.#queueHead === this.#queue.length) return;
    if (this.isOnHttp) this.#pumpHttp();
    if (this.link === undefined) return;
    if (!this.link.isOpen) return this.link.wake();
    while (this.#queueHead < this.#queue.length) {
      const call = this.#queue[this.#queueHead]!;
      if (this.#open.has(call.id) && !call.isAwaited) {
        if (!this.#canSend(call, call.bodyEnd - call.bodyStart)) break;
        try {
          this.#writer!.writeKept(call, this.#welcome!.frameBytesMax);
          this.#sent(call, { overHttp: false });
        } catch (error) {
          this.#finish(call);
          call.reject(error);
        }
      }
      this.#queueHead++;
    }
    this.#trimQueue();
  }

  #trimQueue(): void {
    if (this.#queueHead === this.#queue.length) {
      this.#queue = [];
      this.#queueHead = 0;
    } else if (this.#queueHead > 1024) {
      this.#queue = this.#queue.slice(this.#queueHead);
      this.#queueHead = 0;
    }
  }

  #pumpHttp(): void {
    const http = this.#options.http!;
    while (this.#queueHead < this.#queue.length && http.hasRoom) {
      const call = this.#queue[this.#queueHead++]!;
      if (!this.#open.has(call.id) || call.isAwaited) continue;
      http.send(call, decodedBody(call), this.#isNumbered(call)).then(
        (outcome) => this.#exchanged(call, outcome),
        (error: unknown) => this.#unanswered(call, error),
      );
      this.#sent(call, { overHttp: true });
    }
    this.#trimQueue();
  }

  #exchanged(call: Call, outcome: HttpOutcome): void {
    if (this.#open.has(call.id)) {
      this.#notAwaited(call);
      if ("facts" in outcome) this.#failed(call, errorOfFacts(outcome.facts));
      else this.#answered(call, outcome.output);
    }
    // There is room for another, whether or not anybody still waited for this one.
    this.#pump();
  }

  /** An exchange over HTTP ended without an answer. */
  #unanswered(call: Call, cause: unknown): void {
    const error = new OnefoldError("outcome-unknown", "No answer came over HTTP.", { cause });
    if (this.#open.has(call.id)) {
      this.#notAwaited(call);
      this.#lastError = error;
      call.lastError = error;
      // Without its number a call that is to have one was never sent.
      if (this.#isRepeatable(call) || this.#isNumbered(call)) this.#again(call, undefined);
      else {
        this.#finish(call);
        call.reject(error);
      }
    }
    this.#pump();
  }

  // ------------------------------------------------------------------------------------------------------------ answers

  #answered(call: Call, output: Value | undefined): void {
    this.#finish(call);
    call.resolve(output);
  }

  #failed(call: Call, error: OnefoldError | Refused): void {
    if (error instanceof OnefoldError && this.#isWorthAnotherTry(call, error)) {
      call.lastError = error;
      this.#again(call, error.retryAfterMs, error.code === "overloaded" ? retryMsMax : hintedRetryMsMax);
      if (call.retries >= retriesBeforeMove) this.#moveFrom(error);
      return;
    }
    this.#finish(call);
    call.reject(error);
  }

  /** A node that has said for a while that it can't serve is left for another one, if nothing is lost by that. */
  #moveFrom({ code }: OnefoldError): void {
    if (code !== "unavailable" && code !== "not-ready") return;
    for (const call of this.#open.values()) {
      if (call.isAwaited && !call.isOverHttp && !this.#isRepeatable(call)) return;
    }
    this.link?.move();
  }

  #isWorthAnotherTry(call: Call, error: OnefoldError): boolean {
    if (error.code === "session-expired" || error.code === "request-forgotten") {
      // It can't have been carried out under this number before, if it was sent only once (DI4).
      if (call.number === 0 || call.sentCount > 1) return false;
      this.#sessions.leave(call, this.link);
      this.#options.http?.forgetSession();
      call.sentCount = 0;
      return true;
    }
    // A bug is not cured by repetition, and a deadline has passed for good.
    if (error.code === "internal" || error.code === "deadline-passed") return false;
    if (error.retry === "safe") return true;
    return error.retry === "unknown" && this.#isRepeatable(call);
  }

  /** Whether the call may be sent again although it may have been carried out. */
  #isRepeatable({ shape, number, options }: Call): boolean {
    return shape.isRead || number > 0 || options?.idempotencyKey !== undefined;
  }

  /** Queues the call again, after a while. */
  #again(call: Call, afterMs: number | undefined, hintedMsMax = retryMsMax): void {
    // Who says when to come again, and has enough to give, is to be asked soon.
    const pauseMsMax = afterMs === undefined ? retryMsMax : hintedMsMax;
    const pauseMs = Math.min(pauseMsMax, retryMsMin * 2 ** call.retries++);
    const delayMs = Math.max(afterMs ?? 0, pauseMs) * (0.5 + 0.5 * this.#platform.random());
    call.retryTimer = this.#platform.after(delayMs, () => {
      call.retryTimer = undefined;
      this.#queue.push(call);
      this.#pump();
    });
  }

  // ----------------------------------------------------------------------------------------------------- as the link's owner

  isWanted(): boolean {
    return this.#open.size > 0 || (this.subscriptions?.count ?? 0) > 0;
  }

  isAwaiting(): boolean {
    return this.#awaitedCount > 0;
  }

  welcomed(welcome: Welcome): void {
    const isFirst = this.#welcome === undefined;
    this.#welcome = welcome;
    this.#callsMax = isFirst ? welcome.callsMax : Math.min(this.#callsMax, welcome.callsMax);
    this.#sessions.connected(welcome.session, welcome.sessionMs);
    this.subscriptions?.opened();
    this.#pump();
  }

  /** What of the session was answered goes first in each frame, so that the server may forget it. */
  beginning(encoder: Encoder): number {
    return this.#sessions.beginFrame(encoder, this.link!);
  }

  flushed(frame: Uint8Array): void {
    this.#writer!.flushed(frame);
  }

  message(parts: readonly Value[]): void {
    const id = parts[1] as number;
    const call = this.#open.get(id);
    switch (parts[0]) {
      case toClient.done:
        if (call === undefined) return;
        // What was a query once may be a command of newer code.
        call.shape.isRead = false;
        this.#answered(call, parts[3]);
        break;
      case toClient.read:
        if (call === undefined) {
          if (this.#sessions.answered(id, parts[3])) this.#pump();
          return;
        }
        call.shape.isRead = true;
        this.#answered(call, parts[3]);
        break;
      case toClient.failed: {
        const facts = parts[2] as unknown as FailureFacts;
        if (call !== undefined) {
          this.#notAwaited(call);
          this.#failed(call, errorOfFacts(facts));
        } else if (!this.#sessions.failed(id)) this.subscriptions?.failed(id, errorOfFacts(facts));
        break;
      }
      case toClient.value:
        this.subscriptions?.value(id, parts[2] as number, parts[3] as string, parts[4]);
        return;
      default:
        return;
    }
    if (this.#queueHead < this.#queue.length) this.#pump();
  }

  lost(error: OnefoldError, { isNotReading }: { readonly wasOpen: boolean; readonly isNotReading: boolean }): void {
    this.#lastError = error;
    // What was asked for was more than could be taken: less of it at once.
    if (isNotReading) this.#callsMax = Math.max(1, this.#callsMax >> 1);
    this.#writer!.lost();
    const again: Call[] = [];
    for (const call of [...this.#open.values()]) {
      if (!call.isAwaited || call.isOverHttp) continue;
      this.#notAwaited(call);
      call.lastError = error;
      if (this.#isRepeatable(call)) again.push(call);
      else {
        this.#finish(call);
        call.reject(error);
      }
    }
    // In the order in which they were made, before what had to wait.
    this.#queue = [...again, ...this.#queue.slice(this.#queueHead)];
    this.#queueHead = 0;
    this.subscriptions?.lost();
    if (this.isOnHttp) this.#pumpHttp();
  }

  refused(error: OnefoldError | Refused): void {
    for (const call of [...this.#open.values()]) {
      this.#finish(call);
      call.reject(error);
    }
    this.subscriptions?.refused(error);
  }
}
