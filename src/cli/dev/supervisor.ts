/**
 * Replaces the worker behind the gate when the code changes, and when a worker dies.
 *
 * V1  New code is loaded in a process of its own while the old one serves; only code that loads is handed the data.
 * V2  At a hand-over the old worker finishes everything it was given and releases the data directory before the new one takes
 *     it. Requests wait in the gate meanwhile.
 * V3  A new worker that can't open the data ends, and the old one, still in memory, opens it again.
 * V4  A worker that dies, or can't have the data yet, is replaced: at once the first time, then after growing pauses until one
 *     has lived for a while.
 * V5  One loop decides everything; events only wake it.
 *
 *   changed ──▶ load candidate ──fails──▶ wait for a change (the old one serves on)
 *                    │ loaded
 *                    ▼
 *   hold gate ──▶ old releases ──▶ candidate opens ──fails──▶ old opens again
 *                                        │ serving
 *                                        ▼
 *                                    open gate, end old
 */
import type { Gate } from "./gate.ts";
import type { TryCommand, WorkerOptions } from "./messages.ts";
import { Worker, WorkerFailure } from "./worker.ts";

export type SupervisorEvent =
  | { readonly kind: "serving"; readonly system: string; readonly tryCommands: readonly TryCommand[] }
  | { readonly kind: "reloaded"; readonly loadMs: number; readonly heldMs: number }
  | { readonly kind: "load-failed"; readonly message: string; readonly isServing: boolean }
  | { readonly kind: "open-failed"; readonly message: string; readonly isServing: boolean }
  | { readonly kind: "died"; readonly how: string; readonly pauseMs: number };

export interface SupervisorOptions {
  readonly gate: Gate;
  readonly worker: WorkerOptions;
  readonly report: (event: SupervisorEvent) => void;
}

const pausesMs = [0, 250, 500, 1000, 2000, 5000] as const;
/** A worker that has served this long starts the pauses anew. */
const steadyMs = 10_000;
/** How long a hand-over waits for requests that the old worker is busy with; past it the old worker decides. */
const idleMs = 10_000;

export class Supervisor {
  readonly #options: SupervisorOptions;
  #changed = true;
  #stopping = false;
  #serving: Worker | undefined;
  #candidate: Worker | undefined;
  #servingSinceMs = 0;
  #failures = 0;
  #hasServed = false;
  #wake: (() => void) | undefined;
  readonly #loop: Promise<void>;

  /** Starts at once. */
  constructor(options: SupervisorOptions) {
    this.#options = options;
    this.#loop = this.#run();
  }

  /** The code is no longer what it was. */
  changed(): void {
    this.#changed = true;
    this.#rouse();
  }

  /** Lets the worker finish what it was given and ends it. The gate must be closed before. */
  async stop(): Promise<void> {
    this.#stopping = true;
    this.#candidate?.end();
    this.#rouse();
    await this.#loop;
  }

  async #run(): Promise<void> {
    while (!this.#stopping) {
      if (this.#serving !== undefined && !this.#serving.isAlive) {
        this.#serving = undefined;
        this.#changed = true;
        await this.#pause();
        continue;
      }
      if (!this.#changed) {
        await this.#sleep(undefined);
        continue;
      }
      this.#changed = false;
      await this.#replace();
    }
    await this.#end(this.#serving);
  }

  async #replace(): Promise<void> {
    const startedMs = performance.now();
    const candidate = new Worker((how) => this.#noticeEnd(candidate, how));
    this.#candidate = candidate;
    try {
      const loaded = await candidate.load(this.#options.worker);
      if (this.#changed || this.#stopping) {
        candidate.end(); // What it loaded is out of date already.
        return;
      }
      const loadMs = performance.now() - startedMs;
      const heldMs = await this.#handOver(candidate);
      if (heldMs === undefined) return;
      this.#options.report(
        this.#hasServed
          ? { kind: "reloaded", loadMs, heldMs }
          : { kind: "serving", system: loaded.system, tryCommands: loaded.tryCommands },
      );
      this.#hasServed = true;
    } catch (error) {
      candidate.end();
      if (!(error instanceof WorkerFailure)) throw error;
      if (this.#stopping || this.#changed) return;
      this.#options.report({ kind: "load-failed", message: error.message, isServing: this.#isServing() });
    } finally {
      this.#candidate = undefined;
    }
  }

  /** Returns for how long requests were held, or undefined if the candidate could not take over. */
  async #handOver(candidate: Worker): Promise<number | undefined> {
    const { gate, report } = this.#options;
    const old = this.#serving;
    const startedMs = performance.now();
    gate.hold();
    if (old?.isAlive === true) {
      await gate.idle(idleMs);
      await this.#releaseOrEnd(old);
    }
    try {
      const { port } = await candidate.open();
      this.#serve(candidate, port);
      old?.end();
      return performance.now() - startedMs;
    } catch (error) {
      candidate.end();
      if (!(error instanceof WorkerFailure)) throw error;
      if (old?.isAlive === true) await this.#reopen(old);
      report({ kind: "open-failed", message: error.message, isServing: this.#isServing() });
      if (error.mayPass && !this.#isServing()) {
        await this.#pause();
        this.#changed = true;
      }
      return undefined;
    }
  }

  #serve(worker: Worker, port: number): void {
    this.#serving = worker;
    this.#servingSinceMs = performance.now();
    if (worker.isAlive) this.#options.gate.open(port);
  }

  async #reopen(old: Worker): Promise<void> {
    try {
      const { port } = await old.open();
      this.#serve(old, port);
    } catch (error) {
      if (!(error instanceof WorkerFailure)) throw error;
      old.end();
    }
  }

  async #releaseOrEnd(worker: Worker): Promise<void> {
    try {
      await worker.release();
    } catch (error) {
      if (!(error instanceof WorkerFailure)) throw error;
      worker.end(); // The system frees the directory's lock with the process.
    }
  }

  async #end(worker: Worker | undefined): Promise<void> {
    if (worker?.isAlive !== true) return;
    await this.#releaseOrEnd(worker);
    worker.end();
  }

  #noticeEnd(worker: Worker, how: string): void {
    if (worker !== this.#serving || this.#stopping) return;
    this.#options.gate.hold();
    if (performance.now() - this.#servingSinceMs > steadyMs) this.#failures = 0;
    this.#options.report({ kind: "died", how, pauseMs: this.#pauseMs() });
    this.#rouse();
  }

  /** Waits until it is time for the next worker, or something else happens; each time longer. */
  async #pause(): Promise<void> {
    const pauseMs = this.#pauseMs();
    this.#failures++;
    if (pauseMs > 0) await this.#sleep(pauseMs);
  }

  #pauseMs(): number {
    return pausesMs[Math.min(this.#failures, pausesMs.length - 1)]!;
  }

  #isServing(): boolean {
    return this.#serving?.isAlive === true;
  }

  #rouse(): void {
    this.#wake?.();
  }

  async #sleep(limitMs: number | undefined): Promise<void> {
    await new Promise<void>((resolve) => {
      const timer = limitMs === undefined ? undefined : setTimeout(resolve, limitMs);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
    this.#wake = undefined;
  }
}
