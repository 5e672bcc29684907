/** What the watcher's thread and the watched one share: a few whole numbers, and nothing else. */

export interface WatchedThread {
  /** Of shared memory, `watchFields.count` long. */
  readonly fields: Int32Array;
}

/** Places in `WatchedThread.fields`. */
export const watchFields = {
  /** `number * phase.count + phase`: which call of user code this is, and where it stands. */
  word: 0,
  /** Of the present call. */
  limitMs: 1,
  /** 1 while the watcher waits to be woken. Set by the watcher, cleared by whoever wakes it. */
  isAsleep: 2,
  /** Why the last strike was made; see `stopReasons`. */
  reason: 3,
  /** The number of the call that is to be struck as soon as it is in user code again. */
  overdue: 4,
  count: 5,
} as const;

/** `lent`: user code has called back, and what it called is not to be stopped. */
export const phase = { own: 0, user: 1, lent: 2, struck: 3, count: 4 } as const;

export const stopReasons = ["time", "memory"] as const;

/** So that a word stays a 32-bit number. Long before numbers repeat, the watcher has looked again. */
export const watchNumberMax = 2 ** 29 - 1;
