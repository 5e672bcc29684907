/**
 * Writes MessagePack into one buffer that is used again: what is encoded for every call (states, outputs, batches) is written by the few
 * kinds of part that it is made of, where an encoder for anything whatever needs an array or an object for each and asks what it is.
 *
 * MP1  Every part is written in its shortest form, the same bytes as msgpackr's.
 *
 * It keeps nothing between two uses but the buffer, so it may be left in the middle of one: the watchdog stops code anywhere.
 */

/** Up to so many code units a loop beats the platform's encoder. */
const loopTextMax = 64;
/** A buffer that has grown beyond this is not kept. */
const keptBytesMax = 1024 * 1024;
const textEncoder = new TextEncoder();

/** How many bytes `MessagePackWriter.number` takes for it. */
export function numberBytes(value: number): number {
  if (value >>> 0 === value) return value < 0x80 ? 1 : value < 0x100 ? 2 : value < 0x1_0000 ? 3 : 5;
  if (value >> 0 === value) return value >= -0x20 ? 1 : value >= -0x80 ? 2 : value >= -0x8000 ? 3 : 5;
  return 9;
}

export class MessagePackWriter {
  #bytes: Uint8Array;
  #view: DataView;
  #at = 0;

  constructor(initialBytes: number) {
    this.#bytes = new Uint8Array(initialBytes);
    this.#view = new DataView(this.#bytes.buffer);
  }

  /** Begins anew. */
  reset(): void {
    this.#at = 0;
  }

  /** Bytes written since `reset`. */
  get size(): number {
    return this.#at;
  }

  /** What was written, the caller's own. */
  take(): Uint8Array {
    const size = this.#at;
    const bytes = new Uint8Array(size);
    if (size > loopTextMax) bytes.set(this.#bytes.subarray(0, size));
    else for (let i = 0; i < size; i++) bytes[i] = this.#bytes[i]!;
    if (this.#bytes.length > keptBytesMax) this.#replace(new Uint8Array(keptBytesMax / 16));
    return bytes;
  }

  nil(): void {
    this.#room(1);
    this.#bytes[this.#at++] = 0xc0;
  }

  boolean(value: boolean): void {
    this.#room(1);
    this.#bytes[this.#at++] = value ? 0xc3 : 0xc2;
  }

  /** The head of an array; its elements follow. */
  array(count: number): void {
    if (count < 16) {
      this.#room(1);
      this.#bytes[this.#at++] = 0x90 | count;
    } else this.#head(count, 0xdc, 0xdd);
  }

  /** Room for the head of a map of at most 15 properties, which follow; `patchMap` writes it, at what is returned here. */
  reserveMap(): number {
    this.#room(1);
    return this.#at++;
  }

  patchMap(at: number, count: number): void {
    this.#bytes[at] = 0x80 | count;
  }

  number(value: number): void {
    this.#room(9);
    const bytes = this.#bytes;
    // The comparison holds for -0 too, which becomes 0.
    if (value >>> 0 === value) {
      if (value < 0x80) bytes[this.#at++] = value;
      else if (value < 0x100) {
        bytes[this.#at++] = 0xcc;
        bytes[this.#at++] = value;
      } else if (value < 0x1_0000) {
        bytes[this.#at++] = 0xcd;
        bytes[this.#at++] = value >> 8;
        bytes[this.#at++] = value;
      } else {
        bytes[this.#at++] = 0xce;
        bytes[this.#at++] = value >>> 24;
        bytes[this.#at++] = value >>> 16;
        bytes[this.#at++] = value >>> 8;
        bytes[this.#at++] = value;
      }
    } else if (value >> 0 === value) {
      if (value >= -0x20) bytes[this.#at++] = value;
      else if (value >= -0x80) {
        bytes[this.#at++] = 0xd0;
        bytes[this.#at++] = value;
      } else if (value >= -0x8000) {
        bytes[this.#at++] = 0xd1;
        bytes[this.#at++] = value >> 8;
        bytes[this.#at++] = value;
      } else {
        bytes[this.#at] = 0xd2;
        this.#view.setInt32(this.#at + 1, value);
        this.#at += 5;
      }
    } else {
      bytes[this.#at] = 0xcb;
      this.#view.setFloat64(this.#at + 1, value);
      this.#at += 9;
    }
  }

  /** Its UTF-8; half a surrogate pair is written like any other code unit. */
  text(text: string): void {
    const { length } = text;
    this.#room(5 + 3 * length);
    // The head is mostly as long as ASCII needs it; where it is not, what was written is moved.
    const guess = length < 0x20 ? 1 : length < 0x100 ? 2 : length < 0x1_0000 ? 3 : 5;
    const start = this.#at + guess;
    const bytes = length <= loopTextMax ? this.#loopText(text, start) : this.#longText(text, start);
    const head = bytes < 0x20 ? 1 : bytes < 0x100 ? 2 : bytes < 0x1_0000 ? 3 : 5;
    if (head > guess) this.#bytes.copyWithin(this.#at + head, start, start + bytes);
    if (head === 1) this.#bytes[this.#at++] = 0xa0 | bytes;
    else if (head === 2) {
      this.#bytes[this.#at++] = 0xd9;
      this.#bytes[this.#at++] = bytes;
    } else this.#head(bytes, 0xda, 0xdb);
    this.#at += bytes;
  }

  #loopText(text: string, start: number): number {
    const bytes = this.#bytes;
    const { length } = text;
    let at = start;
    for (let i = 0; i < length; i++) {
      const unit = text.charCodeAt(i);
      if (unit < 0x80) bytes[at++] = unit;
      else if (unit < 0x800) {
        bytes[at++] = (unit >> 6) | 0xc0;
        bytes[at++] = (unit & 0x3f) | 0x80;
      } else {
        const next = (unit & 0xfc00) === 0xd800 && i + 1 < length ? text.charCodeAt(i + 1) : 0;
        if ((next & 0xfc00) === 0xdc00) {
          const point = 0x1_0000 + ((unit & 0x3ff) << 10) + (next & 0x3ff);
          i++;
          bytes[at++] = (point >> 18) | 0xf0;
          bytes[at++] = ((point >> 12) & 0x3f) | 0x80;
          bytes[at++] = ((point >> 6) & 0x3f) | 0x80;
          bytes[at++] = (point & 0x3f) | 0x80;
        } else {
          bytes[at++] = (unit >> 12) | 0xe0;
          bytes[at++] = ((unit >> 6) & 0x3f) | 0x80;
          bytes[at++] = (unit & 0x3f) | 0x80;
        }
      }
    }
    return at - start;
  }

  #longText(text: string, start: number): number {
    return textEncoder.encodeInto(text, this.#bytes.subarray(start)).written;
  }

  binary(value: Uint8Array): void {
    this.binaryHead(value.length);
    this.raw(value);
  }

  /** The head of so many bytes, which follow. */
  binaryHead(length: number): void {
    if (length < 0x100) {
      this.#room(2);
      this.#bytes[this.#at++] = 0xc4;
      this.#bytes[this.#at++] = length;
    } else this.#head(length, 0xc5, 0xc6);
  }

  /** Bytes that are MessagePack already. */
  raw(encoded: Uint8Array): void {
    const { length } = encoded;
    this.#room(length);
    const bytes = this.#bytes;
    const at = this.#at;
    if (length > loopTextMax) bytes.set(encoded, at);
    else for (let i = 0; i < length; i++) bytes[at + i] = encoded[i]!;
    this.#at = at + length;
  }

  #head(length: number, type16: number, type32: number): void {
    this.#room(5);
    const bytes = this.#bytes;
    if (length < 0x1_0000) bytes[this.#at++] = type16;
    else {
      bytes[this.#at++] = type32;
      bytes[this.#at++] = length >>> 24;
      bytes[this.#at++] = length >>> 16;
    }
    bytes[this.#at++] = length >>> 8;
    bytes[this.#at++] = length;
  }

  #room(bytes: number): void {
    if (this.#at + bytes <= this.#bytes.length) return;
    const larger = new Uint8Array(Math.max(this.#bytes.length * 2, this.#at + bytes));
    larger.set(this.#bytes.subarray(0, this.#at));
    this.#replace(larger);
  }

  #replace(bytes: Uint8Array): void {
    // Both at once, without a call in between at which the watchdog could strike.
    const view = new DataView(bytes.buffer);
    this.#bytes = bytes;
    this.#view = view;
  }
}
