/**
 * One session's request numbers (RIFL; Lee et al., SOSP 2015).
 *
 * RS1  A number is given once, and they are given in order.
 * RS2  `lowest` never passes a number whose answer has not been taken in: the server may forget all below it.
 */
export class RequestSession {
  readonly token: string;
  /** Until when it may be used for new requests, on the client's clock. */
  readonly usableUntilMs: number;
  #next = 1;
  /** In the order of their numbers, because that is the order in which they are given. */
  readonly #open = new Set<number>();

  constructor(token: string, usableUntilMs: number) {
    this.token = token;
    this.usableUntilMs = usableUntilMs;
  }

  /** The number that `take` will give. */
  get next(): number {
    return this.#next;
  }

  /** Requests whose answers are awaited. */
  get openCount(): number {
    return this.#open.size;
  }

  take(): number {
    const number = this.#next++;
    this.#open.add(number);
    return number;
  }

  /** The answer has come, or nobody waits for it any more. */
  done(number: number): void {
    this.#open.delete(number);
  }

  get lowest(): number {
    for (const number of this.#open) return number;
    return this.#next;
  }
}
