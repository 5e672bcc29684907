/**
 * One client's socket: what it says, what is under way for it, and how it ends. `docs/protocol.md` says what goes over it.
 *
 *     greeting ──hello accepted──> open ──leave──> leaving ──all answered──> closed
 *        └───────── anything wrong ────┴──────────────┴─────────────────────────┘
 *
 * SO1  Nothing is carried out before the hello was accepted, nor in the name of anybody else than it named.
 * SO2  No two calls or subscriptions that are open have one id: which of them an answer is to couldn't be told.
 * SO3  While more than `socketBufferedBytesPause` bytes are not taken by the client nothing is carried out for it, and beyond
 *      `socketBufferedBytesMax` it is ended.
 * SO4  A frame that can't be read ends the connection: what its sender meant can't be known. What it held before counts.
 * SO5  Messages are carried out for about `sliceMs` in a turn; others have theirs before it goes on.
 */
import { OnefoldError } from "../base/errors.ts";
import type { RequestFacts } from "../entity/definition.ts";
import type { Position } from "../entity/service.ts";
import { closeCodes, type FailureFacts, toServer } from "../wire/protocol.ts";
import type { SocketCaller } from "./socket-calls.ts";
import { socketFailureOf } from "./socket-failure.ts";
import { closeCodeOfRefusal, greet } from "./socket-greeting.ts";
import { type Received, SocketIntake } from "./socket-intake.ts";
import { count, malformed, type Parts, text } from "./socket-message.ts";
import { OpenCalls, type OpenCallsContext } from "./socket-open-calls.ts";
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
export interface SocketContext extends SubscriptionContext, OpenCallsContext {
  readonly isGuarded: boolean;
  report(error: unknown): void;
}

type State = "greeting" | "open" | "leaving" | "closed";

/** So many messages are carried out between two looks at the clock. */
const messagesPerLook = 16;

export class SocketConnection {
  readonly #socket: FrameSocket;
  readonly #context: SocketContext;
  readonly #request: RequestFacts;
  readonly #systemName: string | undefined;
  readonly #outbox: SocketOutbox;
  readonly #subscriptions: SocketSubscriptions;
  readonly #calls: OpenCalls;
  readonly #intake = new SocketIntake();
  #state: State = "greeting";
  /** The hello is being decided. */
  #isGreeting = false;
  #isProcessing = false;
  /** It is another's turn (SO5). */
  #isYielding = false;
  /** Who calls, and in which session: made with the welcome, and anew when the client tells of its session. */
  #caller: SocketCaller | undefined;
  /** The client does not take what was sent to it (SO3). */
  #isPaused = false;
  /** Nothing is read from it. */
  #isHeld = false;
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
    this.#calls = new OpenCalls(parts.context, {
      done: (id, sequence, output) => {
        if (!this.#isClosed) this.#outbox.done(id, sequence, output);
      },
      read: (id, sequence, output) => {
        if (!this.#isClosed) this.#outbox.read(id, sequence, output);
      },
      failed: (id, error) => this.#fail(id, error),
      unheard: (error) => void this.#factsOf(error),
      settled: () => this.#leaveIfDone(),
    });
    this.#heardMs = parts.context.monotonicMs();
    const { timers, limits } = parts.context;
    this.#helloTimer = timers.after(limits.socketHelloMs, () => {
      this.#end(closeCodes.silent, new OnefoldError("request-timeout", "No hello came in time."));
    });
  }

  get #isClosed(): boolean {
    return this.#state === "closed";
  }

  /** Bytes that the client has not taken. */
  get bufferedBytes(): number {
    return this.#socket.bufferedAmount;
  }

  /** One whole frame from the client. */
  receive(frame: Uint8Array): void {
    this.heard();
    if (this.#isClosed) return;
    this.#intake.add(frame);
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
    else if (silentMs > socketSilenceMs / 2 && !this.#isClosed) this.#socket.ping();
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

  /** Whether its hello has come. */
  get isGreeted(): boolean {
    return this.#state !== "greeting" || this.#isGreeting;
  }

  /** A text frame, a first frame that is too large, or anything else that the protocol doesn't have. */
  violated(message: string): void {
    this.#end(closeCodes.malformed, malformed(message));
  }

  /** The node has no room for what this client is sending. */
  surplus(): void {
    this.#end(
      closeCodes.unavailable,
      new OnefoldError("overloaded", "Too many large frames are arriving at once. Try again soon.", {
        retryAfterMs: 1000,
      }),
    );
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
    if (this.#isClosed) return;
    this.#state = "closed";
    this.#helloTimer.cancel();
    this.#intake.clear();
    this.#subscriptions.endAll();
    this.#onClosed();
  }

  // ------------------------------------------------------------------------------------------------------------- frames

  /** Carries out what has come, as far as it may be now. */
  #process(): void {
    if (this.#isProcessing || this.#isYielding) return;
    this.#isProcessing = true;
    try {
      this.#carryOut();
    } catch (error) {
      // What a message asks for is answered one by one; what comes here is about the frame (SO4).
      this.#end(error instanceof OnefoldError ? closeCodes.malformed : closeCodes.internal, error);
    } finally {
      this.#isProcessing = false;
    }
    if (!this.#isClosed) this.#hold(this.#isGreeting || this.#isPaused || !this.#intake.isEmpty);
  }

  /** Has nothing more read from the client, or again. */
  #hold(isHeld: boolean): void {
    if (isHeld === this.#isHeld) return;
    this.#isHeld = isHeld;
    if (isHeld) this.#socket.pause();
    else this.#socket.resume();
  }

  #carryOut(): void {
    const { timers, limits } = this.#context;
    let untilMs: number | undefined;
    for (let carriedOut = 1; !this.#isPaused && !this.#isGreeting && !this.#isClosed; carriedOut++) {
      const received = this.#intake.next();
      if (received === undefined) return;
      this.#message(received);
      if (carriedOut % messagesPerLook !== 0 || this.#intake.isEmpty) continue;
      const nowMs = this.#context.monotonicMs();
      untilMs ??= nowMs + limits.sliceMs;
      if (nowMs < untilMs) continue;
      this.#isYielding = true;
      timers.soon(() => {
        this.#isYielding = false;
        this.#process();
      });
      return;
    }
  }

  #message(received: Received): void {
    const { parts } = received;
    const type = parts[0];
    if (this.#state === "greeting") {
      if (type !== toServer.hello) throw malformed("The first message must be a hello.");
      if (!this.#intake.isFrameOver) throw malformed("The hello must be alone in its frame.");
      this.#isGreeting = true;
      this.#greet(parts).catch((error: unknown) => this.#end(closeCodeOfRefusal(error), error));
      return;
    }
    switch (type) {
      case toServer.call:
      case toServer.transaction:
      case toServer.delete:
      case toServer.state:
      case toServer.list:
      case toServer.history:
        return this.#call(received);
      case toServer.session:
        return this.#useSession(parts);
      case toServer.subscribe:
        return this.#subscribe(received);
      case toServer.credit:
        return this.#subscriptions.grant(count("An id", parts[1], 1), count("credit", parts[2], 1));
      case toServer.cancel:
        return this.#cancel(count("An id", parts[1], 1));
      case toServer.ping:
        return this.#outbox.pong(parts[1]);
      case toServer.mint:
        return this.#mint(this.#freeId(parts));
      default:
        throw malformed("There is no message of this type here.");
    }
  }

  /** SO2. The id that a message gives to what it asks for. */
  #freeId(parts: Parts): number {
    const id = count("An id", parts[1], 1);
    if (this.#calls.has(id) || this.#subscriptions.has(id))
      throw malformed("A call or subscription with this id is open.");
    return id;
  }

  async #greet(parts: Parts): Promise<void> {
    const { principal, welcome } = await greet(this.#context, this.#request, this.#systemName, parts);
    if (this.#state !== "greeting") return;
    this.#caller = { principal, sessionToken: welcome.session, lowest: 1, sees: this.#sees };
    this.#state = "open";
    this.#isGreeting = false;
    this.#helloTimer.cancel();
    this.#outbox.welcome(welcome);
    this.#process();
  }

  // -------------------------------------------------------------------------------------------------------------- calls

  #call(received: Received): void {
    const id = this.#freeId(received.parts);
    try {
      this.#assertStaying();
      this.#calls.begin(id, received, this.#caller!);
    } catch (error) {
      this.#fail(id, error);
    }
  }

  #assertStaying(): void {
    if (this.#state !== "leaving") return;
    // The connection ends as soon as what is under way has been answered, and its client goes on elsewhere.
    throw new OnefoldError("not-ready", "The node is stopping.", { retryAfterMs: 20 });
  }

  #fail(id: number, error: unknown): void {
    const facts = this.#factsOf(error);
    if (!this.#isClosed) this.#outbox.failed(id, facts);
  }

  /** What the client may know of a failure; what an operator must see of it is reported. */
  #factsOf(error: unknown): FailureFacts {
    const { facts, report } = socketFailureOf(error, { showInside: !this.#context.isGuarded });
    if (report !== undefined) this.#context.report(report);
    return facts;
  }

  #useSession(parts: Parts): void {
    const lowest = count("The lowest number", parts[1], 1);
    const { principal, sessionToken } = this.#caller!;
    const token = parts[2] === undefined ? sessionToken : text("A session's token", parts[2]);
    this.#caller = { principal, sessionToken: token, lowest, sees: this.#sees };
  }

  /** An answer moves the session on, also one that the client has left for another: that sees more then than it must. */
  readonly #sees = (position: Position): void => {
    const { service } = this.#context;
    const { sessionToken, ...caller } = this.#caller!;
    if (sessionToken === undefined || service.advanceSession === undefined) return;
    try {
      this.#caller = { ...caller, sessionToken: service.advanceSession(sessionToken, position) };
    } catch (error) {
      // A token that was made up fails the calls that use it, not the others.
      if (!(error instanceof OnefoldError)) throw error;
    }
  };

  #cancel(id: number): void {
    if (this.#subscriptions.has(id)) this.#subscriptions.end(id);
    else this.#calls.cancel(id);
  }

  #mint(id: number): void {
    try {
      const session = this.#context.service.mintSession(this.#caller!.principal);
      this.#outbox.read(id, 0, { session, sessionMs: this.#context.limits.sessionMsDefault });
    } catch (error) {
      this.#fail(id, error);
    }
  }

  #subscribe(received: Received): void {
    const id = this.#freeId(received.parts);
    try {
      this.#assertStaying();
      this.#subscriptions.begin(id, received, this.#caller!.principal);
    } catch (error) {
      this.#fail(id, error);
    }
  }

  // ------------------------------------------------------------------------------------------------------------ sending

  #send(frame: Uint8Array): void {
    if (this.#isClosed) return;
    this.#socket.send(frame, this.#left);
    const { socketBufferedBytesPause, socketBufferedBytesMax } = this.#context.limits;
    const buffered = this.#socket.bufferedAmount;
    if (buffered > socketBufferedBytesMax) return this.overrun();
    if (buffered > socketBufferedBytesPause && !this.#isPaused) {
      this.#isPaused = true;
      this.#hold(true);
    }
  }

  /** A frame has left: reads on where it was held back, and there is room again. */
  readonly #left = (): void => {
    this.heard();
    if (!this.#isPaused || this.#isClosed) return;
    if (this.#socket.bufferedAmount > this.#context.limits.socketBufferedBytesPause / 2) return;
    this.#isPaused = false;
    this.#subscriptions.wake();
    this.#process();
  };

  #leaveIfDone(): void {
    if (this.#state !== "leaving" || this.#calls.count > 0) return;
    this.#outbox.flush();
    this.#close(closeCodes.leaving, "the node is stopping");
  }

  /** Says why, and ends the connection. */
  #end(code: number, error: unknown): void {
    if (this.#isClosed) return;
    const facts = this.#factsOf(error);
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
