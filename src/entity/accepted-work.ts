/** Work that was accepted, as promises to those who asked: counted until each is settled, so that a shard can finish it all. */

/** How the one who asked is answered: once. */
export interface Settle<T> {
  resolve(reply: T): void;
  reject(error: Error): void;
}

export class AcceptedWork {
  #count = 0;
  readonly #waiting: (() => void)[] = [];

  get count(): number {
    return this.#count;
  }

  /** A promise that counts until it is settled. `submit` may throw instead of accepting: then the promise rejects. */
  promise<T>(submit: (settle: Settle<T>) => void): Promise<T> {
    return new Promise((resolve, reject) => {
      submit(new Settlement(this, resolve, reject));
      this.#count++;
    });
  }

  /** Resolves when all that was accepted has been settled. */
  whenSettled(): Promise<void> {
    return this.#count === 0 ? Promise.resolve() : new Promise((resolve) => this.#waiting.push(resolve));
  }

  settled(): void {
    this.#count--;
    if (this.#count > 0) return;
    for (const resolve of this.#waiting.splice(0)) resolve();
  }
}

/** An object and no closures: one is made for every call. */
class Settlement<T> implements Settle<T> {
  readonly #work: AcceptedWork;
  readonly #resolve: (reply: T) => void;
  readonly #reject: (error: Error) => void;

  constructor(work: AcceptedWork, resolve: (reply: T) => void, reject: (error: Error) => void) {
    this.#work = work;
    this.#resolve = resolve;
    this.#reject = reject;
  }

  resolve(reply: T): void {
    this.#work.settled();
    this.#resolve(reply);
  }

  reject(error: Error): void {
    this.#work.settled();
    this.#reject(error);
  }
}
