/**
 * A simulated node's host: all ports, on one scheduler and from one seed. The node is what outlives crashes: its disk and
 * its clocks. Each `start` gives the host of a new life; code of an earlier life has no effect on the world any more.
 */
import { assert } from "../base/assert.ts";
import { encodeUtf8 } from "../base/bytes.ts";
import type { SeededRandom } from "../base/random.ts";
import type { Disk, Host, LogLevel, Scope, Trace } from "../host/host.ts";
import type { Network } from "../host/network.ts";
import type { LeftFile } from "./call-notes.ts";
import { SimulatedClock, SimulatedTimers } from "./clock.ts";
import { type CrashOptions, SimulatedDisk } from "./disk.ts";
import { FaultCounts } from "./faults.ts";
import { type RealLimit, SimulatedGuard } from "./guard.ts";
import { NodeLife, type TurnTaker } from "./life.ts";
import { SimulatedNetwork } from "./network.ts";
import type { Scheduler } from "./scheduler.ts";
import { newScope } from "./scope.ts";

export interface SimulatedNodeOptions {
  readonly scheduler: Scheduler;
  readonly random: SeededRandom;
  /** Tells nodes apart in the trace, and is the host of all addresses that the node can listen on. Default `node`. */
  readonly name?: string;
  /** By default a new, boundless one. */
  readonly disk?: SimulatedDisk;
  /** What connects it to other nodes. By default it is alone on a new one. */
  readonly network?: SimulatedNetwork;
  readonly driftPpm?: number;
  readonly counts?: FaultCounts;
  /** What ends user code that takes long in real time; by default nothing does. */
  readonly realLimit?: RealLimit;
  /** What its code takes turns on; by default it takes no time. */
  readonly turns?: TurnTaker;
  /** Receives what the node's code traces, besides the scheduler's trace. */
  readonly onTrace?: (line: TraceLine) => void;
}

export interface TraceLine {
  readonly level: LogLevel;
  readonly message: string;
  readonly fields: Readonly<Record<string, unknown>>;
}

/** The host of one life. */
export class SimulatedHost implements Host {
  readonly clock: SimulatedClock;
  readonly timers: SimulatedTimers;
  readonly random: SeededRandom;
  readonly guard: SimulatedGuard;
  readonly trace: Trace;
  readonly disk: Disk;
  readonly network: Network;
  readonly life: NodeLife;

  constructor(node: SimulatedNode, random: SeededRandom, life: NodeLife) {
    const { scheduler, clock } = node;
    this.life = life;
    this.clock = clock;
    this.random = random.fork("host");
    this.timers = new SimulatedTimers({ scheduler, clock, life, random: random.fork("timers") });
    const die = (left: LeftFile | undefined): void => {
      life.end();
      if (left !== undefined) node.disk.leaveFile(left.path, encodeUtf8(left.text));
    };
    this.guard = new SimulatedGuard({
      scheduler,
      die,
      timers: this.timers,
      counts: node.counts,
      ...(node.realLimit === undefined ? {} : { realLimit: node.realLimit }),
    });
    this.disk = node.disk.attach(life);
    this.network = node.network.attach(node.name, life);
    this.trace = (level, message, fields = {}) => {
      if (life.alive) node.trace({ level, message, fields });
    };
  }

  newScope<T>(): Scope<T> {
    return newScope<T>(this.life);
  }
}

export class SimulatedNode {
  readonly name: string;
  readonly scheduler: Scheduler;
  readonly disk: SimulatedDisk;
  readonly network: SimulatedNetwork;
  readonly clock: SimulatedClock;
  readonly counts: FaultCounts;
  readonly realLimit: RealLimit | undefined;
  readonly #random: SeededRandom;
  readonly #turns: TurnTaker | undefined;
  readonly #onTrace: ((line: TraceLine) => void) | undefined;
  #lifeCount = 0;
  #life: NodeLife | undefined;

  constructor(options: SimulatedNodeOptions) {
    const { scheduler, random } = options;
    this.name = options.name ?? "node";
    this.scheduler = scheduler;
    this.counts = options.counts ?? options.disk?.counts ?? new FaultCounts();
    this.#random = random;
    this.#onTrace = options.onTrace;
    this.realLimit = options.realLimit;
    this.#turns = options.turns;
    this.disk = options.disk ?? new SimulatedDisk({ scheduler, random: random.fork("disk"), counts: this.counts });
    this.network =
      options.network ?? new SimulatedNetwork({ scheduler, random: random.fork("network"), counts: this.counts });
    this.clock = new SimulatedClock({ scheduler, driftPpm: options.driftPpm ?? 0 });
    if (options.driftPpm !== undefined && options.driftPpm !== 0) this.counts.add("clock-drift");
  }

  /** Begins a life. The earlier one must have ended by a crash; one that closed in good order is let go by `crash` too. */
  start(): SimulatedHost {
    this.#life = new NodeLife(this.#turns);
    return new SimulatedHost(this, this.#random.fork(`life-${++this.#lifeCount}`), this.#life);
  }

  get alive(): boolean {
    return this.#life?.alive === true;
  }

  /** Ends the present life, if there is one: its timers don't fire and its operations don't settle any more. */
  crash(): void {
    this.#life?.end();
  }

  /**
   * Freezes the node, as a long garbage collection or a stopped virtual machine does: its clocks go on, and what its disk was
   * told to do is done, but its timers, messages and results wait for `resume`. Ends with the life. To be called between events.
   */
  pause(): void {
    if (!this.alive || this.#life?.paused) return;
    this.#life?.pause();
    this.counts.add("pause");
    this.scheduler.note(`${this.name} paused`);
  }

  /** Ends a pause, if there is one. */
  resume(): void {
    this.#life?.resume((step) => this.scheduler.at(0, step));
  }

  /** Crashes at the `operation`-th operation from now: of disk or network, a message sent or received, a timer that fires. */
  crashAt(operation: number, options: CrashOptions): void {
    this.disk.crashAt(operation, options);
  }

  /** Sets the wall clock; see `SimulatedClock`. */
  jumpWall(byMs: number): void {
    this.clock.jumpWall(byMs);
    this.counts.add("clock-jump");
  }

  /** Changes the rate of its clocks; see `SimulatedClock`. */
  drift(driftPpm: number): void {
    this.clock.drift(driftPpm);
    if (driftPpm !== 0) this.counts.add("clock-drift");
  }

  /** Calls `listener`, once, when the present life ends. */
  onDeath(listener: () => void): void {
    assert(this.#life?.alive === true, `${this.name} is down`);
    this.#life.onEnd(listener);
  }

  /** Takes back `crashAt`. */
  cancelCrash(): void {
    this.#life?.cancelCrash();
  }

  /** For the hosts of this node. */
  trace(line: TraceLine): void {
    this.scheduler.note(`${this.name} ${line.level} ${line.message}`);
    this.#onTrace?.(line);
  }
}

/** A node of its own with its first host, for tests that need no more than that. */
export function simulatedHost(options: SimulatedNodeOptions): {
  readonly node: SimulatedNode;
  readonly host: SimulatedHost;
} {
  const node = new SimulatedNode(options);
  return { node, host: node.start() };
}
