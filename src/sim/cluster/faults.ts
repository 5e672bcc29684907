/**
 * Carries a plan of faults out against a simulated cluster, and takes everything back at its end.
 *
 * CF1 What happens follows from the plan and the world alone: the same plan in the same world is the same run.
 * CF2 After `heal` nothing fails any more: servers and nodes are up, ways are open, disks have room, clocks show the true time. Damage
 *     that was done stays done.
 * CF3 A node that a fault has ended is started again after the fault's duration, or by `heal`. One that ends by itself is its own
 *     world's to start, until `heal`.
 */
import { assert } from "../../base/assert.ts";
import type { SimulatedNode } from "../host.ts";
import type { Obstruction } from "../obstruction.ts";
import type { Scheduled } from "../scheduler.ts";
import { engineStrikes } from "./engine-strikes.ts";
import { type ClusterFault, type ClusterFaultEvent, type ClusterFaultsPlan, clusterFaults } from "./faults-plan.ts";
import { nodeStrikes } from "./node-strikes.ts";
import { ratesOf } from "./rates.ts";
import type { ClusterWorld, Strike, StrikeContext, Strikes, Undo } from "./strike.ts";

const boundless = 2 ** 40;

const obstructing =
  (obstruction: (context: StrikeContext, event: ClusterFaultEvent) => Obstruction): Strike =>
  (context, event) => {
    const obstacle = context.network.obstruct(obstruction(context, event));
    return () => obstacle.clear();
  };

const strikes: Strikes = {
  ...nodeStrikes,
  ...engineStrikes,
  "planned-move": ({ hooks }, { amount }) => {
    hooks.move(amount);
    return true;
  },
  cut: obstructing((_, { targets }) => ({ kind: "cut", from: targets, isBothWays: true })),
  "cut-one-way": obstructing((_, { targets }) => ({ kind: "cut", from: targets })),
  "cut-minority": obstructing((_, { targets }) => ({ kind: "cut", from: targets, isBothWays: true })),
  "cut-engine": obstructing(({ engine }, { targets }) => ({
    kind: "cut",
    from: targets,
    to: engine.servers.all.map(({ name }) => name),
    isBothWays: true,
  })),
  "cut-peers": obstructing(({ nodes }, { targets }) => ({
    kind: "cut",
    from: targets,
    to: nodes.map(({ name }) => name).filter((name) => !targets.includes(name)),
    isBothWays: true,
  })),
  "cut-servers": obstructing(({ engine }, { targets }) => ({
    kind: "cut",
    from: targets,
    to: engine.servers.all.map(({ name }) => name).filter((name) => !targets.includes(name)),
    isBothWays: true,
  })),
  clog: obstructing((_, { targets }) => ({ kind: "clog", from: targets, isBothWays: true })),
  swizzle: ({ network }, { targets, durationMs }) => {
    network.swizzle(targets, durationMs);
    return true;
  },
};

export class ClusterFaults {
  readonly #context: StrikeContext;
  readonly #scheduled = new Set<Scheduled>();
  /** What lasts now, and how it is taken back. */
  readonly #lasting = new Map<ClusterFaultEvent, Undo>();
  readonly #counts = new Map<ClusterFault, number>();
  /** How far each node's wall clock was set, in all. */
  readonly #jumpedMs = new Map<SimulatedNode, number>();
  #isOver = false;

  constructor(world: ClusterWorld) {
    const nodes = new Map(world.nodes.map((node) => [node.name, node]));
    this.#context = {
      ...world,
      node: (name) => {
        const node = nodes.get(name);
        assert(node !== undefined, `there is no node ${name}`);
        return node;
      },
      startLater: (node, options) => this.#startLater(node, options),
      later: (afterMs, callback) => this.#at(afterMs, callback),
      stopping: new Set(),
      wild: undefined,
      refreshRates: () => this.#refreshRates(),
    };
  }

  /** How many events of each kind took effect, in the order of `clusterFaults`. */
  counts(): readonly (readonly [ClusterFault, number])[] {
    return clusterFaults.flatMap((kind) => {
      const count = this.#counts.get(kind);
      return count === undefined ? [] : [[kind, count] as const];
    });
  }

  /** Has the plan's events happen, counted from now. To be called once. */
  run(plan: ClusterFaultsPlan): void {
    for (const event of plan.events) this.#at(event.atMs, () => this.#strike(event));
  }

  #at(delayMs: number, callback: () => void): void {
    const scheduled = this.#context.scheduler.at(delayMs, () => {
      this.#scheduled.delete(scheduled);
      callback();
    });
    this.#scheduled.add(scheduled);
  }

  #strike(event: ClusterFaultEvent): void {
    const { kind, durationMs, targets, amount } = event;
    this.#context.scheduler.note(`fault: ${kind} ${targets} ${amount} for ${durationMs} ms`);
    // Those that are worked out together are looked up while they are struck.
    this.#lasting.set(event, () => undefined);
    const result = strikes[kind](this.#context, event);
    if (result === false) {
      this.#lasting.delete(event);
      return;
    }
    this.#counts.set(kind, (this.#counts.get(kind) ?? 0) + 1);
    if (kind === "clock-jump") this.#noteJump(event);
    if (result === true) {
      this.#lasting.delete(event);
      return;
    }
    this.#lasting.set(event, result);
    this.#at(durationMs, () => this.#takeBack(event));
  }

  #takeBack(event: ClusterFaultEvent): void {
    const undo = this.#lasting.get(event);
    this.#lasting.delete(event);
    undo?.();
  }

  #noteJump({ targets, amount }: ClusterFaultEvent): void {
    const node = this.#context.node(targets[0]!);
    this.#jumpedMs.set(node, (this.#jumpedMs.get(node) ?? 0) + amount);
  }

  #refreshRates(): void {
    const { link, engine } = ratesOf(this.#lasting.keys());
    this.#context.network.behaviour = link;
    this.#context.engine.rates = engine;
  }

  #startLater(node: SimulatedNode, options: { readonly afterMs: number; readonly codeChoice?: number }): void {
    const start = () => {
      if (!node.alive) this.#context.hooks.start(node.name, { codeChoice: options.codeChoice });
    };
    // It may be in the middle of dying: a new life begins in an event of its own.
    if (this.#isOver) this.#context.scheduler.at(0, start);
    else this.#at(options.afterMs, start);
  }

  /** CF2. To be called between events, once. */
  heal(): void {
    const { scheduler, nodes, network, engine, hooks } = this.#context;
    this.#isOver = true;
    scheduler.note("no more faults");
    for (const scheduled of this.#scheduled) scheduled.cancel();
    this.#scheduled.clear();
    for (const event of [...this.#lasting.keys()]) this.#takeBack(event);
    network.heal();
    engine.heal();
    for (const node of nodes) {
      node.disk.capacityBytes = boundless;
      node.disk.cancelFailures();
      node.cancelCrash();
      node.drift(0);
      const jumpedMs = this.#jumpedMs.get(node) ?? 0;
      if (jumpedMs !== 0) node.jumpWall(-jumpedMs);
      node.resume();
      if (!node.alive) hooks.start(node.name, { codeChoice: undefined });
    }
  }
}
