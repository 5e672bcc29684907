/**
 * What goes wrong with a lone node: crashes at any of its operations, and what a disk, a clock and a store can do besides.
 *
 * F1  All of it follows from `random`.
 * F2  After `end` nothing goes wrong any more.
 */
import type { SeededRandom } from "../../base/random.ts";
import type { FaultCounts } from "../faults.ts";
import type { SimulatedHost } from "../host.ts";
import { crashMoments } from "../life.ts";
import type { Scheduler } from "../scheduler.ts";
import { type ClientDeath, drawClientDeath } from "./client-death.ts";
import type { LoneNode } from "./lone-node.ts";

/**
 * `crash`: the process dies at any await, and what it had not synced is lost, torn or kept. `failed-sync`: the disk refuses a
 * sync once, and the node stops for it. `full-disk`: no room for a while. `lost-store`: the store's file is gone at a start.
 * `pause`: the process stands still for up to 3 s. `clock-jump`: the wall clock is set. `clock-drift`: it runs at its own rate.
 * `client-crash`: a workload ends for ever between two of its calls, or in the middle of one.
 */
export const systemFaults = [
  "crash",
  "failed-sync",
  "full-disk",
  "lost-store",
  "pause",
  "clock-jump",
  "clock-drift",
  "client-crash",
] as const;

export type SystemFault = (typeof systemFaults)[number];

const boundless = 2 ** 40;

export interface NodeFaultsOptions {
  readonly node: LoneNode;
  readonly scheduler: Scheduler;
  readonly random: SeededRandom;
  /** Those that this run has. */
  readonly kinds: ReadonlySet<SystemFault>;
  readonly counts: FaultCounts;
}

export class NodeFaults {
  readonly #options: NodeFaultsOptions;
  #isOver = false;
  #jumpedMs = 0;

  constructor(options: NodeFaultsOptions) {
    this.#options = options;
  }

  /** To be called at the beginning of each life. */
  startsLife(life: number, host: SimulatedHost): void {
    const { node, random, kinds, counts, scheduler } = this.#options;
    if (this.#isOver) return;
    if (life > 1 && kinds.has("lost-store") && random.chance(0.3)) {
      scheduler.note("fault: the store's file is gone");
      counts.add("lost-file");
      node.store.lose();
    }
    if (!kinds.has("crash")) return;
    // Some lives end while they start, most in the middle of their work, be that little or much.
    const operation = random.between(1, random.pick([60, 400, 1500]));
    host.life.crashAt(operation, random.pick(crashMoments));
  }

  /** Disturbs until `end`; `afterCrash` is called in every life but the first, once it serves. */
  async disturb(afterCrash: () => Promise<void>): Promise<void> {
    const { node, scheduler, random } = this.#options;
    let checkedLife = 1;
    while (!this.#isOver) {
      await scheduler.sleep(5 + random.next() * 200);
      if (this.#isOver) return;
      await this.#strike();
      if (node.lifeCount === checkedLife) continue;
      checkedLife = node.lifeCount;
      // A node may have no room to start with, and what is waited for now would not come before there is some.
      node.node.disk.capacityBytes = boundless;
      await afterCrash();
    }
  }

  async #strike(): Promise<void> {
    const { node, scheduler, random, kinds, counts } = this.#options;
    const { disk } = node.node;
    const has = (kind: SystemFault, probability: number): boolean => kinds.has(kind) && random.chance(probability);
    if (disk.capacityBytes < boundless) {
      if (random.chance(0.5)) disk.capacityBytes = boundless;
    } else if (has("full-disk", 0.15)) {
      scheduler.note("fault: the disk is full");
      counts.add("full-disk");
      disk.capacityBytes = disk.usedBytes + random.integer(20_000);
    }
    if (node.node.alive && has("failed-sync", 0.05)) {
      scheduler.note("fault: a sync will fail");
      disk.failNext("sync", random.between(1, 5));
    }
    if (has("clock-jump", 0.1)) {
      const byMs = random.pick([-5000, -200, 300, 5000]);
      scheduler.note(`fault: the clock is set by ${byMs} ms`);
      this.#jumpedMs += byMs;
      node.node.jumpWall(byMs);
    }
    if (node.node.alive && has("pause", 0.1)) {
      node.node.pause();
      await scheduler.sleep(random.next() * 3000);
      node.node.resume();
    }
  }

  /** At which of its calls a workload's client dies; gives undefined if it doesn't, and once no faults are to be (F2). */
  clientDeath(): () => ClientDeath | undefined {
    const { random, kinds } = this.#options;
    if (!kinds.has("client-crash") || !random.chance(0.5)) return () => undefined;
    const death = drawClientDeath(random);
    return () => (this.#isOver ? undefined : death);
  }

  /** F2. */
  end(): void {
    const { node, scheduler } = this.#options;
    this.#isOver = true;
    scheduler.note("no more faults");
    node.node.disk.capacityBytes = boundless;
    node.node.resume();
    node.cancelCrash();
    // What log time has run ahead of is caught up with, so that timers are due when the wall clock says so.
    if (this.#jumpedMs !== 0) node.node.jumpWall(Math.abs(this.#jumpedMs) + 60_000);
  }
}
