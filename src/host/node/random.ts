/** The platform's cryptographic generator, drawn in blocks: one call for every few bytes would cost more than the bytes. */
import { randomFillSync } from "node:crypto";
import type { Random } from "../host.ts";

const blockBytes = 4096;

export class NodeRandom implements Random {
  readonly #block = new Uint8Array(blockBytes);
  readonly #words = new DataView(this.#block.buffer);
  #used = blockBytes;

  bytes(count: number): Uint8Array {
    if (count > blockBytes) return randomFillSync(new Uint8Array(count));
    const start = this.#take(count);
    const bytes = this.#block.slice(start, start + count);
    // What was given out may be a secret: it is not kept.
    this.#block.fill(0, start, start + count);
    return bytes;
  }

  next(): number {
    const start = this.#take(8);
    const high = this.#words.getUint32(start) >>> 5;
    const low = this.#words.getUint32(start + 4) >>> 6;
    return (high * 2 ** 26 + low) / 2 ** 53;
  }

  #take(count: number): number {
    if (this.#used + count > blockBytes) {
      randomFillSync(this.#block);
      this.#used = 0;
    }
    const start = this.#used;
    this.#used += count;
    return start;
  }
}
