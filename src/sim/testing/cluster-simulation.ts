/**
 * One run on a simulated cluster: real nodes over the simulated engine, faults by a plan, healing, and at last a crash of all nodes and
 * servers at once (Y1–Y4 of `simulate-system.ts`).
 *
 * CS1  What goes wrong is the plan; everything else is the seed. So a part of the plan can be left out, and the rest stays the same plan.
 * CS2  After the faults every shard is served, and takes a write, within a bound of virtual time.
 */
import { slotOfEntity } from "../../base/ids.ts";
import { SeededRandom } from "../../base/random.ts";
import type { SystemHandle } from "../../entity/definition.ts";
import { ClusterFaults } from "../cluster/faults.ts";
import { SimulatedCluster } from "../cluster/simulated-cluster.ts";
import { deferred } from "../deferred.ts";
import { FaultCounts } from "../faults.ts";
import type { TraceLine } from "../host.ts";
import { Scheduler } from "../scheduler.ts";
import type { CallLimit } from "./call-limit.ts";
import type { ClientDeath } from "./client-death.ts";
import { ClusterServed } from "./cluster-served.ts";
import {
  answersWithinMs,
  BrokenPromise,
  failureOf,
  settleMsDefault,
  shardsDefault,
  type SystemSimulationOptions,
  type SystemSimulationReport,
  transcriptLinesDefault,
  workloadsDefault,
} from "./simulation.ts";
import { type ClientCrash, isClusterEvent, makeSimulationPlan, type SimulationPlan } from "./simulation-plan.ts";
import { StandingChecks } from "./standing-checks.ts";
import { SystemWork, traceText } from "./system-work.ts";

/** Of virtual time, for a cluster without faults to come up. */
const startMs = 60_000;
const healMs = 120_000;
/** Shorter than a node's own, so that a client whose node stands still soon asks another. */
const deadlineMs = 10_000;
/** Of real time: a command that takes so long never ends. Long, so that a busy machine changes no run's course. */
const commandRealMs = 1000;
const repeatProbability = 0.1;
const probesPerShard = 2000;

export class ClusterSimulation<S extends SystemHandle> {
  readonly #system: S;
  readonly #options: SystemSimulationOptions<S>;
  readonly #nodes: number;
  readonly #seed: string;
  readonly #random: SeededRandom;
  readonly #scheduler: Scheduler;
  readonly #counts = new FaultCounts();
  readonly #cluster: SimulatedCluster;
  readonly #plan: SimulationPlan;
  readonly #faults: ClusterFaults;
  readonly #work: SystemWork<S>;
  readonly #standing: StandingChecks;
  /** Resolves once a node says that Onefold is broken. */
  readonly #bug = deferred<BrokenPromise>();
  readonly #durationMs: number;
  #isCalm = false;

  constructor(system: S, nodes: number, options: SystemSimulationOptions<S>, limit: CallLimit) {
    this.#system = system;
    this.#options = options;
    this.#nodes = nodes;
    this.#seed = String(options.seed);
    const notesKeptMax = options.transcriptLines ?? transcriptLinesDefault;
    this.#scheduler = new Scheduler({ eventsMax: 50_000_000, notesKeptMax });
    this.#random = new SeededRandom(this.#seed);
    const scheduler = this.#scheduler;
    const random = this.#random;
    this.#cluster = new SimulatedCluster({
      scheduler,
      random: random.fork("cluster"),
      counts: this.#counts,
      system: () => system,
      nodeCount: nodes,
      shardCount: options.shards ?? shardsDefault,
      realLimit: (code) => limit.call(commandRealMs, code),
      onTrace: (node, line) => this.#traced(node, line),
    });
    this.#durationMs = random.fork("calm").between(1000, 10_000);
    this.#plan =
      options.plan ??
      makeSimulationPlan(random.fork("plan"), {
        nodes: this.#cluster.names,
        servers: this.#cluster.engine.servers.all.map(({ name }) => name),
        workloads: options.workloads ?? workloadsDefault,
        durationMs: this.#durationMs,
        faults: options.faults as Parameters<typeof makeSimulationPlan>[1]["faults"],
      });
    this.#faults = new ClusterFaults(this.#cluster.world);
    const served = new ClusterServed({
      cluster: this.#cluster,
      scheduler,
      random: random.fork("served"),
      patienceMs: deadlineMs,
    });
    this.#standing = new StandingChecks({ cluster: this.#cluster, scheduler, system: system.definition });
    const repeats = random.fork("repeats");
    this.#work = new SystemWork({
      system,
      simulation: options,
      scheduler,
      random,
      counts: this.#counts,
      served,
      deadlineMs,
      death: (workload) => this.#deathOf(workload),
      calls: {
        onCommand: (address, name) => this.#standing.sent(address, name),
        repeats: () => repeats.chance(repeatProbability),
      },
    });
  }

  /** Throws `SimulationFailure`. */
  async run(): Promise<SystemSimulationReport> {
    try {
      await this.#scheduler.complete(Promise.race([this.#drive(), this.#bug.promise.then(thrown)]));
    } catch (cause) {
      throw failureOf(cause, { seed: this.#seed, transcript: this.#scheduler.notes, plan: this.#plan });
    } finally {
      this.#cluster.end();
    }
    const clients = this.#counts.get("client-crash");
    return {
      seed: this.#seed,
      nodes: this.#nodes,
      virtualMs: this.#scheduler.nowMs,
      events: this.#scheduler.eventCount,
      lives: this.#cluster.lifeCount,
      faults: {
        ...Object.fromEntries(this.#faults.counts()),
        ...(clients === 0 ? {} : { "client-crash": clients }),
      },
      operations: this.#work.operations,
      checks: this.#work.checks + this.#standing.checks,
      traceHash: this.#scheduler.traceHash,
      transcript: this.#scheduler.notes,
    };
  }

  async #drive(): Promise<void> {
    const work = this.#work;
    const scheduler = this.#scheduler;
    for (const name of this.#cluster.names) this.#cluster.start(name);
    await this.#served(startMs, "once it had been started");
    const workloads = work.run();
    const checks = this.#checkMeanwhile();
    this.#faults.run({ kinds: [], events: this.#plan.events.filter(isClusterEvent) });
    // Calm at last, when the work is done or when there has been enough of it.
    await Promise.race([workloads, checks, scheduler.sleep(this.#durationMs)]);
    this.#isCalm = true;
    this.#faults.heal();
    await this.#served(healMs, "after the faults");
    await work.within(answersWithinMs, workloads, "the workloads' last answers");
    await work.within(answersWithinMs, checks, "the answers that the invariants ask for");
    await scheduler.sleep(this.#options.settleMs ?? settleMsDefault);
    await this.#judge("at the end");
    await this.#crashAll();
    await this.#served(healMs, "after a crash of all nodes and servers");
    await this.#judge("after a crash of all nodes and servers");
  }

  /** Y3: checks now and then, one after the other, until the faults are over. */
  async #checkMeanwhile(): Promise<void> {
    const random = this.#random.fork("checks");
    for (;;) {
      await this.#scheduler.sleep(random.between(200, 2500));
      if (this.#isCalm) return;
      await this.#work.check();
    }
  }

  async #judge(when: string): Promise<void> {
    const work = this.#work;
    const service = work.service({ note: () => undefined });
    await work.within(
      answersWithinMs,
      work.check({ isAtRest: true }),
      `the answers that the invariants ask for, ${when}`,
    );
    await work.within(
      answersWithinMs,
      this.#standing.judge(service),
      `the answers that the last checks ask for, ${when}`,
    );
  }

  /** CS2. */
  async #served(limitMs: number, when: string): Promise<void> {
    const endMs = this.#scheduler.nowMs + limitMs;
    while (!this.#cluster.isServed) {
      if (this.#scheduler.nowMs > endMs) {
        throw new BrokenPromise("unserved", `Not every shard is served within ${limitMs} ms of virtual time ${when}.`);
      }
      await this.#scheduler.sleep(50);
    }
    await this.#work.within(limitMs, this.#writeEverywhere(), `an answer from every shard ${when}`);
  }

  /** A strong read is answered behind a record that its shard's owner has appended since: it writes, and knows nothing of the system. */
  async #writeEverywhere(): Promise<void> {
    const [definition] = this.#system.definition.entities.values();
    if (definition === undefined) return;
    const service = this.#work.service({ note: () => undefined });
    const state = this.#cluster.serving[0]?.cluster.systemLog.state;
    for (const { status, from, to } of state?.shards.values() ?? []) {
      if (status === "retired") continue;
      const id = this.#idIn({ from, to });
      if (id !== undefined) await this.#standing.stateOf(service, { kind: definition.name, id });
    }
  }

  /** Some id of the first kind in these slots; undefined where none is found, as a kind's affinity may have it. */
  #idIn({ from, to }: { readonly from: number; readonly to: number }): string | undefined {
    const [definition] = this.#system.definition.entities.values();
    for (let index = 0; index < probesPerShard; index++) {
      const id = `probe-${index}`;
      const slot = slotOfEntity(definition!, id, "default");
      if (from <= slot && slot < to) return id;
    }
    return undefined;
  }

  async #crashAll(): Promise<void> {
    const { engine, names } = this.#cluster;
    const servers = engine.servers.all.map(({ name }) => name);
    this.#scheduler.note("all nodes and servers crash");
    for (const name of names) this.#cluster.node(name).crash();
    for (const name of servers) engine.crashServer(name);
    await this.#scheduler.sleep(1000);
    for (const name of servers) engine.restartServer(name);
    for (const name of names) this.#cluster.start(name);
  }

  #deathOf(workload: number): () => ClientDeath | undefined {
    const death = this.#plan.events.find(
      (event): event is ClientCrash => event.kind === "client-crash" && event.workload === workload,
    );
    return () => (this.#isCalm ? undefined : death);
  }

  #traced(node: string, line: TraceLine): void {
    // The node itself has noted it without its facts.
    if (Object.keys(line.fields).length > 0) this.#scheduler.note(`${node} ${traceText(line)}`);
    if (line.message.includes("bug in Onefold") || line.message.includes("report this")) {
      this.#bug.resolve(new BrokenPromise("bug", `A node says that Onefold is broken: ${node} ${traceText(line)}`));
    }
  }
}

function thrown(error: Error): never {
  throw error;
}
