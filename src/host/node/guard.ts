/**
 * The watchdog of the real host. A thread of its own watches the main thread, and ends the JavaScript that runs there when a
 * call of user code has taken too long: by V8's `TerminateExecution`, which no `catch` and no `finally` sees, and which unwinds
 * the whole stack to the event loop.
 *
 * W1  Only user code is stopped: a strike begins by changing `word` from "in user code" to "struck", and user code ends by
 *     changing it back; one of the two is first. Who has been struck waits for it (`#awaitStop`), and goes nowhere else.
 * W2  What user code throws passes through unchanged.
 * W3  Calls don't nest, and are made in turns only.
 * W4  A turn is the outermost JavaScript on its stack, called for a message of a port: so nothing of Node's own below it is torn
 *     by a stop. (In a callback of `setImmediate` it would be the queue behind it, in a microtask all other microtasks.) What of
 *     Node's own user code was in itself may be: see the decision.
 *
 *            call           return
 *     own ─────────► user ──────────► own
 *          `own` ┌───┘ ▲ │
 *                ▼     │ │ strike
 *               lent ──┘ ▼
 *                      struck ──(the turn is over)──► own, at the next turn or the watcher's message
 *
 * W5  Whoever sees in `word` that a call is under way sees its subject; and it stays until `word` says that the call is over.
 *
 * A call costs some 0.1 µs, measured on a 2-core cloud machine; a turn about 1 µs. See docs/decisions/2026-11-23-watchdog.md.
 */
import { AsyncResource } from "node:async_hooks";
import { url as debuggerUrl } from "node:inspector";
import path from "node:path";
import { getHeapStatistics } from "node:v8";
import { isMainThread, MessageChannel, type MessagePort, Worker } from "node:worker_threads";
import { assert } from "../../base/assert.ts";
import { callSubjectMax } from "../call-note.ts";
import type { CallNotes, CallNotesListener, CallSubject, Guard, TurnHandlers, Turns } from "../host.ts";
import { splitPath } from "../path.ts";
import { beatMs, type LoopWatchOptions } from "./loop-watch.ts";
import { watchProgram } from "./watch-thread.ts";
import {
  phase,
  stopReasons,
  type WatchOrder,
  type WatchReport,
  watchFields,
  watchNumberMax,
} from "./watched-thread.ts";
import { WorkerGuard } from "./worker-guard.ts";

/** A strike takes effect within a millisecond or so. If it doesn't, the watcher has died, and nothing can be relied on. */
const stopWithinMs = 10_000;

/**
 * So many turns may follow each other without the event loop looking elsewhere. A port's messages are taken a thousand at a time, and
 * whoever asks again as soon as he is answered (in a microtask) would keep I/O and timers waiting for as many turns.
 */
const turnsInRowMax = 8;

/** A call that makes the process grow by so much is worth a note, or by this part of the heap's limit if that is less. */
const notedGrowthBytesMax = 128 * 1024 * 1024;
const notedGrowthOfHeap = 1 / 8;

/**
 * For the thread that it is called in. There is one main thread, so one watchdog for all hosts of a process. Notes (`noteCalls`)
 * are made below `root`, by default the working directory.
 */
export function nodeGuard(root = "."): Guard {
  // Only the main thread can be reached by another one's inspector.
  if (!isMainThread) return new WorkerGuard();
  mainGuard ??= new MainThreadGuard();
  return new HostGuard(mainGuard, root);
}

/**
 * Ends the process, with a line on standard error that says why, when its main thread has not come back to its event loop for `hangMs`:
 * for programs that somebody starts again. Not under a debugger. Called once, by the main thread.
 */
export function endProcessThatHangs(options: LoopWatchOptions): void {
  assert(isMainThread, "a worker is watched by who made it");
  assert(options.hangMs % beatMs === 0, "the watcher looks once a second");
  mainGuard ??= new MainThreadGuard();
  mainGuard.watchLoop(options);
}

let mainGuard: MainThreadGuard | undefined;

interface Turn {
  readonly handlers: TurnHandlers;
  isDue: boolean;
}

/** One host's view of the main thread's watchdog: its calls belong to its notes. */
class HostGuard implements Guard {
  readonly #main: MainThreadGuard;
  readonly #root: string;
  /** 0 while its calls are not to be noted. */
  #notes = 0;

  constructor(main: MainThreadGuard, root: string) {
    this.#main = main;
    this.#root = root;
  }

  turns(handlers: TurnHandlers): Turns {
    return this.#main.turns(handlers);
  }

  call<R>(limitMs: number, userCode: () => R, subject?: CallSubject): R {
    this.#main.setSubject(subject, this.#notes);
    return this.#main.call(limitMs, userCode);
  }

  own<R>(code: () => R): R {
    return this.#main.own(code);
  }

  noteCalls(file: string, listener: CallNotesListener): CallNotes {
    const { number, end } = this.#main.beginNotes(path.resolve(this.#root, ...splitPath(file)), listener);
    this.#notes = number;
    return {
      end: () => {
        if (this.#notes === number) this.#notes = 0;
        return end();
      },
    };
  }
}

class MainThreadGuard {
  readonly #fields = watchedFields();
  readonly #subjectBytes = Buffer.from(new SharedArrayBuffer(callSubjectMax.entity + callSubjectMax.what));
  /** What stands there. */
  #entity = "";
  #what = "";
  #notesCount = 0;
  /** By the notes' number. */
  readonly #listeners = new Map<number, CallNotesListener>();
  /** Made at the first call, or when notes are to be made: who runs no user code needs no thread. */
  #watcher: Worker | undefined;
  #number = 0;
  #sender: MessagePort;
  #receiver: MessagePort;
  /** What turns are called in: nothing that user code has entered. */
  readonly #context = new AsyncResource("OnefoldTurns");
  #due: Turn[] = [];
  #running: Turn | undefined;
  /** Posted since the event loop has come round for certain. */
  #postedInRow = 0;
  /** Messages that are on their way. */
  #postedCount = 0;

  constructor() {
    const { port1, port2 } = this.#openPorts();
    this.#sender = port1;
    this.#receiver = port2;
  }

  #openPorts(): MessageChannel {
    const channel = this.#context.runInAsyncScope(() => new MessageChannel());
    channel.port2.on("message", this.#nextTurn);
    channel.port1.unref();
    channel.port2.unref();
    return channel;
  }

  /** An `AsyncLocalStorage` that user code was stopped in is never left: what it held stays with the port that called the turn. */
  #exchangePorts(): void {
    this.#receiver.off("message", this.#nextTurn);
    this.#receiver.close();
    const { port1, port2 } = this.#openPorts();
    this.#sender = port1;
    this.#receiver = port2;
    if (this.#due.length > 0) port2.ref();
    for (let count = 0; count < this.#postedCount; count++) port1.postMessage(null);
  }

  turns(handlers: TurnHandlers): Turns {
    const turn: Turn = { handlers, isDue: false };
    return { soon: () => this.#soon(turn) };
  }

  #soon(turn: Turn): void {
    if (turn.isDue) return;
    turn.isDue = true;
    // Until it has ended it keeps the process alive: somebody waits for what it does.
    if (this.#due.push(turn) === 1) this.#receiver.ref();
    // A port may be emptied without the event loop looking elsewhere: turns that follow turns let I/O in between.
    if (this.#running === undefined && this.#postedInRow++ < turnsInRowMax) this.#post();
    else setImmediate(this.#postLater);
  }

  readonly #postLater = (): void => {
    this.#postedInRow = 0;
    this.#post();
  };

  #post(): void {
    this.#postedCount++;
    this.#sender.postMessage(null);
  }

  readonly #nextTurn = (): void => {
    // It comes again by another port.
    if (this.#endStopped()) return;
    this.#postedCount--;
    const turn = this.#due.shift();
    assert(turn !== undefined, "every message stands for a turn");
    turn.isDue = false;
    this.#running = turn;
    try {
      turn.handlers.run();
    } finally {
      // A stop comes past without this.
      this.#ended();
    }
  };

  #ended(): void {
    this.#running = undefined;
    if (this.#due.length === 0) this.#receiver.unref();
  }

  /** If the last turn was cut short, says so to whom it belongs, and has what is due come by another port. */
  #endStopped(): boolean {
    const stopped = this.#running;
    if (stopped === undefined) return false;
    this.#ended();
    this.#exchangePorts();
    Atomics.store(this.#fields, watchFields.word, this.#number * phase.count + phase.own);
    const reason = stopReasons[this.#fields[watchFields.reason]!]!;
    this.#context.runInAsyncScope(() => stopped.handlers.stopped(reason));
    return true;
  }

  /** Of the call that follows. */
  setSubject(subject: CallSubject | undefined, notes: number): void {
    const fields = this.#fields;
    if (subject === undefined || notes === 0) {
      fields[watchFields.notes] = 0;
      return;
    }
    const { entity, what } = subject;
    // Calls on one entity often follow each other.
    if (entity !== this.#entity || what !== this.#what) {
      if (entity.length > callSubjectMax.entity || what.length > callSubjectMax.what) {
        fields[watchFields.notes] = 0;
        return;
      }
      this.#entity = entity;
      this.#what = what;
      writeBytes(this.#subjectBytes, entity, 0);
      writeBytes(this.#subjectBytes, what, entity.length);
      fields[watchFields.entityLength] = entity.length;
      fields[watchFields.whatLength] = what.length;
    }
    fields[watchFields.notes] = notes;
  }

  beginNotes(file: string, listener: CallNotesListener): { readonly number: number; end(): boolean } {
    const number = ++this.#notesCount;
    const filesBefore = Atomics.load(this.#fields, watchFields.noteFiles);
    this.#listeners.set(number, listener);
    this.#order({ type: "note", notes: number, path: file });
    return {
      number,
      end: () => {
        if (this.#listeners.delete(number)) this.#order({ type: "end-notes", notes: number });
        return Atomics.load(this.#fields, watchFields.noteFiles) !== filesBefore;
      },
    };
  }

  watchLoop(options: LoopWatchOptions): void {
    const beat = (): void => {
      const next = (Atomics.load(this.#fields, watchFields.beat) % watchNumberMax) + 1;
      Atomics.store(this.#fields, watchFields.beat, debuggerUrl() === undefined ? next : 0);
    };
    beat();
    setInterval(beat, beatMs).unref();
    this.#order({ type: "watch-loop", options });
  }

  /** Starts the watcher if need be: the very first call may be the one that ends the process. */
  #order(order: WatchOrder): void {
    this.#watcher ??= this.#startWatcher();
    this.#watcher.postMessage(order);
  }

  readonly #heard = (report: WatchReport): void => {
    if (report === null) {
      this.#endStopped();
      return;
    }
    const listener = this.#listeners.get(report.notes);
    if (report.type === "failed") listener?.failed(report.reason);
    else listener?.endedWell({ entity: report.entity, what: report.what });
  };

  call<R>(limitMs: number, userCode: () => R): R {
    assert(Number.isInteger(limitMs) && limitMs >= 1, "a guard's limit is in whole milliseconds, at least 1");
    assert(this.#running !== undefined, "guarded code is called in a turn");
    const fields = this.#fields;
    assert(fields[watchFields.word]! % phase.count === phase.own, "guarded code must not start a guarded call");
    this.#number = this.#number === watchNumberMax ? 1 : this.#number + 1;
    const own = this.#number * phase.count + phase.own;
    const inUserCode = own + phase.user;
    fields[watchFields.limitMs] = limitMs;
    Atomics.store(fields, watchFields.word, inUserCode);
    if (Atomics.load(fields, watchFields.isAsleep) === 1) this.#wakeWatcher();
    try {
      return userCode();
    } finally {
      if (Atomics.compareExchange(fields, watchFields.word, inUserCode, own) !== inUserCode) this.#awaitStop();
    }
  }

  own<R>(code: () => R): R {
    const fields = this.#fields;
    const inUserCode = this.#number * phase.count + phase.user;
    const lent = inUserCode - phase.user + phase.lent;
    switch (Atomics.compareExchange(fields, watchFields.word, inUserCode, lent)) {
      case inUserCode:
        break;
      case inUserCode - phase.user + phase.struck:
        return this.#awaitStop();
      default:
        // Not in a call, or lent already.
        return code();
    }
    try {
      return code();
    } finally {
      Atomics.store(fields, watchFields.word, inUserCode);
      // The watcher has waited for this: its strike follows.
      if (Atomics.load(fields, watchFields.overdue) === this.#number) this.#awaitStop();
    }
  }

  /** W1. The stop comes while it waits. */
  #awaitStop(): never {
    const deadline = performance.now() + stopWithinMs;
    while (performance.now() < deadline);
    assert(false, "a strike takes effect");
  }

  #wakeWatcher(): void {
    // It may just have noticed by itself.
    if (Atomics.exchange(this.#fields, watchFields.isAsleep, 0) === 0) return;
    this.#watcher ??= this.#startWatcher();
    this.#watcher.postMessage(null);
  }

  #startWatcher(): Worker {
    const notedGrowthBytes = Math.min(notedGrowthBytesMax, getHeapStatistics().heap_size_limit * notedGrowthOfHeap);
    const watched = { fields: this.#fields, subject: new Uint8Array(this.#subjectBytes.buffer) };
    const workerData = { watched, places: watchFields, phase, reasons: stopReasons, notedGrowthBytes };
    // Without the options of this process: a loader or a profiler is of no use to it.
    const watcher = new Worker(watchProgram, { eval: true, execArgv: [], workerData, name: "watchdog" });
    watcher.on("message", this.#heard);
    watcher.unref();
    return watcher;
  }
}

/** Where a native call begins to be cheaper than a loop; measured. */
const loopLengthMax = 48;

function writeBytes(bytes: Buffer, text: string, at: number): void {
  if (text.length > loopLengthMax) bytes.write(text, at, "latin1");
  else for (let i = 0; i < text.length; i++) bytes[at + i] = text.charCodeAt(i);
}

function watchedFields(): Int32Array {
  const fields = new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT * watchFields.count));
  // Nobody watches before the first call wakes somebody.
  fields[watchFields.isAsleep] = 1;
  return fields;
}
