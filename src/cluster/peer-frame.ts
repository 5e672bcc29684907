/**
 * What nodes send each other: frames of MessagePack, specified in `docs/protocol.md` ("Between nodes"). A frame is from one life of a
 * node to one life of another; it holds any number of messages.
 *
 * PF1  A frame is read whole or not at all; whatever the bytes, the outcome is a frame or `malformed`.
 * PF2  A message of an unknown type is skipped, so that later versions may add some.
 */
import { fromHex, toHex } from "../base/bytes.ts";
import { OnefoldError } from "../base/errors.ts";
import type { Value } from "../base/value.ts";
import { Decoder } from "../wire/decoder.ts";
import { Encoder } from "../wire/encoder.ts";

export const peerProtocolVersion = 1;

/** Bytes of a life's id, and of a hello's nonce. */
export const lifeBytes = 8;

/** Head, version and both lives. */
export const frameHeadBytesMax = 32;

const types = { hello: 0, welcome: 1, request: 2, answer: 3, failure: 4 } as const;

export type PeerMessage =
  /** Asks which life is at the address now; the only message that may be for any life. */
  | { readonly type: "hello"; readonly nonce: string }
  /** Answers a hello; without a nonce it only tells that what was asked for an earlier life came to this one. */
  | { readonly type: "welcome"; readonly nonce: string | undefined }
  | {
      readonly type: "request";
      /** Grows within the asking life. */
      readonly id: number;
      /** Until the asker's deadline, at the moment of sending. */
      readonly remainingMs: number;
      readonly method: string;
      /** An encoded value. */
      readonly body: Uint8Array;
    }
  | { readonly type: "answer"; readonly id: number; readonly body: Uint8Array }
  /** `body`: see `peer-failure.ts`. */
  | { readonly type: "failure"; readonly id: number; readonly body: Uint8Array };

export interface PeerFrame {
  /** The sender's life, in hex. */
  readonly from: string;
  /** The life that it is for; undefined: any. */
  readonly to: string | undefined;
  readonly messages: readonly PeerMessage[];
}

const encoder = new Encoder();
const decoder = new Decoder();

export function encodeMessage(message: PeerMessage): Uint8Array {
  switch (message.type) {
    case "hello":
      return encodeParts([types.hello, fromHex(message.nonce)]);
    case "welcome":
      return encodeParts([types.welcome, message.nonce === undefined ? null : fromHex(message.nonce)]);
    case "request":
      return encodeParts([types.request, message.id, message.remainingMs, message.method, message.body]);
    case "answer":
      return encodeParts([types.answer, message.id, message.body]);
    case "failure":
      return encodeParts([types.failure, message.id, message.body]);
  }
}

function encodeParts(parts: readonly Value[]): Uint8Array {
  encoder.value(parts);
  return encoder.take();
}

/** The frame of these messages, each as `encodeMessage` gave it. */
export function encodeFrame({ from, to }: Pick<PeerFrame, "from" | "to">, messages: readonly Uint8Array[]): Uint8Array {
  encoder.array(3 + messages.length);
  encoder.number(peerProtocolVersion);
  encoder.value(fromHex(from));
  encoder.value(to === undefined ? null : fromHex(to));
  for (const message of messages) encoder.raw(message);
  return encoder.take();
}

/** Throws `malformed` (PF1), `unsupported-version`. */
export function decodeFrame(bytes: Uint8Array): PeerFrame {
  decoder.open(bytes);
  const count = decoder.array();
  const version = decoder.value(0);
  if (version !== peerProtocolVersion) {
    throw new OnefoldError("unsupported-version", `A peer speaks version ${String(version)} of the nodes' protocol.`);
  }
  if (count < 3) throw malformed("a frame has a version and two lives");
  const from = hexOf(decoder.value(0));
  const recipient = decoder.value(0);
  const to = recipient === null ? undefined : hexOf(recipient);
  const messages: PeerMessage[] = [];
  for (let i = 3; i < count; i++) {
    const message = messageOf(decoder.value(1));
    if (message !== undefined) messages.push(message);
  }
  if (!decoder.isAtEnd) throw malformed("something follows the frame");
  return { from, to, messages };
}

function messageOf(parts: Value): PeerMessage | undefined {
  if (!Array.isArray(parts)) throw malformed("a message is an array");
  const [type, id, ...rest] = parts as readonly Value[];
  switch (type) {
    case types.hello:
      return { type: "hello", nonce: hexOf(id) };
    case types.welcome:
      return { type: "welcome", nonce: id === null ? undefined : hexOf(id) };
    case types.request: {
      const [remainingMs, method, body] = rest;
      if (typeof remainingMs !== "number" || typeof method !== "string") throw malformed("a request is not one");
      return { type: "request", id: idOf(id), remainingMs, method, body: bytesOf(body) };
    }
    case types.answer:
      return { type: "answer", id: idOf(id), body: bytesOf(rest[0]) };
    case types.failure:
      return { type: "failure", id: idOf(id), body: bytesOf(rest[0]) };
    default:
      if (typeof type !== "number") throw malformed("a message begins with its type");
      return undefined;
  }
}

function hexOf(value: Value | undefined): string {
  const bytes = bytesOf(value);
  if (bytes.length !== lifeBytes) throw malformed(`lives and nonces have ${lifeBytes} bytes`);
  return toHex(bytes);
}

function idOf(value: Value | undefined): number {
  if (!Number.isSafeInteger(value) || (value as number) < 1) throw malformed("an id is a whole number from 1");
  return value as number;
}

function bytesOf(value: Value | undefined): Uint8Array {
  if (!(value instanceof Uint8Array)) throw malformed("bytes are expected");
  return value;
}

function malformed(reason: string): OnefoldError {
  return new OnefoldError("malformed", `A frame between nodes can't be read: ${reason}.`);
}
