/**
 * Values: what states, inputs and outputs are made of. JSON plus bytes, `Date` and `bigint`, the same in storage
 * (MessagePack, `encodeValue`), on HTTP (tagged JSON, `tagged-json.ts`) and on the socket. Anything else is a compile
 * error where types can tell and `invalid-value`, with its path, at run time.
 *
 * V1  What `checkValue` lets through, `encodeValue` encodes and `decodeValue` gives back equal, and nothing else is let
 *     through: no NaN, no function, no class instance but `Date` and bytes, no cycle, no text that UTF-8 can't carry.
 * V2  A check ends: depth, parts and size are bounded, shared references and cycles included. Whatever it is given,
 *     the outcome is a value or an `OnefoldError`, never a crash.
 * V3  One normal form: a property that is undefined is an absent one, -0 is 0, any `Uint8Array` (a `Buffer` too) is
 *     plain bytes. Own enumerable string keys count; others (symbols, an array's extra properties) do not exist.
 * V4  Encoded bytes are owned by the caller, share no memory, and are the same for the same object.
 */
import { clearSource, Packr, RESET_BUFFER_MODE } from "msgpackr";
import { isWellFormed } from "./bytes.ts";
import { OnefoldError } from "./errors.ts";
import { limits } from "./limits.ts";
import { MessagePackWriter } from "./message-pack.ts";
import { explainInvalidValue, isPlainObject } from "./value-explanation.ts";

export type Value =
  | null
  | boolean
  | number
  | string
  | bigint
  | Date
  | Uint8Array
  | readonly Value[]
  | { readonly [key: string]: Value | undefined };

export interface ValueOptions {
  /** What the value is, for the message: "the output of deposit". Default: "the value". */
  readonly what?: string;
}

// ------------------------------------------------------------------------------------------------------------ check

/** One check under way: what is left of its bounds, and what it found. */
interface Survey {
  partsLeft: number;
  /** A lower bound of the encoded size is subtracted: one byte a character, exact for bytes. */
  bytesLeft: number;
  /** True where V3 asks for more than the encoder does by itself: it would encode undefined properties. */
  irregular: boolean;
}

function accepts(value: unknown, survey: Survey, depthLeft: number): boolean {
  if (typeof value === "string") {
    survey.bytesLeft -= value.length;
    return isWellFormed(value);
  }
  if (typeof value === "number") return Number.isFinite(value);
  if (typeof value !== "object") {
    if (typeof value !== "bigint") return typeof value === "boolean";
    if (BigInt.asIntN(64, value) === value) return true;
    survey.bytesLeft -= BigInt.asIntN(1024, value) === value ? 128 : limits.valueBigintBitsMax / 8;
    return BigInt.asIntN(limits.valueBigintBitsMax, value) === value;
  }
  if (value === null) return true;
  if (depthLeft === 0 || survey.partsLeft < 0 || survey.bytesLeft < 0) return false;
  if (Array.isArray(value)) {
    survey.partsLeft -= value.length;
    if (survey.partsLeft < 0) return false;
    // A hole reads as undefined, so the first one ends the loop.
    for (let i = 0; i < value.length; i++) if (!accepts(value[i], survey, depthLeft - 1)) return false;
    return true;
  }
  if (isPlainObject(value)) return acceptsObject(value as Readonly<Record<string, unknown>>, survey, depthLeft);
  if (value instanceof Date) return Number.isFinite(Date.prototype.getTime.call(value));
  if (value instanceof Uint8Array && ArrayBuffer.isView(value)) {
    survey.bytesLeft -= value.byteLength;
    return true;
  }
  return false;
}

function acceptsObject(object: Readonly<Record<string, unknown>>, survey: Survey, depthLeft: number): boolean {
  let width = 0;
  for (const key in object) {
    if (!Object.hasOwn(object, key)) continue;
    if (key === "__proto__" || !isWellFormed(key)) return false;
    width++;
    survey.bytesLeft -= key.length;
    const property = object[key];
    if (property === undefined) survey.irregular = true;
    else if (!accepts(property, survey, depthLeft - 1)) return false;
  }
  survey.partsLeft -= width;
  return true;
}

/** Checks everything about `value`; throws as `checkValue` does. True if it is irregular. */
function survey(value: unknown, options: ValueOptions | undefined): boolean {
  const found: Survey = { partsLeft: limits.valuePartsMax, bytesLeft: limits.valueBytesMax, irregular: false };
  let accepted = false;
  let cause: unknown;
  try {
    accepted = accepts(value, found, limits.valueDepthMax);
  } catch (error) {
    // A getter or a proxy of the user's threw; it becomes the cause of `invalid-value`.
    cause = error;
  }
  if (found.partsLeft < 0 || found.bytesLeft < 0) {
    throw new OnefoldError(
      "too-large",
      `${options?.what ?? "the value"} has more than ${limits.valuePartsMax} parts or ${limits.valueBytesMax} bytes`,
      { details: { partsMax: limits.valuePartsMax, bytesMax: limits.valueBytesMax } },
    );
  }
  if (!accepted) throw explainInvalidValue(value, options?.what ?? "the value", cause);
  return found.irregular;
}

/**
 * Asserts that `value` is a value (V1).
 * Throws `invalid-value` (retry never) with `details: { path, reason }`, or `too-large` past `valuePartsMax` parts or
 * `valueBytesMax` bytes.
 */
export function checkValue(value: unknown, options?: ValueOptions): asserts value is Value {
  survey(value, options);
}

// ------------------------------------------------------------------------------------------------------------ codec

/** Part of the format: `docs/format.md` says what these options mean in bytes. */
const packr = new Packr({
  useRecords: false,
  useToJSON: false,
  useBigIntExtension: true,
  copyBuffers: true,
  variableMapSize: true,
});
/** Decoding from one long-lived array spares a `DataView` per value, which would be most of a small one's cost. */
const decodeScratch = new Uint8Array(16 * 1024);

/** Where values are written that are small and of the usual kinds. */
const writer = new MessagePackWriter(16 * 1024);
/** What is not small in this sense takes the general way. Maps of more properties have another head. */
const smallTextMax = 64;
const smallBytesMax = 4096;
const smallMapMax = 15;
const smallDepthMax = 8;
/** How often something was written there: user code that is called in the middle (a getter) may encode a value of its own. */
let writings = 0;

/**
 * Checks and writes in one go what most values are made of: true, or false for what only the general way can do, which is whatever isn't
 * plain, short, ASCII and already in normal form. Throws what a getter throws.
 */
function writeSmall(value: unknown, depthLeft: number): boolean {
  switch (typeof value) {
    case "number":
      if (!Number.isFinite(value)) return false;
      writer.number(value);
      return true;
    case "string":
      // Its UTF-8 is known to be right only where it is ASCII.
      if (value.length > smallTextMax || !isAscii(value)) return false;
      writer.text(value);
      return true;
    case "boolean":
      writer.boolean(value);
      return true;
    case "object":
      if (value === null) {
        writer.nil();
        return true;
      }
      if (depthLeft === 0 || writer.size > smallBytesMax) return false;
      if (Array.isArray(value)) return writeSmallArray(value, depthLeft);
      return isPlainObject(value) && writeSmallObject(value as Readonly<Record<string, unknown>>, depthLeft);
    default:
      return false;
  }
}

function writeSmallArray(value: readonly unknown[], depthLeft: number): boolean {
  const { length } = value;
  writer.array(length);
  for (let i = 0; i < length; i++) {
    if (writer.size > smallBytesMax || !writeSmall(value[i], depthLeft - 1)) return false;
  }
  return true;
}

function writeSmallObject(object: Readonly<Record<string, unknown>>, depthLeft: number): boolean {
  const at = writer.reserveMap();
  let count = 0;
  for (const key in object) {
    if (!Object.hasOwn(object, key)) continue;
    if (count === smallMapMax || key.length > smallTextMax || key === "__proto__" || !isAscii(key)) return false;
    writer.text(key);
    if (!writeSmall(object[key], depthLeft - 1)) return false;
    count++;
  }
  writer.patchMap(at, count);
  return true;
}

function isAscii(text: string): boolean {
  for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) > 0x7f) return false;
  return true;
}

function encodeSmall(value: unknown): Uint8Array | undefined {
  const writing = ++writings;
  writer.reset();
  try {
    if (writeSmall(value, smallDepthMax) && writings === writing) return writer.take();
  } catch {
    // A getter or a proxy threw, which the general way says in full.
  }
  return undefined;
}

/**
 * The value's MessagePack (profile in `docs/format.md`), checked as by `checkValue`, which it throws like.
 * The bytes are the caller's own.
 */
export function encodeValue(value: unknown, options?: ValueOptions): Uint8Array {
  const small = encodeSmall(value);
  if (small !== undefined) return small;
  const encodable: unknown = survey(value, options) ? copy(value as Value) : value;
  // RESET_BUFFER_MODE lets the next call write over the encoder's buffer, so the copy is what owns the bytes (V4).
  return new Uint8Array(packr.pack(encodable, RESET_BUFFER_MODE));
}

/**
 * The value that `encodeValue` encoded; it shares nothing with `bytes`.
 * Throws `damaged` (retry never) where `bytes` is not exactly one encoded value.
 */
export function decodeValue(bytes: Uint8Array): Value {
  try {
    let value: unknown;
    if (bytes.length <= decodeScratch.length) {
      decodeScratch.set(bytes);
      value = packr.unpack(decodeScratch, bytes.length);
    } else {
      // A view of our own: the decoder attaches a property to the array it reads.
      value = packr.unpack(new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength));
    }
    // The decoder knows more of MessagePack than the profile allows (errors, sets, regular expressions).
    survey(value, undefined);
    return value as Value;
  } catch (error) {
    throw new OnefoldError("damaged", "the bytes are not an encoded value", { cause: error });
  }
}

/**
 * After the watchdog has stopped code that may have been decoding: the decoder would take every later call for one from inside
 * of that, and save and restore its state around it, which makes it ten times slower for good.
 */
export function resetDecoder(): void {
  clearSource();
}

// ---------------------------------------------------------------------------------------------------------- copying

/** A copy that shares no mutable part with `value`, in normal form (V3). Throws as `checkValue` does. */
export function cloneValue<V extends Value | undefined>(value: V): V {
  if (typeof value === "string" || typeof value === "boolean" || value === undefined || value === null) {
    if (typeof value === "string" && !isWellFormed(value)) survey(value, undefined);
    return value;
  }
  survey(value, undefined);
  return copy(value) as V;
}

/** `value` has been checked. */
function copy(value: Value): Value {
  // The comparison holds for -0 too.
  if (value === 0) return 0;
  if (typeof value !== "object" || value === null) return value;
  if (Array.isArray(value)) {
    const items: Value[] = [];
    for (let i = 0; i < value.length; i++) items.push(copy(value[i] as Value));
    return items;
  }
  if (value instanceof Date) return new Date(value.getTime());
  if (value instanceof Uint8Array) return new Uint8Array(value);
  const object = value as { readonly [key: string]: Value | undefined };
  const result: Record<string, Value> = {};
  for (const key in object) {
    const property = object[key];
    if (property !== undefined && Object.hasOwn(object, key)) result[key] = copy(property);
  }
  return result;
}

/**
 * Freezes every object and array in `value` and returns it. Dates and bytes can't be frozen: see `containsMutable`.
 * `value` must have been checked.
 */
export function deepFreezeValue<V extends Value>(value: V): V {
  if (typeof value !== "object" || value === null || value instanceof Date || value instanceof Uint8Array) return value;
  for (const part of Object.values(value)) if (part !== undefined) deepFreezeValue(part as Value);
  return Object.freeze(value);
}

/** True if `value` holds a Date or bytes: parts that stay mutable when frozen. `value` must have been checked. */
export function containsMutable(value: Value): boolean {
  if (typeof value !== "object" || value === null) return false;
  if (value instanceof Date || value instanceof Uint8Array) return true;
  if (Array.isArray(value)) return value.some(containsMutable);
  const object = value as { readonly [key: string]: Value | undefined };
  for (const key in object) {
    const property = object[key];
    if (property !== undefined && containsMutable(property)) return true;
  }
  return false;
}
