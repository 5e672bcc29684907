/**
 * Receives request bodies within bounds.
 *
 * B1  No more than `bodyBytesMax` of one body is kept, whatever its `Content-Length` says or hides.
 * B2  All bodies being received together hold at most `receivingBytesMax` beyond the first `bodyBytesFree` of each. The
 *     free part is bounded by the number of connections; it keeps small requests going while slow senders of large ones
 *     sit on the whole budget.
 * B3  Every reserved byte is given back, once, when the body has ended in any way.
 */
import type { FastifyRequest } from "fastify";
import { concatBytes, emptyBytes } from "../base/bytes.ts";
import { OnefoldError } from "../base/errors.ts";

export interface BodyLimits {
  readonly bodyBytesMax: number;
  readonly bodyBytesFree: number;
  readonly receivingBytesMax: number;
}

/** Node's request, as a stream of bytes. */
export type Incoming = FastifyRequest["raw"];

export class BodyReceiver {
  readonly #limits: BodyLimits;
  #reservedBytes = 0;

  constructor(limits: BodyLimits) {
    this.#limits = limits;
  }

  /** What slow senders occupy of the shared budget just now. */
  get reservedBytes(): number {
    return this.#reservedBytes;
  }

  /**
   * Calls `done` once: with the whole body, or with `payload-too-large` (`never`), `overloaded` (`safe`), or `malformed`
   * where the sender went away in the middle. After an error the rest of the body is the caller's to discard.
   */
  receive(incoming: Incoming, done: (error: OnefoldError | null, body?: Uint8Array) => void): void {
    const { bodyBytesMax, bodyBytesFree, receivingBytesMax } = this.#limits;
    if (Number(incoming.headers["content-length"] ?? 0) > bodyBytesMax) {
      done(tooLarge(bodyBytesMax));
      return;
    }
    const chunks: Uint8Array[] = [];
    let size = 0;
    let reserved = 0;
    const finish = (error: OnefoldError | null, body?: Uint8Array): void => {
      incoming.off("data", onData).off("end", onEnd).off("close", onClose);
      this.#reservedBytes -= reserved;
      reserved = 0;
      done(error, body);
    };
    const onData = (chunk: Uint8Array): void => {
      size += chunk.length;
      if (size > bodyBytesMax) {
        finish(tooLarge(bodyBytesMax));
        return;
      }
      const needed = Math.max(0, size - bodyBytesFree);
      if (this.#reservedBytes + needed - reserved > receivingBytesMax) {
        finish(
          new OnefoldError("overloaded", "Too many large requests are arriving at once. Try again soon.", {
            retryAfterMs: 1000,
          }),
        );
        return;
      }
      this.#reservedBytes += needed - reserved;
      reserved = needed;
      chunks.push(chunk);
    };
    const onEnd = (): void =>
      finish(null, chunks.length === 0 ? emptyBytes : chunks.length === 1 ? chunks[0] : concatBytes(chunks));
    const onClose = (): void =>
      finish(new OnefoldError("malformed", "The connection ended before the body did.", { retry: "safe" }));
    incoming.on("data", onData).on("end", onEnd).on("close", onClose);
  }
}

function tooLarge(bodyBytesMax: number): OnefoldError {
  return new OnefoldError("payload-too-large", `The body is larger than ${bodyBytesMax} bytes.`, {
    details: { bodyBytesMax },
  });
}
