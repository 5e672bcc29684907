/**
 * The watchdog of the real host. A thread of its own watches the main thread, and ends the JavaScript that runs there when a
 * call of user code has taken too long: by V8's `TerminateExecution`, which no `catch` and no `finally` sees, and which unwinds
 * the whole stack to the event loop.
 *
 * W1  Only user code is stopped: a strike begins by changing `word` from "in user code" to "struck", and user code ends by
 *     changing it back; one of the two is first. Who has been struck waits for it (`#awaitStop`), and goes nowhere else.
 * W2  What user code throws passes through unchanged.
 * W3  Calls don't nest, and are made in turns only.
 * W4  A turn is the outermost JavaScript on its stack, called for a message of a port: so nothing of Node's own is torn by a
 *     stop. (In a callback of `setImmediate` it would be the queue behind it, in a microtask all other microtasks.)
 *
 *            call           return
 *     own ─────────► user ──────────► own
 *          `own` ┌───┘ ▲ │
 *                ▼     │ │ strike
 *               lent ──┘ ▼
 *                      struck ──(the turn is over)──► own, at the next turn or the watcher's message
 *
 * A call costs some 0.1 µs, measured on a 2-core cloud machine; a turn about 1 µs. See docs/decisions/2026-11-23-watchdog.md.
 */
import { isMainThread, MessageChannel, type MessagePort, Worker } from "node:worker_threads";
import { assert } from "../../base/assert.ts";
import type { Guard, TurnHandlers, Turns } from "../host.ts";
import { watchProgram } from "./watch-thread.ts";
import { phase, stopReasons, watchFields, watchNumberMax } from "./watched-thread.ts";
import { WorkerGuard } from "./worker-guard.ts";

/** A strike takes effect within a millisecond or so. If it doesn't, the watcher has died, and nothing can be relied on. */
const stopWithinMs = 10_000;

/** For the thread that it is called in. There is one main thread, so one watchdog for all hosts of a process. */
export function nodeGuard(): Guard {
  // Only the main thread can be reached by another one's inspector.
  if (!isMainThread) return new WorkerGuard();
  mainGuard ??= new MainThreadGuard();
  return mainGuard;
}

let mainGuard: MainThreadGuard | undefined;

interface Turn {
  readonly handlers: TurnHandlers;
  isDue: boolean;
}

class MainThreadGuard implements Guard {
  readonly #fields = watchedFields();
  /** Made at the first call: who runs no user code needs no thread. */
  #watcher: Worker | undefined;
  #number = 0;
  readonly #sender: MessagePort;
  readonly #receiver: MessagePort;
  #due: Turn[] = [];
  #running: Turn | undefined;

  constructor() {
    const { port1, port2 } = new MessageChannel();
    this.#sender = port1;
    this.#receiver = port2;
    port2.on("message", this.#nextTurn);
    port1.unref();
    port2.unref();
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
    if (this.#running === undefined) this.#sender.postMessage(null);
    else setImmediate(this.#post);
  }

  readonly #post = (): void => this.#sender.postMessage(null);

  readonly #nextTurn = (): void => {
    this.#endStopped();
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

  /** If the last turn was cut short, says so to whom it belongs. */
  readonly #endStopped = (): void => {
    const stopped = this.#running;
    if (stopped === undefined) return;
    this.#ended();
    Atomics.store(this.#fields, watchFields.word, this.#number * phase.count + phase.own);
    stopped.handlers.stopped(stopReasons[this.#fields[watchFields.reason]!]!);
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
      if (fields[watchFields.overdue] === this.#number) this.#awaitStop();
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
    const workerData = { watched: { fields: this.#fields }, places: watchFields, phase, reasons: stopReasons };
    // Without the options of this process: a loader or a profiler is of no use to it.
    const watcher = new Worker(watchProgram, { eval: true, execArgv: [], workerData, name: "watchdog" });
    watcher.on("message", this.#endStopped);
    watcher.unref();
    return watcher;
  }
}

function watchedFields(): Int32Array {
  const fields = new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT * watchFields.count));
  // Nobody watches before the first call wakes somebody.
  fields[watchFields.isAsleep] = 1;
  return fields;
}
