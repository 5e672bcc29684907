/**
 * Ends a process whose main thread does not come back to its event loop: what hangs there is code that no watchdog can end alone,
 * such as the asynchronous body of a transaction that never awaits (T5), and nothing else of the process is of any use meanwhile.
 *
 * O1  Time counts by looks of the watcher's own thread: while the whole process is paused, nothing is held against it.
 * O2  Nothing more of the main thread's own code runs: the process ends inside of what hangs.
 * O3  Under a debugger nothing is watched.
 */
import type { Session } from "node:inspector";
import type { watchFields as places, WatchedThread } from "./watched-thread.ts";

export interface LoopWatchOptions {
  /** The main thread may stay away from its event loop for about so long; whole seconds. */
  readonly hangMs: number;
  readonly exitCode: number;
}

/** How often the main thread shows that it lives, and the watcher looks. */
export const beatMs = 1000;

/** Called once for each look; true, once, where the main thread has hung for as long as `hangMs` at the last. Needs no imports. */
export function loopWatch(parts: {
  readonly watched: WatchedThread;
  readonly places: typeof places;
  readonly beatMs: number;
  readonly hangMs: number;
}): () => boolean {
  const { fields } = parts.watched;
  let seen = 0;
  let looks = 0;
  return () => {
    const beat = Atomics.load(fields, parts.places.beat);
    // O3: 0 is no beat at all.
    looks = beat === seen && beat !== 0 ? looks + 1 : 0;
    seen = beat;
    return looks * parts.beatMs === parts.hangMs;
  };
}

/** Ends the process from the watcher's thread (O2). Needs no imports. */
export function endHungProcess(parts: {
  readonly options: LoopWatchOptions;
  readonly openSession: () => Session;
  readonly print: (line: string) => void;
  readonly after: (delayMs: number, then: () => void) => void;
  readonly kill: () => void;
  readonly now: () => string;
}): void {
  const { hangMs, exitCode } = parts.options;
  const message =
    "The main thread has not come back to its event loop, so the process ends itself; a supervisor starts it again. Look for a loop in a transaction's body, or in whatever else of yours runs outside of commands.";
  parts.print(`${JSON.stringify({ time: parts.now(), level: "error", message, hangMs, exitCode })}\n`);
  // As an interrupt of what runs. It waits for the session's end; in the middle of a native function it is never heard.
  const session = parts.openSession();
  session.post("Runtime.evaluate", { expression: `process.reallyExit(${exitCode})` });
  parts.after(500, () => session.disconnect());
  parts.after(3000, parts.kill);
}
