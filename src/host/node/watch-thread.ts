/**
 * The watcher: a thread that looks now and then how long the watched thread has been in one call of user code, and strikes when
 * that is too long, or when the process has grown too much meanwhile.
 *
 * V1  A strike is announced in `word` before it is made, and only where the call it is meant for is still under way (W1).
 * V2  Time in which this thread did not run either is not counted: then the whole process has been paused.
 * V3  It sleeps while no user code runs.
 * V4  What may be about to end the process is noted (`note-writer.ts`): a call at its second look at the earliest, and only if it has
 *     used half of its time or the process has grown by what a death of memory would need.
 */
import type { Session } from "node:inspector";
import type { MessagePort } from "node:worker_threads";
import { callNoteBytes, callNoteText } from "../call-note.ts";
import { beatMs, endHungProcess, type LoopWatchOptions, loopWatch } from "./loop-watch.ts";
import { type NoteWriter, noteWriter } from "./note-writer.ts";
import type {
  phase as phases,
  watchFields as places,
  stopReasons,
  WatchedThread,
  WatchOrder,
} from "./watched-thread.ts";

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
  /** A call during which the process has grown by so much is noted. */
  readonly notedGrowthBytes: number;
  readonly writer: NoteWriter;
  readonly watchLoop: (options: LoopWatchOptions) => void;
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

  const { main, places, phase, writer } = parts;
  const { fields } = parts.watched;
  /** The call of user code that is under way. */
  let seen: { readonly number: number; elapsedMs: number; readonly rssBytes: number } | undefined;
  let lookedAt = 0;
  let idleLooks = 0;

  main.on("message", (order: WatchOrder) => {
    if (order?.type === "watch-loop") return parts.watchLoop(order.options);
    if (order !== null) return writer.take(order);
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
    const number = Math.floor(word / phase.count);
    // V1: numbers come again one day, and the call that has this one then is not overdue.
    if (fields[places.overdue] !== number) Atomics.store(fields, places.overdue, 0);
    writer.look(number, { isOver: word % phase.count === phase.own });
    if (isUnderWay(word)) {
      idleLooks = 0;
      if (seen?.number !== number) seen = { number, elapsedMs: 0, rssBytes: parts.rssBytes() };
      else {
        seen.elapsedMs += elapsedMs;
        noteIfSuspect(seen, limitMs);
        if (isDue(seen, limitMs) && strike(number)) seen = undefined;
        else if (seen.elapsedMs > limitMs) nextMs = lookMsMin;
      }
    } else {
      seen = undefined;
      if (++idleLooks > patienceLooks && !writer.isOpen && mayRest()) return;
    }
    setTimeout(look, nextMs);
  }

  /** V4. */
  function noteIfSuspect(
    call: { readonly number: number; readonly elapsedMs: number; readonly rssBytes: number },
    limitMs: number,
  ) {
    if (writer.isOpen) return;
    const grownBytes = parts.rssBytes() - call.rssBytes;
    if (2 * call.elapsedMs < limitMs && grownBytes < parts.notedGrowthBytes) return;
    writer.note({ number: call.number, elapsedMs: call.elapsedMs, grownBytes });
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
    writer.struck();
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
  const fs = require("node:fs");
  const { parentPort, workerData } = require("node:worker_threads");
  const { Session } = require("node:inspector");
  const openSession = () => {
    const session = new Session();
    session.connectToMainThread();
    return session;
  };
  const rssBytes = () => process.memoryUsage.rss();
  const nowMs = () => performance.now();
  const text = ${callNoteText.toString()};
  const files = {
    open: (path) => fs.openSync(path, fs.constants.O_RDWR | fs.constants.O_CREAT, 0o600),
    write: (file, content) => {
      const page = Buffer.alloc(${callNoteBytes}, " ");
      page.write(content);
      fs.writeSync(file, page, 0, page.length, 0);
    },
    close: (file) => fs.closeSync(file),
  };
  const report = (content) => parentPort.postMessage(content);
  const writer = (${noteWriter.toString()})({ files, text, report, wallMs: () => Date.now(), ...workerData });
  const end = (options) =>
    (${endHungProcess.toString()})({
      options,
      openSession,
      print: (line) => fs.writeSync(2, line),
      after: (delayMs, then) => setTimeout(then, delayMs),
      kill: () => process.kill(process.pid, "SIGKILL"),
      now: () => new Date().toISOString(),
    });
  const watchLoop = (options) => {
    const isHung = (${loopWatch.toString()})({ beatMs: ${beatMs}, hangMs: options.hangMs, ...workerData });
    setInterval(() => isHung() && end(options), ${beatMs});
  };
  (${watch.toString()})({ watchLoop, main: parentPort, openSession, rssBytes, nowMs, writer, ...workerData });
`;
