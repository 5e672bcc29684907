/**
 * The client's connection: opened when there is something to send, opened again when it was lost, kept alive while it is wanted.
 *
 *     idle ──wake──> connecting ──welcome──> open
 *      ^                 │                    │
 *      └──not wanted── waiting <────lost──────┘        any of them ──close──> closed
 *
 * LK1  Messages go out in the order in which they were written, those of one turn in one frame.
 * LK2  After a loss nothing of the old connection is heard any more.
 * LK3  Attempts are paced: each waits longer than the one before, up to `retryMsMax`, by a random part of that. Where there are several
 *      addresses, each attempt is at the next one, and waits longer only once all of them have been tried; the first one is made at once where
 *      a node has taken its leave.
 * LK4  Where there are several addresses, a node that is silent while a call waits is asked whether it is there, and left for the next one where
 *      it does not say so: a machine that has lost its power ends no connection. What counts is looks, not time, so that a client which was
 *      stopped itself accuses nobody.
 */
import { OnefoldError, type Refused } from "../base/errors.ts";
import type { Value } from "../base/value.ts";
import { Decoder } from "../wire/decoder.ts";
import { Encoder } from "../wire/encoder.ts";
import { envelopeDepth, valueDepthMax } from "../wire/nesting.ts";
import {
  closeCodes,
  type FailureFacts,
  socketPath,
  subprotocol,
  toClient,
  toServer,
  type Welcome,
} from "../wire/protocol.ts";
import { errorOfFacts } from "./failure.ts";
import type { Addresses } from "./addresses.ts";
import type { ClientPlatform, ClientSocket, ClientTimer } from "./platform.ts";

export interface SocketLinkOptions {
  readonly platform: ClientPlatform;
  readonly openSocket: NonNullable<ClientPlatform["openSocket"]>;
  readonly addresses: Addresses;
  readonly system: string | undefined;
  readonly headers: Readonly<Record<string, string>>;
  /** Asked for before each attempt. */
  readonly token: () => Promise<string | undefined>;
}

/** Who uses the link. */
export interface SocketLinkOwner {
  /** True while there is something to send or to hear. */
  isWanted(): boolean;
  /** True while an answer is to come. */
  isAwaiting(): boolean;
  /** From now on `write` works. */
  welcomed(welcome: Welcome): void;
  /** Called before the first message of a frame, to put one before it. */
  beginning(encoder: Encoder): number;
  /** The frame that was just sent. */
  flushed(frame: Uint8Array): void;
  message(parts: readonly Value[]): void;
  /** What was sent and not answered must be sent again. `error` says what was heard last. `wasOpen`: there was a welcome. */
  lost(error: Error, facts: { readonly wasOpen: boolean; readonly isNotReading: boolean }): void;
  /** The server refuses for good: another attempt would be refused as well. */
  refused(error: OnefoldError | Refused): void;
}

type State = "idle" | "connecting" | "open" | "waiting" | "closed";

const retryMsMin = 50;
const retryMsMax = 2000;
const connectMsMax = 10_000;
/** Where another address can be tried, a silent one is not waited for as long. */
const connectMsMaxOfSeveral = 2000;
const moveMsMin = 1000;
/** LK4: so often is looked, and so many looks without a word it takes to ask, and to leave. */
const lookMs = 1000;
const [looksBeforePing, looksBeforeLeaving] = [2, 5];
/** A frame is sent once it has this much; the next message may make it longer by itself. */
export const frameBytesAim = 64 * 1024;
const refusals: ReadonlySet<number> = new Set([
  closeCodes.malformed,
  closeCodes.unauthenticated,
  closeCodes.forbidden,
  closeCodes.unknownSystem,
  closeCodes.internal,
]);

export class SocketLink {
  readonly #options: SocketLinkOptions;
  readonly #owner: SocketLinkOwner;
  readonly #encoder = new Encoder();
  readonly #decoder = new Decoder();
  readonly #flush = (): void => this.flush();
  #state: State = "idle";
  #socket: ClientSocket | undefined;
  #url: URL;
  #movedMs = Number.NEGATIVE_INFINITY;
  /** Counts connections: what belongs to an older one is ignored (LK2). */
  #attempt = 0;
  #failures = 0;
  #messageCount = 0;
  #heardMs = 0;
  #farewell: OnefoldError | Refused | undefined;
  #timer: ClientTimer | undefined;
  #lookTimer: ClientTimer | undefined;
  #silentLooks = 0;

  constructor(options: SocketLinkOptions, owner: SocketLinkOwner) {
    this.#options = options;
    this.#owner = owner;
    this.#url = options.addresses.current;
  }

  get isOpen(): boolean {
    return this.#state === "open";
  }

  get addressCount(): number {
    return this.#options.addresses.count;
  }

  /** Attempts in a row that have failed. */
  get failures(): number {
    return this.#failures;
  }

  /** Whether a frame has been begun that is not sent yet. */
  get isGathering(): boolean {
    return this.#encoder.size > 0;
  }

  /** Connects, if that has not begun. */
  wake(): void {
    if (this.#state === "idle") this.#connect();
  }

  /**
   * Goes to another address, where there is one: the node that is connected answers, but does not serve. What was sent and not answered is
   * lost as with any connection. At most once in `moveMsMin`.
   */
  move(): void {
    const { platform, addresses } = this.#options;
    if (this.#state !== "open" || addresses.count === 1) return;
    const nowMs = platform.monotonicMs();
    if (nowMs < this.#movedMs + moveMsMin) return;
    this.#movedMs = nowMs;
    this.#lose(this.#attempt, 0, "the node does not serve just now, another one is asked");
  }

  /** Ends it for good, after what was written. */
  close(): void {
    if (this.#state === "closed") return;
    this.flush();
    this.#state = "closed";
    this.#attempt++;
    this.#timer?.cancel();
    this.#lookTimer?.cancel();
    this.#socket?.close();
    this.#socket = undefined;
  }

  /** Where the next message is to be written; `end` must follow. The link must be open. */
  begin(): Encoder {
    if (this.#encoder.size === 0) {
      this.#encoder.reserveArray();
      this.#messageCount = this.#owner.beginning(this.#encoder);
      // Behind the calls that this turn's other answers lead to.
      queueMicrotask(this.#flush);
    }
    return this.#encoder;
  }

  /** So many messages were written, and more of the same piece follow: nothing is sent between. */
  count(messages: number): void {
    this.#messageCount += messages;
  }

  end(): void {
    this.#messageCount++;
    if (this.#encoder.size >= frameBytesAim) this.flush();
  }

  flush(): void {
    if (this.#encoder.size === 0) return;
    this.#encoder.patchArray(0, this.#messageCount);
    const frame = this.#encoder.take();
    this.#owner.flushed(frame);
    if (this.#state === "open") this.#socket!.send(frame);
  }

  // --------------------------------------------------------------------------------------------------------- connecting

  #connect(): void {
    this.#state = "connecting";
    const attempt = ++this.#attempt;
    this.#farewell = undefined;
    this.#timer?.cancel();
    const { addresses, platform } = this.#options;
    this.#url = addresses.current;
    this.#timer = platform.after(addresses.count > 1 ? connectMsMaxOfSeveral : connectMsMax, () => {
      this.#lose(attempt, 0, "the connection could not be made in time");
    });
    this.#options.token().then(
      (token) => this.#open(attempt, token),
      (cause: unknown) => {
        if (attempt !== this.#attempt) return;
        this.#refused(new OnefoldError("unauthenticated", "The token function failed.", { cause }));
      },
    );
  }

  #open(attempt: number, token: string | undefined): void {
    if (attempt !== this.#attempt) return;
    const { openSocket, headers } = this.#options;
    let hello: Uint8Array;
    try {
      hello = helloOf(token);
    } catch (cause) {
      return this.#refused(new OnefoldError("unauthenticated", "The token can't be sent.", { cause }));
    }
    try {
      this.#socket = openSocket(this.#address(), subprotocol, headers, {
        opened: () => {
          if (attempt === this.#attempt) this.#socket!.send(hello);
        },
        frame: (bytes) => {
          if (attempt === this.#attempt) this.#frame(attempt, bytes);
        },
        closed: (code, reason) => this.#lose(attempt, code, reason),
      });
    } catch (error) {
      // Platforms throw for what they never send: a header's character, a page's policy.
      this.#lose(attempt, 0, `no socket could be opened: ${error instanceof Error ? error.message : String(error)}`);
    }
  }

  #address(): string {
    const { system } = this.#options;
    const address = new URL(socketPath, this.#url);
    address.protocol = this.#url.protocol === "https:" ? "wss:" : "ws:";
    if (system !== undefined) address.searchParams.set("system", system);
    return address.href;
  }

  #frame(attempt: number, bytes: Uint8Array): void {
    this.#heardMs = this.#options.platform.monotonicMs();
    this.#silentLooks = 0;
    const decoder = this.#decoder;
    try {
      decoder.open(bytes);
      for (let left = decoder.array(); left > 0; left--) {
        const length = decoder.array();
        const parts: Value[] = [];
        for (let i = 0; i < length; i++) parts.push(decoder.value(valueDepthMax + envelopeDepth));
        this.#message(parts);
        if (attempt !== this.#attempt) return;
      }
    } catch (error) {
      if (!(error instanceof OnefoldError)) throw error;
      this.#lose(attempt, closeCodes.malformed, error.message);
    }
  }

  #message(parts: readonly Value[]): void {
    if (parts[0] === toClient.welcome && this.#state === "connecting") {
      this.#welcomed(parts[1] as unknown as Welcome);
    } else if (parts[0] === toClient.failed && parts[1] === 0) {
      // About the connection: the end of it follows.
      this.#farewell = errorOfFacts(parts[2] as unknown as FailureFacts);
    } else this.#owner.message(parts);
  }

  #welcomed(welcome: Welcome): void {
    this.#state = "open";
    this.#failures = 0;
    this.#watchSilence(this.#attempt, welcome.silenceMsMax / 3);
    if (this.#options.addresses.count > 1) this.#watchAnswers(this.#attempt);
    this.#owner.welcomed(welcome);
  }

  /** Pings where nothing was heard for `everyMs`, and gives the connection up where nothing comes of that. */
  #watchSilence(attempt: number, everyMs: number): void {
    this.#timer?.cancel();
    this.#timer = this.#options.platform.after(everyMs, () => {
      if (attempt !== this.#attempt) return;
      const silentMs = this.#options.platform.monotonicMs() - this.#heardMs;
      if (silentMs > 2 * everyMs) return this.#lose(attempt, 0, "nothing was heard from the server");
      if (silentMs >= everyMs / 2) this.#ping();
      this.#watchSilence(attempt, everyMs);
    });
  }

  /** LK4. */
  #watchAnswers(attempt: number): void {
    this.#lookTimer?.cancel();
    this.#lookTimer = this.#options.platform.after(lookMs, () => {
      if (attempt !== this.#attempt) return;
      this.#silentLooks = this.#owner.isAwaiting() ? this.#silentLooks + 1 : 0;
      if (this.#silentLooks >= looksBeforeLeaving) return this.#lose(attempt, 0, "the node has fallen silent");
      if (this.#silentLooks === looksBeforePing) this.#ping();
      this.#watchAnswers(attempt);
    });
  }

  #ping(): void {
    const encoder = this.begin();
    encoder.array(2);
    encoder.number(toServer.ping);
    encoder.number(0);
    this.end();
  }

  #lose(attempt: number, code: number, reason: string): void {
    if (attempt !== this.#attempt) return;
    const wasOpen = this.#state === "open";
    const socket = this.#abandon("waiting");
    socket?.close();
    if (refusals.has(code) && this.#farewell !== undefined) return this.#refused(this.#farewell);
    this.#options.addresses.leave(this.#url);
    const why = this.#farewell?.message ?? (reason === "" ? `it ended with code ${code}` : reason);
    this.#failures = wasOpen ? 0 : this.#failures + 1;
    const error = new OnefoldError("outcome-unknown", `The connection was lost: ${why}`);
    this.#owner.lost(error, { wasOpen, isNotReading: code === closeCodes.notReading });
    // Whoever was told may have closed the link.
    if ((this.#state as State) !== "waiting") return;
    const hasLeft = wasOpen && code === closeCodes.leaving && this.addressCount > 1;
    this.#timer = this.#options.platform.after(hasLeft ? 0 : this.#pauseMs(), () => {
      this.#state = "idle";
      if (this.#owner.isWanted()) this.#connect();
    });
  }

  /** LK3. */
  #pauseMs(): number {
    const rounds = Math.floor(this.#failures / this.#options.addresses.count);
    const pauseMs = Math.min(retryMsMax, retryMsMin * 2 ** rounds);
    return pauseMs * (0.5 + 0.5 * this.#options.platform.random());
  }

  #refused(error: OnefoldError | Refused): void {
    this.#abandon("idle")?.close();
    this.#owner.refused(error);
  }

  /** Leaves the present connection. What was written and not sent is told as if it had been, so that it can be sent again. */
  #abandon(next: State): ClientSocket | undefined {
    this.#attempt++;
    this.#timer?.cancel();
    this.#lookTimer?.cancel();
    this.#silentLooks = 0;
    this.#state = next;
    const socket = this.#socket;
    this.#socket = undefined;
    this.flush();
    return socket;
  }
}

/** The first frame of a connection. Throws `invalid-value` for a token that is no text. */
function helloOf(token: string | undefined): Uint8Array {
  const encoder = new Encoder(256);
  encoder.array(1);
  encoder.array(2);
  encoder.number(toServer.hello);
  encoder.value(token === undefined ? {} : { token });
  return encoder.take();
}
