/**
 * MessagePack to values: the reading half of the socket's codec (`docs/protocol.md`). Runs in browsers.
 *
 * DE1  Whatever the bytes, the outcome is a value or `malformed`; time and memory are linear in the bytes that are there: a
 *      length that promises more than follows is refused before anything is made for it, and depth is bounded.
 * DE2  What comes out is a value as `base/value.ts` means it: no NaN, no key `__proto__`, no half surrogates, plain objects.
 * DE3  What comes out shares no memory with the input.
 */
import { OnefoldError } from "../base/errors.ts";
import type { Value } from "../base/value.ts";
import { extensions } from "./extensions.ts";
import { valueDepthMax } from "./nesting.ts";

const textDecoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
/** The last Date that ECMAScript has, in seconds. */
const secondsMax = 8_640_000_000_000n;

/** What an array, an object, a Date or a bigint takes beside its contents; what each element takes; what a typed array does. Measured. */
const containerBytes = 48;
const slotBytes = 8;
const bufferBytes = 200;

/**
 * Short texts (keys, names, ids) come again and again: found here, they need not be made anew, and their hashes are known. One
 * entry per slot, the last one wins, so the size is bounded.
 */
const textsKept = 4096;
const keptTextBytesMax = 32;
const texts: (string | undefined)[] = new Array(textsKept).fill(undefined);

export class Decoder {
  #bytes: Uint8Array = new Uint8Array(0);
  #view: DataView = new DataView(this.#bytes.buffer);
  #at = 0;
  #weight = 0;

  /** Begins with `bytes`, which must not change until all of it has been read. */
  open(bytes: Uint8Array): void {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#at = 0;
    this.#weight = 0;
  }

  /** How many bytes have been read. */
  get position(): number {
    return this.#at;
  }

  /**
   * About how many bytes of memory the values take that were read since `open`: many times those that they came in, where they are
   * small and many. A bound on memory counts these.
   */
  get weight(): number {
    return this.#weight;
  }

  get isAtEnd(): boolean {
    return this.#at === this.#bytes.length;
  }

  /** The head of an array: how many elements follow. Throws `malformed` for anything else. */
  array(): number {
    const type = this.#byte();
    if ((type & 0xf0) === 0x90) return this.#count(type & 0x0f, 1);
    if (type === 0xdc) return this.#count(this.#uint16(), 1);
    if (type === 0xdd) return this.#count(this.#uint32(), 1);
    throw this.#malformed("an array is expected");
  }

  /** One value, at most `depthLeft` levels deep. Throws `malformed` (retry never) with `details: { position }`. */
  value(depthLeft = valueDepthMax): Value {
    const type = this.#byte();
    if (type < 0x80) return type;
    if (type >= 0xe0) return type - 0x100;
    if (type < 0x90) return this.#map(type & 0x0f, depthLeft);
    if (type < 0xa0) return this.#array(type & 0x0f, depthLeft);
    if (type < 0xc0) return this.#text(type & 0x1f);
    switch (type) {
      case 0xc0:
        return null;
      case 0xc2:
        return false;
      case 0xc3:
        return true;
      case 0xc4:
        return this.#binary(this.#byte());
      case 0xc5:
        return this.#binary(this.#uint16());
      case 0xc6:
        return this.#binary(this.#uint32());
      case 0xc7:
        return this.#extension(this.#byte());
      case 0xc8:
        return this.#extension(this.#uint16());
      case 0xc9:
        return this.#extension(this.#uint32());
      case 0xca:
        return this.#finite(this.#view.getFloat32(this.#skip(4)));
      case 0xcb:
        return this.#finite(this.#view.getFloat64(this.#skip(8)));
      case 0xcc:
        return this.#byte();
      case 0xcd:
        return this.#uint16();
      case 0xce:
        return this.#uint32();
      case 0xcf:
        return this.#wide(this.#view.getBigUint64(this.#skip(8)));
      case 0xd0:
        return this.#view.getInt8(this.#skip(1));
      case 0xd1:
        return this.#view.getInt16(this.#skip(2));
      case 0xd2:
        return this.#view.getInt32(this.#skip(4));
      case 0xd3:
        return this.#wide(this.#view.getBigInt64(this.#skip(8)));
      case 0xd4:
        return this.#extension(1);
      case 0xd5:
        return this.#extension(2);
      case 0xd6:
        return this.#extension(4);
      case 0xd7:
        return this.#extension(8);
      case 0xd8:
        return this.#extension(16);
      case 0xd9:
        return this.#text(this.#byte());
      case 0xda:
        return this.#text(this.#uint16());
      case 0xdb:
        return this.#text(this.#uint32());
      case 0xdc:
        return this.#array(this.#uint16(), depthLeft);
      case 0xdd:
        return this.#array(this.#uint32(), depthLeft);
      case 0xde:
        return this.#map(this.#uint16(), depthLeft);
      case 0xdf:
        return this.#map(this.#uint32(), depthLeft);
      default:
        throw this.#malformed("0xc1 is no MessagePack type");
    }
  }

  #array(length: number, depthLeft: number): Value[] {
    if (depthLeft === 0) throw this.#malformed(`a value is nested deeper than ${valueDepthMax} levels`);
    this.#count(length, 1);
    this.#weight += containerBytes + slotBytes * length;
    const items: Value[] = [];
    for (let i = 0; i < length; i++) items.push(this.value(depthLeft - 1));
    return items;
  }

  #map(length: number, depthLeft: number): Value {
    if (depthLeft === 0) throw this.#malformed(`a value is nested deeper than ${valueDepthMax} levels`);
    this.#count(length, 2);
    this.#weight += containerBytes + slotBytes * length;
    const object: Record<string, Value> = {};
    for (let i = 0; i < length; i++) {
      const key = this.#key();
      object[key] = this.value(depthLeft - 1);
    }
    return object;
  }

  #key(): string {
    const type = this.#byte();
    let key: string;
    if ((type & 0xe0) === 0xa0) key = this.#text(type & 0x1f);
    else if (type === 0xd9) key = this.#text(this.#byte());
    else if (type === 0xda) key = this.#text(this.#uint16());
    else if (type === 0xdb) key = this.#text(this.#uint32());
    else throw this.#malformed("a map's key is not text");
    if (key === "__proto__") throw this.#malformed('the key "__proto__" is not allowed');
    return key;
  }

  #text(length: number): string {
    const start = this.#skip(length);
    this.#weight += length;
    const bytes = this.#bytes;
    if (length <= keptTextBytesMax) {
      let hash = length;
      let high = 0;
      for (let i = start; i < start + length; i++) {
        const byte = bytes[i]!;
        high |= byte;
        hash = (Math.imul(hash, 31) + byte) | 0;
      }
      if (high < 0x80) return this.#keptText(start, length, hash);
    }
    try {
      return textDecoder.decode(bytes.subarray(start, start + length));
    } catch (cause) {
      throw this.#malformed("text is not UTF-8", cause);
    }
  }

  #keptText(start: number, length: number, hash: number): string {
    const slot = (hash ^ (hash >>> 15)) & (textsKept - 1);
    const bytes = this.#bytes;
    const kept = texts[slot];
    if (kept !== undefined && kept.length === length) {
      let i = 0;
      while (i < length && kept.charCodeAt(i) === bytes[start + i]) i++;
      if (i === length) return kept;
    }
    const text = String.fromCharCode(...bytes.subarray(start, start + length));
    texts[slot] = text;
    return text;
  }

  #binary(length: number): Uint8Array {
    const start = this.#skip(length);
    this.#weight += bufferBytes + length;
    // Not `slice`, which would give a Buffer for a Buffer, in memory that it shares with others.
    return new Uint8Array(this.#bytes.subarray(start, start + length));
  }

  #finite(value: number): number {
    if (!Number.isFinite(value)) throw this.#malformed("a number is not finite");
    return value === 0 ? 0 : value;
  }

  /** A 64-bit integer is a number where a number can hold it exactly, whatever language sent it. */
  #wide(value: bigint): number | bigint {
    return BigInt.asIntN(54, value) === value && value > -(2n ** 53n) ? Number(value) : value;
  }

  #extension(length: number): Value {
    const type = this.#view.getInt8(this.#skip(1));
    const start = this.#skip(length);
    this.#weight += containerBytes + length;
    if (type === extensions.timestamp) return this.#timestamp(start, length);
    if (type === extensions.bigint) return this.#bigint(start, length);
    throw this.#malformed(`extension type ${type} is not known`);
  }

  /** The three forms of MessagePack's timestamp. What is finer than a millisecond is dropped. */
  #timestamp(start: number, length: number): Date {
    let seconds: bigint;
    let nanoseconds = 0;
    if (length === 4) seconds = BigInt(this.#view.getUint32(start));
    else if (length === 8) {
      const both = this.#view.getBigUint64(start);
      nanoseconds = Number(both >> 34n);
      seconds = both & 0x3_ffff_ffffn;
    } else if (length === 12) {
      nanoseconds = this.#view.getUint32(start);
      seconds = this.#view.getBigInt64(start + 4);
    } else throw this.#malformed("a timestamp has 4, 8 or 12 bytes");
    if (nanoseconds > 999_999_999 || seconds > secondsMax || seconds < -secondsMax) {
      throw this.#malformed("a timestamp is beyond what a Date can hold");
    }
    const date = new Date(Number(seconds) * 1000 + Math.floor(nanoseconds / 1_000_000));
    if (Number.isNaN(date.getTime())) throw this.#malformed("a timestamp is beyond what a Date can hold");
    return date;
  }

  #bigint(start: number, length: number): bigint {
    if (length === 0 || length * 8 > extensions.bigintBitsMax) {
      throw this.#malformed(`a bigint has 1 to ${extensions.bigintBitsMax / 8} bytes`);
    }
    if (length === 8) return this.#view.getBigInt64(start);
    let digits = "";
    for (let i = start; i < start + length; i++) digits += this.#bytes[i]!.toString(16).padStart(2, "0");
    // Parsing a power-of-two base takes time linear in the digits.
    return BigInt.asIntN(length * 8, BigInt(`0x${digits}`));
  }

  // ------------------------------------------------------------------------------------------------------------ parts

  /** DE1: `count` elements of at least `bytesEach` must still be there. */
  #count(count: number, bytesEach: number): number {
    if (count * bytesEach > this.#bytes.length - this.#at) throw this.#malformed("a length exceeds what follows");
    return count;
  }

  #skip(length: number): number {
    const start = this.#at;
    if (length > this.#bytes.length - start) throw this.#malformed("the bytes end in the middle of a value");
    this.#at = start + length;
    return start;
  }

  #byte(): number {
    if (this.#at >= this.#bytes.length) throw this.#malformed("the bytes end in the middle of a value");
    return this.#bytes[this.#at++]!;
  }

  #uint16(): number {
    return this.#view.getUint16(this.#skip(2));
  }

  #uint32(): number {
    return this.#view.getUint32(this.#skip(4));
  }

  #malformed(reason: string, cause?: unknown): OnefoldError {
    return new OnefoldError("malformed", `The frame can't be read at byte ${this.#at}: ${reason}.`, {
      details: { position: this.#at },
      ...(cause === undefined ? {} : { cause }),
    });
  }
}
