/**
 * Values and messages to MessagePack, straight into one buffer that is used again: the writing half of the socket's codec
 * (`docs/protocol.md`). Runs in browsers: no built-ins, no code made at run time.
 *
 * EN1  What is written is one normal form: shortest integers, -0 as 0, absent properties left out, keys in their own order.
 * EN2  What is no value is refused with `invalid-value`, and nothing of the message that it stood in remains.
 */
import { OnefoldError } from "../base/errors.ts";
import { extensions } from "./extensions.ts";
import { valueDepthMax } from "./nesting.ts";

const textEncoder = new TextEncoder();
/** Characters up to which a loop beats the platform's encoder. */
const shortTextMax = 40;
/** A buffer that has grown beyond this is not kept for the next frame. */
const keptBytesMax = 256 * 1024;

/** Grows as needed; not bounded by itself: its owner looks at `size` and sends. */
export class Encoder {
  #bytes: Uint8Array;
  #view: DataView;
  #at = 0;

  constructor(initialBytes = 8192) {
    this.#bytes = new Uint8Array(initialBytes);
    this.#view = new DataView(this.#bytes.buffer);
  }

  /** Bytes written since the last `take`. */
  get size(): number {
    return this.#at;
  }

  /** Forgets what was written behind `size`, a former value of it. */
  truncate(size: number): void {
    this.#at = size;
  }

  /** The written bytes, owned by the caller; the encoder begins anew. */
  take(): Uint8Array {
    const taken = this.#bytes.slice(0, this.#at);
    this.#at = 0;
    if (this.#bytes.length > keptBytesMax) this.#replace(new Uint8Array(keptBytesMax / 8));
    return taken;
  }

  /** Leaves room for the head of an array whose length is not known yet; `patchArray` fills it in. */
  reserveArray(): void {
    this.#room(5);
    this.#at += 5;
  }

  /** Writes the head of an array of `count` elements where `reserveArray` was called when `size` was `at`. */
  patchArray(at: number, count: number): void {
    this.#bytes[at] = 0xdd;
    this.#view.setUint32(at + 1, count);
  }

  array(count: number): void {
    this.#room(5);
    if (count < 16) this.#bytes[this.#at++] = 0x90 | count;
    else this.#head(count, 0xdc, 0xdd);
  }

  map(count: number): void {
    this.#room(5);
    if (count < 16) this.#bytes[this.#at++] = 0x80 | count;
    else this.#head(count, 0xde, 0xdf);
  }

  /** A whole number or any other finite one. */
  number(value: number): void {
    this.#room(9);
    // The comparison holds for -0 too, which becomes 0.
    if ((value | 0) === value) this.#integer(value);
    else if (value > 0 && value <= 0xffff_ffff && Number.isInteger(value)) {
      this.#bytes[this.#at] = 0xce;
      this.#view.setUint32(this.#at + 1, value);
      this.#at += 5;
    } else {
      if (!Number.isFinite(value)) throw invalid(`${value} is not a finite number`);
      this.#bytes[this.#at] = 0xcb;
      this.#view.setFloat64(this.#at + 1, value);
      this.#at += 9;
    }
  }

  text(text: string): void {
    const { length } = text;
    if (length <= shortTextMax && this.#shortText(text)) return;
    if (/\p{Surrogate}/u.test(text)) throw invalid("text holds half a surrogate pair");
    this.#room(5 + 3 * length);
    // The head is chosen before the length is known: one that holds more is as good.
    const most = 3 * length;
    const headBytes = most < 32 ? 1 : most < 0x100 ? 2 : most < 0x1_0000 ? 3 : 5;
    const { written } = textEncoder.encodeInto(text, this.#bytes.subarray(this.#at + headBytes));
    if (headBytes === 1) this.#bytes[this.#at] = 0xa0 | written;
    else if (headBytes === 2) {
      this.#bytes[this.#at] = 0xd9;
      this.#bytes[this.#at + 1] = written;
    } else if (headBytes === 3) {
      this.#bytes[this.#at] = 0xda;
      this.#view.setUint16(this.#at + 1, written);
    } else {
      this.#bytes[this.#at] = 0xdb;
      this.#view.setUint32(this.#at + 1, written);
    }
    this.#at += headBytes + written;
  }

  /** True if it was ASCII and is written. */
  #shortText(text: string): boolean {
    const { length } = text;
    this.#room(2 + length);
    const bytes = this.#bytes;
    let at = this.#at;
    if (length < 32) bytes[at++] = 0xa0 | length;
    else {
      bytes[at++] = 0xd9;
      bytes[at++] = length;
    }
    for (let i = 0; i < length; i++) {
      const unit = text.charCodeAt(i);
      if (unit >= 0x80) return false;
      bytes[at++] = unit;
    }
    this.#at = at;
    return true;
  }

  /**
   * Any value; `undefined` as nil. Throws `invalid-value` (retry never), EN2; the caller truncates to where its message began.
   */
  value(value: unknown, depthLeft = valueDepthMax): void {
    switch (typeof value) {
      case "string":
        return this.text(value);
      case "number":
        return this.number(value);
      case "boolean":
        this.#room(1);
        this.#bytes[this.#at++] = value ? 0xc3 : 0xc2;
        return;
      case "undefined":
        return this.nil();
      case "bigint":
        return this.#bigint(value);
      case "object":
        if (value === null) return this.nil();
        return this.#object(value, depthLeft);
      default:
        throw invalid(`a ${typeof value} can't be sent`);
    }
  }

  /** Bytes that are an encoded value already. */
  raw(encoded: Uint8Array): void {
    this.#room(encoded.length);
    this.#bytes.set(encoded, this.#at);
    this.#at += encoded.length;
  }

  nil(): void {
    this.#room(1);
    this.#bytes[this.#at++] = 0xc0;
  }

  #object(value: object, depthLeft: number): void {
    if (depthLeft === 0) throw invalid(`it is nested deeper than ${valueDepthMax} levels, or holds itself`);
    if (Array.isArray(value)) {
      this.array(value.length);
      for (let i = 0; i < value.length; i++) {
        if (value[i] === undefined) throw invalid("an array has a hole or holds undefined");
        this.value(value[i], depthLeft - 1);
      }
      return;
    }
    if (value instanceof Date) return this.#date(value.getTime());
    if (value instanceof Uint8Array) return this.#binary(value);
    const prototype: unknown = Object.getPrototypeOf(value);
    // A plain object of another realm has that realm's Object.prototype, which alone has no prototype itself.
    if (prototype !== null && prototype !== Object.prototype && Object.getPrototypeOf(prototype) !== null) {
      throw invalid("it is neither a plain object nor an array, a Date, bytes or a bigint");
    }
    const object = value as Readonly<Record<string, unknown>>;
    const keys = Object.keys(object);
    let count = keys.length;
    for (const key of keys) if (object[key] === undefined) count--;
    this.map(count);
    for (const key of keys) {
      const property = object[key];
      if (property === undefined) continue;
      if (key === "__proto__") throw invalid('the key "__proto__" is not allowed');
      this.text(key);
      this.value(property, depthLeft - 1);
    }
  }

  #integer(value: number): void {
    const bytes = this.#bytes;
    if (value >= 0) {
      if (value < 0x80) bytes[this.#at++] = value;
      else if (value < 0x100) {
        bytes[this.#at++] = 0xcc;
        bytes[this.#at++] = value;
      } else if (value < 0x1_0000) {
        bytes[this.#at++] = 0xcd;
        bytes[this.#at++] = value >> 8;
        bytes[this.#at++] = value;
      } else {
        bytes[this.#at] = 0xce;
        this.#view.setUint32(this.#at + 1, value);
        this.#at += 5;
      }
    } else if (value >= -32) bytes[this.#at++] = value;
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
  }

  #binary(bytes: Uint8Array): void {
    this.#room(5 + bytes.length);
    if (bytes.length < 0x100) {
      this.#bytes[this.#at++] = 0xc4;
      this.#bytes[this.#at++] = bytes.length;
    } else this.#head(bytes.length, 0xc5, 0xc6);
    this.#bytes.set(bytes, this.#at);
    this.#at += bytes.length;
  }

  /** The timestamp extension, always in its 96-bit form: nanoseconds, then signed seconds. */
  #date(milliseconds: number): void {
    if (!Number.isFinite(milliseconds)) throw invalid("an invalid Date");
    this.#room(15);
    const seconds = Math.floor(milliseconds / 1000);
    this.#bytes[this.#at++] = 0xc7;
    this.#bytes[this.#at++] = 12;
    this.#view.setInt8(this.#at++, extensions.timestamp);
    this.#view.setUint32(this.#at, (milliseconds - seconds * 1000) * 1_000_000);
    this.#view.setBigInt64(this.#at + 4, BigInt(seconds));
    this.#at += 12;
  }

  /** Two's complement in whole groups of 8 bytes, the most significant one first. */
  #bigint(value: bigint): void {
    if (BigInt.asIntN(extensions.bigintBitsMax, value) !== value) {
      throw invalid(`a bigint has more than ${extensions.bigintBitsMax} bits`);
    }
    const groups: bigint[] = [];
    let rest = value;
    do {
      groups.push(BigInt.asUintN(64, rest));
      rest >>= 64n;
    } while (rest !== (groups.at(-1)! >> 63n === 1n ? -1n : 0n));
    const size = groups.length * 8;
    this.#room(4 + size);
    if (size < 0x100) {
      this.#bytes[this.#at++] = 0xc7;
      this.#bytes[this.#at++] = size;
    } else {
      this.#bytes[this.#at] = 0xc8;
      this.#view.setUint16(this.#at + 1, size);
      this.#at += 3;
    }
    this.#bytes[this.#at++] = extensions.bigint;
    for (const group of groups.reverse()) {
      this.#view.setBigUint64(this.#at, group);
      this.#at += 8;
    }
  }

  /** The head with a 16-bit or 32-bit length; there must be room. */
  #head(length: number, type16: number, type32: number): void {
    if (length < 0x1_0000) {
      this.#bytes[this.#at] = type16;
      this.#view.setUint16(this.#at + 1, length);
      this.#at += 3;
    } else {
      this.#bytes[this.#at] = type32;
      this.#view.setUint32(this.#at + 1, length);
      this.#at += 5;
    }
  }

  #room(bytes: number): void {
    if (this.#at + bytes <= this.#bytes.length) return;
    const larger = new Uint8Array(Math.max(this.#bytes.length * 2, this.#at + bytes));
    larger.set(this.#bytes.subarray(0, this.#at));
    this.#replace(larger);
  }

  #replace(bytes: Uint8Array): void {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer);
  }
}

function invalid(reason: string): OnefoldError {
  return new OnefoldError("invalid-value", `This can't be sent: ${reason}.`, { details: { reason } });
}
