/**
 * A seeded generator of pseudo-random numbers: for simulation, tests and jitter, never for secrets.
 *
 * D1  The same seed gives the same stream on every platform and in every later version: seeds of found bugs stay valid.
 * D2  A fork's stream depends on its parent's seed and its label alone, not on how much the parent has been used. So one
 *     concern that draws more does not shift what the others draw.
 *
 * The generator is sfc32 (Chris Doty-Humphrey, PractRand 0.9x; public domain): 128 bits of state, 32-bit operations only,
 * and a counter that guarantees a period of at least 2^32. The state is the start of SHA-256 of the seed's text.
 */
import { assert } from "./assert.ts";
import { encodeUtf8 } from "./bytes.ts";
import { sha256 } from "./digest.ts";

/** Outputs that are thrown away after seeding, as sfc32's author advises. */
const warmUpRounds = 12;
const word = 2 ** 32;

export class SeededRandom {
  /** What names this stream; a fork's is its parent's, a slash and the label. */
  readonly seed: string;
  #a: number;
  #b: number;
  #c: number;
  #counter: number;

  /** The number 7 and the text "7" are the same seed. */
  constructor(seed: string | number) {
    this.seed = String(seed);
    const digest = sha256(encodeUtf8(this.seed));
    const words = new DataView(digest.buffer, digest.byteOffset, digest.byteLength);
    this.#a = words.getInt32(0, true);
    this.#b = words.getInt32(4, true);
    this.#c = words.getInt32(8, true);
    this.#counter = words.getInt32(12, true);
    for (let i = 0; i < warmUpRounds; i++) this.uint32();
  }

  /** Uniform in [0, 2^32). */
  uint32(): number {
    const sum = (((this.#a + this.#b) | 0) + this.#counter) | 0;
    this.#counter = (this.#counter + 1) | 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) | 0;
    this.#c = (((this.#c << 21) | (this.#c >>> 11)) + sum) | 0;
    return sum >>> 0;
  }

  /** Uniform in [0, 1), with 53 random bits. */
  next(): number {
    const high = this.uint32() >>> 5;
    const low = this.uint32() >>> 6;
    return (high * 2 ** 26 + low) / 2 ** 53;
  }

  /** Uniform in [0, `below`), without bias. `below` is whole, from 1 to 2^32. */
  integer(below: number): number {
    assert(Number.isInteger(below) && below >= 1 && below <= word, "integer needs a whole bound from 1 to 2^32");
    const fair = word - (word % below);
    for (;;) {
      const value = this.uint32();
      if (value < fair) return value % below;
    }
  }

  /** Uniform in [`from`, `to`]. */
  between(from: number, to: number): number {
    return from + this.integer(to - from + 1);
  }

  /** True with this probability: 0 never, 1 always. */
  chance(probability: number): boolean {
    return this.uint32() < probability * word;
  }

  pick<T>(items: readonly T[]): T {
    assert(items.length > 0, "cannot pick from nothing");
    return items[this.integer(items.length)]!;
  }

  bytes(count: number): Uint8Array {
    const bytes = new Uint8Array(count);
    for (let i = 0; i < count; ) {
      let bits = this.uint32();
      for (let end = Math.min(i + 4, count); i < end; i++) {
        bytes[i] = bits & 0xff;
        bits >>>= 8;
      }
    }
    return bytes;
  }

  /** A new array in a uniformly random order (Fisher and Yates). */
  shuffle<T>(items: readonly T[]): T[] {
    const shuffled = [...items];
    for (let i = shuffled.length - 1; i > 0; i--) {
      const other = this.integer(i + 1);
      const item = shuffled[i]!;
      shuffled[i] = shuffled[other]!;
      shuffled[other] = item;
    }
    return shuffled;
  }

  /** An independent stream (D2). Two forks with one label are the same stream: give each concern its own. */
  fork(label: string | number): SeededRandom {
    return new SeededRandom(`${this.seed}/${label}`);
  }
}
