/**
 * One simulated node that lives again after every crash: what `testSystem` and `simulate` run a user's system on. The log is
 * the real one on a simulated disk, the executor, the transactions and the timers are the real ones too; only the world around
 * them is simulated.
 *
 * N1  What outlives a life is its disk and its store's file, as they were at the crash.
 * N2  A node that stops by itself, or does not start, is started again, a bounded number of times in a row.
 */
import { OnefoldError } from "../../base/errors.ts";
import type { Limits } from "../../base/limits.ts";
import type { SeededRandom } from "../../base/random.ts";
import type { SystemHandle } from "../../entity/definition.ts";
import type { Service } from "../../entity/service.ts";
import { TimeLimit } from "../../host/node/time-limit.ts";
import { EmbeddedNode } from "../../runtime/embedded.ts";
import { type MemoryStoreEngine, memoryStore } from "../../store/engine/memory.ts";
import { SimulatedDisk } from "../disk.ts";
import type { CallLimit } from "./call-limit.ts";
import { deferred } from "../deferred.ts";
import type { FaultCounts } from "../faults.ts";
import { type SimulatedHost, SimulatedNode, type TraceLine } from "../host.ts";
import type { Scheduler } from "../scheduler.ts";

const startsMax = 100;
/** Small, as a system under test is: a simulated disk's preallocation costs real memory and time. */
const segmentBytes = 1024 * 1024;
const reserveBytes = 1024 * 1024;
/** Of real time: a command that takes so long never ends. Long, so that a busy machine changes no run's course. */
const commandRealMs = 1000;

export interface LoneNodeOptions {
  readonly system: SystemHandle;
  readonly scheduler: Scheduler;
  readonly random: SeededRandom;
  readonly counts: FaultCounts;
  readonly driftPpm?: number;
  readonly limits?: Partial<Limits>;
  /** On each call of user code, in real time. */
  readonly limit?: CallLimit;
  readonly onTrace?: (line: TraceLine) => void;
  /** Called at the beginning of each life, before anything of it runs; the first is 1. */
  readonly onStart?: (life: number, host: SimulatedHost) => void;
}

/** One life, as those see it who wait for what it does. */
export interface ServingLife {
  readonly service: Service;
  /** Resolves when it has crashed or stopped: what is unanswered by then will never be answered. */
  readonly end: Promise<void>;
}

export class LoneNode {
  readonly node: SimulatedNode;
  readonly store: MemoryStoreEngine;
  readonly #options: LoneNodeOptions;
  #host: SimulatedHost | undefined;
  #embedded: EmbeddedNode | undefined;
  #serving = deferred<ServingLife>();
  /** The present life is what `#serving` gives. */
  #hasServed = false;
  #isOver = false;
  #lifeCount = 0;
  #running: Promise<void> | undefined;

  constructor(options: LoneNodeOptions) {
    const { scheduler, random, counts } = options;
    const { limit = new TimeLimit() } = options;
    this.#options = options;
    this.node = new SimulatedNode({
      scheduler,
      random: random.fork("node"),
      counts,
      disk: new SimulatedDisk({ scheduler, random: random.fork("disk"), counts }),
      realLimit: (code) => limit.call(commandRealMs, code),
      ...(options.driftPpm === undefined ? {} : { driftPpm: options.driftPpm }),
      ...(options.onTrace === undefined ? {} : { onTrace: options.onTrace }),
    });
    const timers = {
      after: (delayMs: number, run: () => void) => this.#host!.timers.after(delayMs, run),
      soon: (run: () => void) => this.#host!.timers.soon(run),
    };
    const delays = random.fork("store-delays");
    this.store = memoryStore({ timers, random: random.fork("store"), applyDelayMs: () => delays.next() * 4 });
  }

  /** Begins the first life. Resolves when the last one has ended; rejects with what was wrong. Idempotent. */
  run(): Promise<void> {
    this.#running ??= this.#run();
    return this.#running;
  }

  /** Of the present life, once it serves. */
  get service(): Service | undefined {
    return this.#embedded?.service;
  }

  get lifeCount(): number {
    return this.#lifeCount;
  }

  /** Resolves once the node serves. */
  serving(): Promise<ServingLife> {
    return this.#serving.promise;
  }

  /** Power is cut. The next life begins a little later. */
  crash(): void {
    this.node.crash();
  }

  /** The present life crashes no more at an operation that was chosen for it. */
  cancelCrash(): void {
    this.#host?.life.cancelCrash();
  }

  /** Ends the present life in good order; the next begins a little later. */
  async restart(): Promise<void> {
    const { end } = await this.serving();
    const embedded = this.#embedded;
    const host = this.#host;
    await Promise.race([embedded?.close(), end]);
    if (host === this.#host) this.node.crash();
    await end;
  }

  /** Ends everything: no further life. */
  async close(): Promise<void> {
    this.#isOver = true;
    if (this.#embedded !== undefined) await this.restart();
    this.node.crash();
    await this.run();
  }

  async #run(): Promise<void> {
    let failedStarts = 0;
    while (!this.#isOver) {
      failedStarts = (await this.#live()) ? 0 : failedStarts + 1;
      if (failedStarts > startsMax) {
        throw new OnefoldError("internal", `The simulated node did not start in ${startsMax} attempts.`);
      }
      await this.#options.scheduler.sleep(1 + this.#options.random.next() * 20);
    }
  }

  async #live(): Promise<boolean> {
    const host = this.node.start();
    this.#host = host;
    this.#lifeCount++;
    const { promise: end, resolve: ended } = deferred();
    host.life.onEnd(() => {
      this.#embedded = undefined;
      if (this.#hasServed) this.#serving = deferred();
      this.#hasServed = false;
      // In an event of its own: what the dead life's code still does in this one has no effect, but must not fail either.
      this.#options.scheduler.at(0, () => {
        this.store.crash();
        ended();
      });
    });
    this.#options.onStart?.(this.#lifeCount, host);
    const opening = this.#open(host).catch((error: unknown) => {
      this.node.trace({ level: "error", message: "The simulated node did not start.", fields: { error } });
      this.node.crash();
      return undefined;
    });
    const embedded = await Promise.race([opening, end.then(() => undefined)]);
    if (embedded === undefined) {
      await end;
      return false;
    }
    this.#embedded = embedded;
    this.#hasServed = true;
    // Whoever asks during this life gets it at once, whoever asks after it waits for the next.
    this.#serving.resolve({ service: embedded.service, end });
    await end;
    return true;
  }

  #open(host: SimulatedHost): Promise<EmbeddedNode> {
    return EmbeddedNode.open({
      system: this.#options.system,
      host,
      storeEngine: this.store,
      segmentBytes,
      reserveBytes,
      ...(this.#options.limits === undefined ? {} : { limits: this.#options.limits }),
      onStopped: () => this.#options.scheduler.at(0, () => host === this.#host && this.node.crash()),
    });
  }
}

/** What the life that a call was sent to had no time to say. */
export function unanswered(): never {
  throw new OnefoldError("outcome-unknown", "The node went down before it answered.");
}
