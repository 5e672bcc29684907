/** How long a call of a user's code may take in real time, in a simulation of the user's system. */

export interface CallLimit {
  /** Gives or throws what `code` does; may throw `GuardTimeout` where that takes longer than `limitMs`. Calls don't nest. */
  call<R>(limitMs: number, code: () => R): R;
}

/**
 * Ends nothing, and costs next to nothing: notices afterwards that a call took so long that a limit would have ended it. For runs that
 * somebody outside of this process watches, and which are done again under a limit where this has noticed something.
 */
export class LateNotice implements CallLimit {
  readonly #nowMs: () => number;
  #isDue = false;

  /** `nowMs`: real time. */
  constructor(nowMs: () => number) {
    this.#nowMs = nowMs;
  }

  /** A call should have been ended: what came after it proves nothing. */
  get isDue(): boolean {
    return this.#isDue;
  }

  call<R>(limitMs: number, code: () => R): R {
    const beganMs = this.#nowMs();
    try {
      return code();
    } finally {
      if (this.#nowMs() - beganMs >= limitMs) this.#isDue = true;
    }
  }
}
