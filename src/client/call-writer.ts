/**
 * Calls as messages: written into the link's frame, and read back where they go over HTTP after all.
 *
 * CW1  A call that can't be written leaves nothing of itself in the frame.
 * CW2  No frame becomes larger than the server takes: it would end the connection, and again when it is sent again.
 * CW3  A call's body is encoded once: sent again, it is copied from the frame that it went out in.
 */
import { OnefoldError } from "../base/errors.ts";
import type { Value } from "../base/value.ts";
import { Decoder } from "../wire/decoder.ts";
import { Encoder } from "../wire/encoder.ts";
import type { Call } from "./call.ts";
import type { ClientPlatform } from "./platform.ts";
import type { Sessions } from "./sessions.ts";
import { frameBytesAim, type SocketLink } from "./socket-link.ts";

/** What the server assumes where a call names no deadline. */
export const serverDeadlineMs = 30_000;
/** What may stand before a call's body besides what its frame holds already: a session's token, an idempotency key. */
const headBytesMax = 1024;
const scratch = new Encoder(512);
const decoder = new Decoder();

export interface CallWriterOptions {
  readonly link: SocketLink;
  readonly sessions: Sessions;
  readonly platform: ClientPlatform;
  /** Of calls that name none. */
  readonly deadlineMs: number;
  /** Whether the call is to have a number in the session. */
  isNumbered(call: Call): boolean;
}

export class CallWriter {
  readonly #options: CallWriterOptions;
  /** Written in the frame that is being gathered. */
  #unflushed: Call[] = [];

  constructor(options: CallWriterOptions) {
    this.#options = options;
  }

  /**
   * The fast way: straight from the caller's values into the frame. Throws `invalid-value` and `payload-too-large` (retry never); then
   * the call was not written.
   */
  writeNew(call: Call, body: readonly string[], input: Value | undefined, frameBytesMax: number): void {
    const encoder = this.#beginMessage(call);
    const start = encoder.size;
    try {
      this.#writeHead(call, encoder);
      call.bodyStart = encoder.size;
      for (const part of body) encoder.text(part);
      if (input !== undefined) encoder.value(input);
      call.bodyEnd = encoder.size;
      assertSize(call, frameBytesMax);
    } catch (error) {
      encoder.truncate(start);
      if (call.number > 0) call.session!.done(call.number);
      throw error;
    }
    this.#unflushed.push(call);
    this.#options.link.end();
  }

  /** Sends the call again, or for the first time after it had to wait. Throws `payload-too-large` (retry never). */
  writeKept(call: Call, frameBytesMax: number): void {
    assertSize(call, frameBytesMax);
    const encoder = this.#beginMessage(call);
    this.#writeHead(call, encoder);
    encoder.raw(call.body!.subarray(call.bodyStart, call.bodyEnd));
    this.#options.link.end();
  }

  /** Everything that stands before the call's own message, which itself may be taken back. */
  #beginMessage(call: Call): Encoder {
    const { link, sessions } = this.#options;
    const encoder = link.begin();
    if (this.#options.isNumbered(call)) sessions.number(call);
    link.count(sessions.tell(encoder, call));
    return encoder;
  }

  #writeHead(call: Call, encoder: Encoder): void {
    encoder.array(3 + call.bodyParts);
    encoder.number(call.shape.type);
    encoder.number(call.id);
    const { options, page } = call;
    if (page !== undefined) encoder.value(page);
    else if (
      this.#options.deadlineMs === serverDeadlineMs &&
      (options === undefined || (options.deadlineMs ?? options.idempotencyKey ?? options.read) === undefined)
    ) {
      if (call.number > 0) encoder.number(call.number);
      else encoder.nil();
    } else {
      encoder.value({
        number: call.number > 0 ? call.number : undefined,
        deadlineMs: Math.max(1, call.deadlineAtMs - this.#options.platform.monotonicMs()),
        key: options?.idempotencyKey,
        read: options?.read,
      });
    }
  }

  /** The frame that holds what was written last has gone. */
  flushed(frame: Uint8Array): void {
    for (const call of this.#unflushed) call.body = frame;
    this.#unflushed = [];
  }

  /** The connection is lost, and what was gathered has been flushed. */
  lost(): void {
    this.#unflushed = [];
  }
}

/** CW2. */
function assertSize(call: Call, frameBytesMax: number): void {
  const bytesMax = frameBytesMax - frameBytesAim - headBytesMax;
  if (call.bodyEnd - call.bodyStart <= bytesMax) return;
  throw new OnefoldError("payload-too-large", `A call is larger than ${bytesMax} bytes.`, { details: { bytesMax } });
}

/** The elements of a call's message behind its options, one behind the other. Throws `invalid-value` (retry never). */
export function encodedBody(body: readonly string[], input: Value | undefined): Uint8Array {
  try {
    for (const part of body) scratch.text(part);
    if (input !== undefined) scratch.value(input);
    return scratch.take();
  } catch (error) {
    scratch.truncate(0);
    throw error;
  }
}

/** The same as values again. */
export function decodedBody(call: Call): Value[] {
  return decodedParts(call.body!.subarray(call.bodyStart, call.bodyEnd));
}

/** The values that were encoded one behind the other. */
export function decodedParts(bytes: Uint8Array): Value[] {
  const parts: Value[] = [];
  decoder.open(bytes);
  while (!decoder.isAtEnd) parts.push(decoder.value());
  return parts;
}
