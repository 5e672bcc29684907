/**
 * One client's socket: what it says, what is under way for it, and how it ends. `docs/protocol.md` says what goes over it.
 *
 *     greeting ──hello accepted──> open ──leave──> leaving ──all answered──> closed
 *        └───────── anything wrong ────┴──────────────┴─────────────────────────┘
 *
 * SO1  Nothing is carried out before the hello was accepted, nor in the name of anybody else than it named.
 * SO2  Each call is answered once, unless it was cancelled or the connection ended; its answer was durable before.
 * SO3  At most `socketCallsMax` calls in `socketCallBytesMax` are unanswered. While more than `socketBufferedBytesPause`
 *      bytes are not taken by the client nothing is read from it, and beyond `socketBufferedBytesMax` it is ended.
 * SO4  A frame that can't be read ends the connection: what its sender meant can't be known. What it held before counts.
 */
import { OnefoldError } from "../base/errors.ts";
import type { RequestFacts } from "../entity/definition.ts";
import type { Principal } from "../entity/service.ts";
import { Decoder } from "../wire/decoder.ts";
import { closeCodes, toServer, type Welcome } from "../wire/protocol.ts";
import { authenticate } from "./access.ts";
import { beginCall, type SocketCaller, type SocketReply } from "./socket-calls.ts";
import { socketFailureOf } from "./socket-failure.ts";
import { assertNone, count, malformed, type Parts, record, text } from "./socket-message.ts";
import { SocketOutbox } from "./socket-outbox.ts";
import { type SubscriptionContext, SocketSubscriptions } from "./socket-subscriptions.ts";

/** The socket beneath, as far as it is needed here. */
export interface FrameSocket {
  /** Bytes that were sent and have not left. */
  readonly bufferedAmount: number;
  /** `left` is called when the frame has left, or never will. */
  send(frame: Uint8Array, left: () => void): void;
  pause(): void;
  resume(): void;
  ping(): void;
  /** Says goodbye. */
  close(code: number, reason: string): void;
  /** Ends it without a word. */
  terminate(): void;
}

/** What all connections of a gateway share. */
export interface SocketContext extends SubscriptionContext {
  readonly isGuarded: boolean;
  readonly budget: SocketBudget;
  monotonicMs(): number;
  report(error: unknown): void;
}

/** What all connections together have under way. */
export interface SocketBudget {
  callsOpen: number;
}

type State = "greeting" | "open" | "leaving" | "closed";

/** One decoder for all: a message is read in one go, and nothing else runs meanwhile. */
const decoder = new Decoder();

export class SocketConnection {
  readonly #socket: FrameSocket;
  readonly #context: SocketContext;
  readonly #request: RequestFacts;
  readonly #systemName: string | undefined;
  readonly #outbox: SocketOutbox;
  readonly #subscriptions: SocketSubscriptions;
  /** Ids of calls that are unanswered, and those of them that nobody waits for any more. */
  readonly #calls = new Set<number>();
  readonly #cancelled = new Set<number>();
  #state: State = "greeting";
  /** Frames that came before the hello was decided, or after the socket was asked to pause. */
  #waiting: Uint8Array[] = [];
  #isGreeting = false;
  #isProcessing = false;
  /** Who calls, and in which session: made with the welcome, and anew when the client tells of its session. */
  #caller: SocketCaller | undefined;
  #callBytesOpen = 0;
  #isPaused = false;
  #heardMs: number;
  readonly #helloTimer: { cancel(): void };
  readonly #onClosed: () => void;

  constructor(parts: {
    readonly socket: FrameSocket;
    readonly context: SocketContext;
    readonly request: RequestFacts;
    /** As the handshake names it; undefined if it names none. */
    readonly systemName: string | undefined;
    readonly onClosed: () => void;
  }) {
    this.#socket = parts.socket;
    this.#context = parts.context;
    this.#request = parts.request;
    this.#systemName = parts.systemName;
    this.#onClosed = parts.onClosed;
    this.#outbox = new SocketOutbox((frame) => this.#send(frame));
    this.#subscriptions = new SocketSubscriptions(parts.context, {
      isCongested: () => this.#isPaused,
      value: (...value) => this.#outbox.value(...value),
      unchanged: (id) => this.#outbox.unchanged(id),
      failed: (id, error) => this.#fail(id, error),
    });
    this.#heardMs = parts.context.monotonicMs();
    const { timers, limits } = parts.context;
    this.#helloTimer = timers.after(limits.socketHelloMs, () => {
      this.#end(closeCodes.silent, new OnefoldError("request-timeout", "No hello came in time."));
    });
  }

  /** Bytes that the client has not taken. */
  get bufferedBytes(): number {
    return this.#socket.bufferedAmount;
  }

  /** One whole frame from the client. */
  receive(frame: Uint8Array): void {
    this.heard();
    if (this.#state === "closed") return;
    this.#waiting.push(frame);
    this.#process();
  }

  /** Something came from the client, if only a sign of life. */
  heard(): void {
    this.#heardMs = this.#context.monotonicMs();
  }

  /** Called now and then: pings a silent client, and ends one that stays silent. */
  checkSilence(): void {
    const silentMs = this.#context.monotonicMs() - this.#heardMs;
    const { socketSilenceMs } = this.#context.limits;
    // Whoever is held back can't be heard; he is bounded otherwise (SO3), and ends here if he takes nothing for long.
    if (silentMs > socketSilenceMs)
      this.#end(closeCodes.silent, new OnefoldError("request-timeout", "Nothing was heard."));
    else if (silentMs > socketSilenceMs / 2 && this.#state !== "closed") this.#socket.ping();
  }

  /** Takes leave: answers what is under way, refuses what comes now, then ends. */
  leave(): void {
    if (this.#state === "greeting") {
      this.#end(closeCodes.leaving, new OnefoldError("not-ready", "The node is stopping.", { retryAfterMs: 1000 }));
    } else if (this.#state === "open") {
      this.#state = "leaving";
      this.#subscriptions.endAll();
      this.#leaveIfDone();
    }
  }

  /** A text frame, a frame that is too large, or anything else that the protocol doesn't have. */
  violated(message: string): void {
    this.#end(closeCodes.malformed, malformed(message));
  }

  /** The client takes less than it asks for: ends it. */
  overrun(): void {
    const { socketBufferedBytesMax } = this.#context.limits;
    // No words: they would stand behind what is not taken.
    this.#close(closeCodes.notReading, `more than ${socketBufferedBytesMax} bytes were not taken`);
    this.#socket.terminate();
  }

  /** The socket is gone. */
  closed(): void {
    if (this.#state === "closed") return;
    this.#state = "closed";
    this.#helloTimer.cancel();
    this.#waiting = [];
    this.#subscriptions.endAll();
    this.#onClosed();
  }

  // ------------------------------------------------------------------------------------------------------------- frames

  #process(): void {
    if (this.#isProcessing) return;
    this.#isProcessing = true;
    try {
      while (this.#waiting.length > 0 && !this.#isPaused && !this.#isGreeting && this.#state !== "closed") {
        this.#frame(this.#waiting.shift()!);
      }
    } finally {
      this.#isProcessing = false;
    }
    if (this.#waiting.length > 0) this.#socket.pause();
  }

  #frame(frame: Uint8Array): void {
    try {
      decoder.open(frame);
      const messages = decoder.array();
      for (let i = 0; i < messages; i++) {
        if (this.#isGreeting) throw malformed("The hello must be alone in its frame.");
        const start = decoder.position;
        const length = decoder.array();
        const parts = [];
        for (let j = 0; j < length; j++) parts.push(decoder.value());
        this.#message(parts, decoder.position - start);
        if (this.#state === "closed") return;
      }
      if (!decoder.isAtEnd) throw malformed("Something follows a frame's last message.");
    } catch (error) {
      // What a message asks for is answered one by one; what comes here is about the frame (SO4).
      if (!(error instanceof OnefoldError)) this.#context.report(error);
      this.#end(error instanceof OnefoldError ? closeCodes.malformed : closeCodes.internal, error);
    }
  }

  #message(parts: Parts, bytes: number): void {
    const type = parts[0];
    if (this.#state === "greeting") {
      if (type !== toServer.hello) throw malformed("The first message must be a hello.");
      this.#isGreeting = true;
      this.#greet(parts).catch((error: unknown) => this.#refuse(error));
      return;
    }
    switch (type) {
      case toServer.call:
      case toServer.transaction:
      case toServer.delete:
      case toServer.state:
      case toServer.list:
      case toServer.history:
        return this.#call(parts, bytes);
      case toServer.session:
        return this.#useSession(parts);
      case toServer.subscribe:
        return this.#subscribe(parts);
      case toServer.credit:
        return this.#subscriptions.grant(count("An id", parts[1], 1), count("credit", parts[2], 1));
      case toServer.cancel:
        return this.#cancel(count("An id", parts[1], 1));
      case toServer.ping:
        return this.#outbox.pong(parts[1]);
      case toServer.mint:
        return this.#mint(count("An id", parts[1], 1));
      default:
        throw malformed("There is no message of this type here.");
    }
  }

  // -------------------------------------------------------------------------------------------------------------- hello

  async #greet(parts: Parts): Promise<void> {
    const { token, ...others } = record("A hello", parts[1] ?? {});
    assertNone(others);
    const { system, timers, limits } = this.#context;
    if (this.#systemName !== undefined && this.#systemName !== system.name) {
      throw new OnefoldError("unknown-system", `This node serves the system ${system.name}.`, {
        details: { system: system.name },
      });
    }
    const headers = { ...this.#request.headers };
    if (token !== undefined) headers.authorization = `Bearer ${text("A token", token)}`;
    const request = { ...this.#request, headers };
    const principal = await authenticate(system.options, request, timers, limits.socketHelloMs);
    if (this.#state !== "greeting") return;
    const welcome = this.#welcome(principal);
    this.#caller = { principal, sessionToken: welcome.session, lowest: 1 };
    this.#state = "open";
    this.#isGreeting = false;
    this.#helloTimer.cancel();
    this.#outbox.welcome(welcome);
    this.#socket.resume();
    this.#process();
  }

  #welcome(principal: Principal): Welcome {
    const { service, system, limits } = this.#context;
    return {
      system: system.name,
      session: service.mintSession(principal),
      sessionMs: limits.sessionMsDefault,
      callsMax: limits.socketCallsMax,
      callBytesMax: limits.socketCallBytesMax,
      frameBytesMax: limits.socketFrameBytesMax,
      subscriptionsMax: limits.socketSubscriptionsMax,
      sessionRequestsMax: limits.sessionRequestsOpenMax,
      silenceMsMax: limits.socketSilenceMs,
    };
  }

  #refuse(error: unknown): void {
    const code = error instanceof OnefoldError ? error.code : "internal";
    if (code === "unauthenticated") this.#end(closeCodes.unauthenticated, error);
    else if (code === "unknown-system") this.#end(closeCodes.unknownSystem, error);
    else if (code === "malformed") this.#end(closeCodes.malformed, error);
    else if (code === "not-ready" || code === "deadline-passed") this.#end(closeCodes.unavailable, error);
    else this.#end(code === "forbidden" ? closeCodes.forbidden : closeCodes.internal, error);
  }

  // -------------------------------------------------------------------------------------------------------------- calls

  #call(parts: Parts, bytes: number): void {
    const id = count("An id", parts[1], 1);
    // Which of the two an answer would be to couldn't be told.
    if (this.#calls.has(id)) throw malformed("A call with this id is open.");
    const { limits, budget } = this.#context;
    try {
      if (this.#state === "leaving") {
        throw new OnefoldError("not-ready", "The node is stopping.", { retryAfterMs: 200 });
      }
      if (bytes > limits.bodyBytesMax) {
        throw new OnefoldError("payload-too-large", `A call is larger than ${limits.bodyBytesMax} bytes.`, {
          details: { bodyBytesMax: limits.bodyBytesMax },
        });
      }
      if (this.#calls.size >= limits.socketCallsMax || this.#callBytesOpen + bytes > limits.socketCallBytesMax) {
        throw new OnefoldError(
          "overloaded",
          "This connection has as many calls unanswered as it may. Await some first.",
          {
            retryAfterMs: 100,
          },
        );
      }
      if (budget.callsOpen >= limits.socketCallsOpenMax) {
        throw new OnefoldError("overloaded", "This node has as many calls as it accepts. Try again soon.", {
          retryAfterMs: 1000,
        });
      }
      const { isRead, reply } = beginCall(this.#context, this.#caller!, parts, bytes);
      this.#calls.add(id);
      this.#callBytesOpen += bytes;
      budget.callsOpen++;
      reply.then(
        (settled) => this.#succeeded(id, bytes, settled, isRead),
        (error: unknown) => {
          this.#settled(id, bytes);
          this.#fail(id, error);
          this.#leaveIfDone();
        },
      );
    } catch (error) {
      this.#fail(id, error);
    }
  }

  #succeeded(id: number, bytes: number, { sequence, output }: SocketReply, isRead: boolean): void {
    this.#settled(id, bytes);
    if (this.#state !== "closed" && !this.#isCancelled(id)) {
      try {
        if (isRead) this.#outbox.read(id, sequence, output);
        else this.#outbox.done(id, sequence, output);
      } catch (error) {
        this.#fail(id, new OnefoldError("internal", "The output could not be encoded.", { cause: error }));
      }
    }
    this.#leaveIfDone();
  }

  #settled(id: number, bytes: number): void {
    this.#calls.delete(id);
    this.#callBytesOpen -= bytes;
    this.#context.budget.callsOpen--;
  }

  #fail(id: number, error: unknown): void {
    const { facts, report } = socketFailureOf(error, { showInside: !this.#context.isGuarded });
    if (report !== undefined) this.#context.report(report);
    if (this.#state === "closed" || this.#isCancelled(id)) return;
    this.#outbox.failed(id, facts);
  }

  #isCancelled(id: number): boolean {
    return this.#cancelled.size > 0 && this.#cancelled.delete(id);
  }

  #useSession(parts: Parts): void {
    const lowest = count("The lowest number", parts[1], 1);
    const { principal, sessionToken } = this.#caller!;
    const token = parts[2] === undefined ? sessionToken : text("A session's token", parts[2]);
    this.#caller = { principal, sessionToken: token, lowest };
  }

  #cancel(id: number): void {
    if (this.#subscriptions.has(id)) this.#subscriptions.end(id);
    else if (this.#calls.has(id)) this.#cancelled.add(id);
  }

  #mint(id: number): void {
    try {
      const session = this.#context.service.mintSession(this.#caller!.principal);
      this.#outbox.read(id, 0, { session, sessionMs: this.#context.limits.sessionMsDefault });
    } catch (error) {
      this.#fail(id, error);
    }
  }

  #subscribe(parts: Parts): void {
    const id = count("An id", parts[1], 1);
    try {
      if (this.#state === "leaving") {
        throw new OnefoldError("not-ready", "The node is stopping.", { retryAfterMs: 200 });
      }
      this.#subscriptions.begin(id, parts, this.#caller!.principal);
    } catch (error) {
      this.#fail(id, error);
    }
  }

  // ------------------------------------------------------------------------------------------------------------ sending

  #send(frame: Uint8Array): void {
    if (this.#state === "closed") return;
    this.#socket.send(frame, this.#left);
    const { socketBufferedBytesPause, socketBufferedBytesMax } = this.#context.limits;
    const buffered = this.#socket.bufferedAmount;
    if (buffered > socketBufferedBytesMax) return this.overrun();
    if (buffered > socketBufferedBytesPause && !this.#isPaused) {
      this.#isPaused = true;
      this.#socket.pause();
    }
  }

  /** A frame has left: reads on where it was held back, and there is room again. */
  readonly #left = (): void => {
    this.heard();
    if (!this.#isPaused || this.#state === "closed") return;
    if (this.#socket.bufferedAmount > this.#context.limits.socketBufferedBytesPause / 2) return;
    this.#isPaused = false;
    this.#socket.resume();
    this.#subscriptions.wake();
    this.#process();
  };

  #leaveIfDone(): void {
    if (this.#state !== "leaving" || this.#calls.size > 0) return;
    this.#outbox.flush();
    this.#close(closeCodes.leaving, "the node is stopping");
  }

  /** Says why, and ends the connection. */
  #end(code: number, error: unknown): void {
    if (this.#state === "closed") return;
    const { facts } = socketFailureOf(error, { showInside: !this.#context.isGuarded });
    // Id 0: not about a call but about the connection.
    this.#outbox.failed(0, facts);
    this.#outbox.flush();
    this.#close(code, facts.detail);
  }

  #close(code: number, reason: string): void {
    this.#socket.close(code, reason);
    this.closed();
  }
}
