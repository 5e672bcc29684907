/** What the watcher's thread and the watched one share: a few whole numbers, the name of what runs, and nothing else. */

import type { LoopWatchOptions } from "./loop-watch.ts";

export interface WatchedThread {
  /** Of shared memory, `watchFields.count` long. */
  readonly fields: Int32Array;
  /** Likewise: the present call's entity and, right behind it, what runs; a byte for each code unit. */
  readonly subject: Uint8Array;
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
  /** The notes that the present call belongs to, if it is to be noted; 0 if it isn't. */
  notes: 5,
  /** Of the parts of `subject`. */
  entityLength: 6,
  whatLength: 7,
  /** How many files of notes the watcher has made. */
  noteFiles: 8,
  /** Another number whenever the watched thread's event loop has turned; 0 while that is not to be watched. */
  beat: 9,
  count: 10,
} as const;

/** `lent`: user code has called back, and what it called is not to be stopped. */
export const phase = { own: 0, user: 1, lent: 2, struck: 3, count: 4 } as const;

export const stopReasons = ["time", "memory"] as const;

/** So that a word stays a 32-bit number. Long before numbers repeat, the watcher has looked again. */
export const watchNumberMax = 2 ** 29 - 1;

/** What the watched thread tells the watcher; `null` wakes it. */
export type WatchOrder =
  | null
  | { readonly type: "watch-loop"; readonly options: LoopWatchOptions }
  | { readonly type: "note"; readonly notes: number; readonly path: string }
  | { readonly type: "end-notes"; readonly notes: number };

/** What the watcher tells: `null`, that it has struck. */
export type WatchReport =
  | null
  | { readonly type: "ended-well"; readonly notes: number; readonly entity: string; readonly what: string }
  | { readonly type: "failed"; readonly notes: number; readonly reason: string };
