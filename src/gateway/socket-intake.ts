/**
 * What a socket's client has sent and was not carried out yet: whole frames, read message by message.
 *
 * IN1  A message is decoded when its turn has come, not before: a frame of many messages takes no more memory than its bytes.
 * IN2  What stands before something that can't be read is given out first (SO4).
 */
import { emptyBytes } from "../base/bytes.ts";
import { Decoder } from "../wire/decoder.ts";
import { valueDepthMax } from "../wire/nesting.ts";
import { malformed, type Parts } from "./socket-message.ts";

/** One message as it came. */
export interface Received {
  readonly parts: Parts;
  /** How many bytes it took on the wire. */
  readonly bytes: number;
  /** About how many bytes it takes in memory: what bounds on memory count. */
  readonly weight: number;
}

/** Where a subscription's options stand, which hold its input: one level more than a value has. */
const optionsIndex = 2;

export class SocketIntake {
  readonly #decoder = new Decoder();
  readonly #waiting: Uint8Array[] = [];
  /** Messages of the present frame that were not given out. */
  #messagesLeft = 0;
  #isInFrame = false;

  /** One whole frame. Its bytes must not change. */
  add(frame: Uint8Array): void {
    this.#waiting.push(frame);
  }

  /** True where nothing is left to be read. */
  get isEmpty(): boolean {
    return this.isFrameOver && this.#waiting.length === 0;
  }

  /** True where nothing of the present frame is left. */
  get isFrameOver(): boolean {
    return !this.#isInFrame || (this.#messagesLeft === 0 && this.#decoder.isAtEnd);
  }

  /** Forgets everything. */
  clear(): void {
    this.#waiting.length = 0;
    this.#leaveFrame();
  }

  /** The next message; undefined where there is none. Throws `malformed` (retry never) for what can't be read. */
  next(): Received | undefined {
    while (this.#messagesLeft === 0) if (!this.#nextFrame()) return undefined;
    const decoder = this.#decoder;
    const { position, weight } = decoder;
    this.#messagesLeft--;
    const length = decoder.array();
    const parts = [];
    for (let i = 0; i < length; i++) parts.push(decoder.value(i === optionsIndex ? valueDepthMax + 1 : valueDepthMax));
    const bytes = decoder.position - position;
    return { parts, bytes, weight: bytes + decoder.weight - weight };
  }

  #nextFrame(): boolean {
    if (this.#isInFrame && !this.#decoder.isAtEnd) throw malformed("Something follows a frame's last message.");
    const frame = this.#waiting.shift();
    if (frame === undefined) {
      this.#leaveFrame();
      return false;
    }
    this.#isInFrame = true;
    this.#decoder.open(frame);
    this.#messagesLeft = this.#decoder.array();
    return true;
  }

  /** An idle connection keeps nothing of its last frame. */
  #leaveFrame(): void {
    if (!this.#isInFrame) return;
    this.#isInFrame = false;
    this.#messagesLeft = 0;
    this.#decoder.open(emptyBytes);
  }
}
