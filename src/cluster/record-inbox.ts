/** What a tail told of and was not taken yet, bounded; tails may repeat and skip. */
export class RecordInbox {
  readonly #bytesMax: number;
  readonly #records = new Map<number, Uint8Array>();
  #bytes = 0;
  #isStuck = false;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  /** False where there is no room: it has to be read from the log. */
  put(sequence: number, bytes: Uint8Array): boolean {
    if (this.#records.has(sequence)) return true;
    if (this.#bytes + bytes.length > this.#bytesMax) return false;
    this.#records.set(sequence, bytes);
    this.#bytes += bytes.length;
    return true;
  }

  /** The record at `sequence`, which is the next one; those before it go. */
  take(sequence: number): Uint8Array | undefined {
    for (const [at, bytes] of this.#records) {
      if (at >= sequence) continue;
      this.#records.delete(at);
      this.#bytes -= bytes.length;
    }
    const bytes = this.#records.get(sequence);
    if (bytes !== undefined) {
      this.#records.delete(sequence);
      this.#bytes -= bytes.length;
    }
    this.#isStuck = bytes === undefined && this.#records.size > 0;
    return bytes;
  }

  /** The last `take` found nothing, though there are later ones: something was skipped. */
  get isStuck(): boolean {
    return this.#isStuck;
  }

  clear(): void {
    this.#records.clear();
    this.#bytes = 0;
    this.#isStuck = false;
  }
}
