/**
 * What sockets have sent of frames that are not whole yet: it stands in memory, where nobody has looked at it.
 *
 * RV1  Before its hello is accepted, a connection's frame is smaller than `socketHelloBytesMax`: nobody knows who that is.
 * RV2  All connections together hold at most `receivingBytesMax` of unfinished frames beyond `receivedFree` of each.
 *
 * Counted by what the sockets gave, not by what stands in the library's buffers: too much by one read at most, never too little.
 */
export interface ReceivingLimits {
  readonly socketHelloBytesMax: number;
  readonly receivingBytesMax: number;
}

/** At least one read of a socket, so that whole frames never count. */
const receivedFree = 128 * 1024;

/** What all connections of a gateway together are receiving. */
export class SocketsReceiving {
  readonly limits: ReceivingLimits;
  #reservedBytes = 0;

  constructor(limits: ReceivingLimits) {
    this.limits = limits;
  }

  /** What stands in unfinished frames, beyond the free part of each. */
  get reservedBytes(): number {
    return this.#reservedBytes;
  }

  /** Changes what one connection has reserved. False, and nothing changed, where there is no room for more. */
  reserve(before: number, after: number): boolean {
    const total = this.#reservedBytes - before + after;
    if (after > before && total > this.limits.receivingBytesMax) return false;
    this.#reservedBytes = total;
    return true;
  }
}

/** What is wrong with a connection that sends too much. */
export type Excess = "hello-too-large" | "overloaded";

/** One connection's part of it. */
export class SocketReceiving {
  readonly #all: SocketsReceiving;
  #bytes = 0;
  #reservedBytes = 0;
  #isFrameWhole = false;

  constructor(all: SocketsReceiving) {
    this.#all = all;
  }

  /** A frame has become whole. */
  whole(): void {
    this.#isFrameWhole = true;
  }

  /** So many bytes were read, `whole` having been called for each frame that they ended. What is wrong with that, if anything is. */
  read(bytes: number, { isKnown }: { readonly isKnown: boolean }): Excess | undefined {
    this.#bytes = this.#isFrameWhole ? bytes : this.#bytes + bytes;
    this.#isFrameWhole = false;
    if (!isKnown && this.#bytes > this.#all.limits.socketHelloBytesMax) return "hello-too-large";
    return this.#reserve(Math.max(0, this.#bytes - receivedFree)) ? undefined : "overloaded";
  }

  /** The connection is gone. */
  ended(): void {
    this.#reserve(0);
  }

  #reserve(bytes: number): boolean {
    if (bytes === this.#reservedBytes) return true;
    if (!this.#all.reserve(this.#reservedBytes, bytes)) return false;
    this.#reservedBytes = bytes;
    return true;
  }
}
