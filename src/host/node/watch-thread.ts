/**
 * The watcher: a thread that looks now and then how long the watched thread has been in one call of user code, and strikes when
 * that is too long, or when the process has grown too much meanwhile.
 *
 * V1  A strike is announced in `word` before it is made, and only where the call it is meant for is still under way (W1).
 * V2  Time in which this thread did not run either is not counted: then the whole process has been paused.
 * V3  It sleeps while no user code runs.
 */
import type { Session } from "node:inspector";
import type { MessagePort } from "node:worker_threads";
import type { phase as phases, watchFields as places, stopReasons, WatchedThread } from "./watched-thread.ts";

/** What the thread is given, because it can import nothing: it is made of its function's text. */
export interface WatchThreadParts {
  readonly main: MessagePort;
  readonly openSession: () => Session;
  readonly rssBytes: () => number;
  readonly nowMs: () => number;
  readonly watched: WatchedThread;
  readonly places: typeof places;
  readonly phase: typeof phases;
  readonly reasons: typeof stopReasons;
}

/**
 * The thread's whole program. It must not use anything from outside of itself but `parts` and the language's own globals: a
 * thread that imports files would need the loader that its process was started with, and wait for the very thread it watches.
 */
export function watch(parts: WatchThreadParts): void {
  /** Looks so often during the limit, and every so many milliseconds at least and at most. */
  const looksPerLimit = 16;
  const lookMsMin = 1;
  const lookMsMax = 50;
  /** Without user code in sight for so many looks, it sleeps. */
  const patienceLooks = 40;
  /** More than any honest command needs: a state has 256 KiB, what it reads of collections some megabytes. */
  const growthBytesMax = 512 * 1024 * 1024;

  const { main, places, phase } = parts;
  const { fields } = parts.watched;
  /** The call of user code that is under way. */
  let seen: { readonly number: number; elapsedMs: number; readonly rssBytes: number } | undefined;
  let lookedAt = 0;
  let idleLooks = 0;

  main.on("message", () => {
    lookedAt = parts.nowMs();
    idleLooks = 0;
    seen = undefined;
    setTimeout(look, lookMsMin);
  });

  function look(): void {
    const now = parts.nowMs();
    const limitMs = fields[places.limitMs]!;
    let nextMs = Math.max(lookMsMin, Math.min(lookMsMax, Math.floor(limitMs / looksPerLimit)));
    // V2: a timer is late by a little on a busy machine; by more than this, nobody has run.
    const elapsedMs = Math.min(now - lookedAt, 2 * nextMs);
    lookedAt = now;
    const word = Atomics.load(fields, places.word);
    if (isUnderWay(word)) {
      idleLooks = 0;
      const number = Math.floor(word / phase.count);
      if (seen?.number !== number) seen = { number, elapsedMs: 0, rssBytes: parts.rssBytes() };
      else {
        seen.elapsedMs += elapsedMs;
        if (isDue(seen, limitMs) && strike(number)) seen = undefined;
        else if (seen.elapsedMs > limitMs) nextMs = lookMsMin;
      }
    } else {
      seen = undefined;
      if (++idleLooks > patienceLooks && mayRest()) return;
    }
    setTimeout(look, nextMs);
  }

  function isUnderWay(word: number): boolean {
    return word % phase.count === phase.user || word % phase.count === phase.lent;
  }

  /** V3. False where a call has begun before it could see that this sleeps. */
  function mayRest(): boolean {
    Atomics.store(fields, places.isAsleep, 1);
    if (!isUnderWay(Atomics.load(fields, places.word))) return true;
    // If whoever began it has seen it nevertheless, a message is on its way.
    return Atomics.exchange(fields, places.isAsleep, 0) === 0;
  }

  function isDue(call: { readonly elapsedMs: number; readonly rssBytes: number }, limitMs: number): boolean {
    const isTooBig = parts.rssBytes() - call.rssBytes > growthBytesMax;
    if (call.elapsedMs <= limitMs && !isTooBig) return false;
    Atomics.store(fields, places.reason, parts.reasons.indexOf(isTooBig ? "memory" : "time"));
    return true;
  }

  /** False where the call has ended, or is not in user code just now (V1). */
  function strike(number: number): boolean {
    Atomics.store(fields, places.overdue, number);
    const inUserCode = number * phase.count + phase.user;
    const struck = number * phase.count + phase.struck;
    if (Atomics.compareExchange(fields, places.word, inUserCode, struck) !== inUserCode) return false;
    // For each strike anew: a process that ends while a session is open says that it waits for a debugger.
    const session = parts.openSession();
    session.post("Runtime.terminateExecution", (error) => {
      session.disconnect();
      if (error !== null) throw error;
      main.postMessage(null);
    });
    return true;
  }
}

/** The program of a worker that is made with `eval`, and `watchedThread` as its `workerData`. */
export const watchProgram = `
  // Some tools that run TypeScript add calls of this to functions.
  const __name = (value) => value;
  const { parentPort, workerData } = require("node:worker_threads");
  const { Session } = require("node:inspector");
  const openSession = () => {
    const session = new Session();
    session.connectToMainThread();
    return session;
  };
  const rssBytes = () => process.memoryUsage.rss();
  const nowMs = () => performance.now();
  (${watch.toString()})({ main: parentPort, openSession, rssBytes, nowMs, ...workerData });
`;
