/**
 * What goes to one socket's client: messages, gathered into frames.
 *
 * OB1  All messages of one turn go in one frame, except that a frame is closed once it has `frameBytesAim`.
 * OB2  A message stands in a frame whole or not at all: one that can't be encoded leaves nothing behind.
 * OB3  Messages go out in the order in which they were added.
 */
import type { Value } from "../base/value.ts";
import { Encoder } from "../wire/encoder.ts";
import { envelopeDepth, valueDepthMax } from "../wire/nesting.ts";
import { type FailureFacts, toClient, type Welcome } from "../wire/protocol.ts";

/** Larger frames delay the first answers in them and save nothing more. */
const frameBytesAim = 64 * 1024;

export class SocketOutbox {
  readonly #send: (frame: Uint8Array) => void;
  readonly #encoder = new Encoder(1024);
  readonly #flush = (): void => this.flush();
  #count = 0;

  /** `send` owns the frame that it is given. */
  constructor(send: (frame: Uint8Array) => void) {
    this.#send = send;
  }

  welcome(welcome: Welcome): void {
    this.#write(2, toClient.welcome, (encoder) => encoder.value(welcome));
  }

  /** The answer to a call that takes hold. Throws where the output is no value; then nothing was added. */
  done(id: number, sequence: number, output: Value | undefined): void {
    this.#answer(toClient.done, id, sequence, output);
  }

  /** The answer to a read; throws as `done`. */
  read(id: number, sequence: number, output: Value | undefined): void {
    this.#answer(toClient.read, id, sequence, output);
  }

  failed(id: number, facts: FailureFacts): void {
    this.#write(3, toClient.failed, (encoder) => {
      encoder.number(id);
      encoder.value(facts, valueDepthMax + envelopeDepth);
    });
  }

  /** `encoded` is the encoded value; absent where there is none. */
  value(id: number, sequence: number, log: string, encoded: Uint8Array | undefined): void {
    this.#write(encoded === undefined ? 4 : 5, toClient.value, (encoder) => {
      encoder.number(id);
      encoder.number(sequence);
      encoder.text(log);
      if (encoded !== undefined) encoder.raw(encoded);
    });
  }

  unchanged(id: number): void {
    this.#write(2, toClient.unchanged, (encoder) => encoder.number(id));
  }

  pong(nonce: Value | undefined): void {
    this.#write(2, toClient.pong, (encoder) => encoder.value(nonce));
  }

  /** Sends what has gathered. */
  flush(): void {
    // The only message of a frame may have been taken back.
    if (this.#count === 0) return this.#encoder.truncate(0);
    this.#encoder.patchArray(0, this.#count);
    this.#count = 0;
    this.#send(this.#encoder.take());
  }

  /** The commonest message, without a closure. */
  #answer(type: number, id: number, sequence: number, output: Value | undefined): void {
    this.#begin();
    const encoder = this.#encoder;
    const start = encoder.size;
    try {
      encoder.array(output === undefined ? 3 : 4);
      encoder.number(type);
      encoder.number(id);
      encoder.number(sequence);
      if (output !== undefined) encoder.value(output, valueDepthMax + envelopeDepth);
    } catch (error) {
      encoder.truncate(start);
      throw error;
    }
    this.#end();
  }

  #write(parts: number, type: number, write: (encoder: Encoder) => void): void {
    this.#begin();
    const encoder = this.#encoder;
    const start = encoder.size;
    try {
      encoder.array(parts);
      encoder.number(type);
      write(encoder);
    } catch (error) {
      encoder.truncate(start);
      throw error;
    }
    this.#end();
  }

  #begin(): void {
    if (this.#encoder.size > 0) return;
    this.#encoder.reserveArray();
    // Behind whatever else this turn has made ready: calls that became durable together are answered together.
    queueMicrotask(this.#flush);
  }

  #end(): void {
    this.#count++;
    if (this.#encoder.size >= frameBytesAim) this.flush();
  }
}
