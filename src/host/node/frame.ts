/**
 * Frames of a byte stream: a length (4 bytes, big-endian), then so many bytes.
 *
 * F1  A reader holds at most one frame's bytes, and none at all of a frame that is longer than its limit.
 */
import { assert } from "../../base/assert.ts";

const headerBytes = 4;

/** A frame around `body`; shares no memory with it. */
export function encodeFrame(body: Uint8Array): Uint8Array {
  const frame = new Uint8Array(headerBytes + body.length);
  new DataView(frame.buffer).setUint32(0, body.length);
  frame.set(body, headerBytes);
  return frame;
}

export class FrameReader {
  readonly #bodyBytesMax: number;
  readonly #header = new Uint8Array(headerBytes);
  #body: Uint8Array | undefined;
  /** Of the header while there is no body, else of the body. */
  #filledBytes = 0;

  constructor(bodyBytesMax: number) {
    this.#bodyBytesMax = bodyBytesMax;
  }

  /** True in the middle of a frame. */
  get isPartial(): boolean {
    return this.#body !== undefined || this.#filledBytes > 0;
  }

  /**
   * Takes the stream's next bytes and gives the bodies that are complete with them, each in memory of its own. Ends with
   * `"too-long"` at a frame above the limit; nothing may be pushed after that.
   */
  *push(chunk: Uint8Array): Generator<Uint8Array, "more" | "too-long"> {
    let at = 0;
    for (;;) {
      if (this.#body === undefined) {
        at += this.#fill(this.#header, chunk.subarray(at));
        if (this.#filledBytes < headerBytes) return "more";
        const length = new DataView(this.#header.buffer).getUint32(0);
        if (length > this.#bodyBytesMax) return "too-long";
        this.#body = new Uint8Array(length);
        this.#filledBytes = 0;
      }
      at += this.#fill(this.#body, chunk.subarray(at));
      if (this.#filledBytes < this.#body.length) return "more";
      const body = this.#body;
      this.#body = undefined;
      this.#filledBytes = 0;
      yield body;
    }
  }

  /** Returns how many of `bytes` were taken. */
  #fill(target: Uint8Array, bytes: Uint8Array): number {
    const count = Math.min(target.length - this.#filledBytes, bytes.length);
    assert(count >= 0, "F1: a frame holds no more than its length");
    target.set(bytes.subarray(0, count), this.#filledBytes);
    this.#filledBytes += count;
    return count;
  }
}
