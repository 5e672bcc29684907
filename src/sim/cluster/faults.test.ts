import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { encodeUtf8 } from "../../base/bytes.ts";
import { OnefoldError } from "../../base/errors.ts";
import { SeededRandom } from "../../base/random.ts";
import { DiskError } from "../../host/host.ts";
import { SimulatedEngine } from "../engine/engine.ts";
import { noEngineFaults } from "../engine/engine-faults.ts";
import { FaultCounts, type FaultKind } from "../faults.ts";
import { type SimulatedHost, SimulatedNode } from "../host.ts";
import { reliableLink } from "../link.ts";
import { SimulatedNetwork } from "../network.ts";
import { Scheduler } from "../scheduler.ts";
import { ClusterFaults } from "./faults.ts";
import {
  type ClusterFault,
  type ClusterFaultEvent,
  type ClusterFaultsPlan,
  clusterFaults,
  faultShapes,
  makeClusterFaultsPlan,
} from "./faults-plan.ts";

const names = ["n1", "n2", "n3"];
const servers = ["e1", "e2", "e3"];

/** Nodes that do a little of everything: write files, append to a log and follow it, keep blobs, send each other messages. */
class Cluster {
  readonly scheduler = new Scheduler();
  readonly counts = new FaultCounts();
  readonly network: SimulatedNetwork;
  readonly engine: SimulatedEngine;
  readonly nodes: readonly SimulatedNode[];
  readonly faults: ClusterFaults;
  readonly calls: string[] = [];
  readonly errors: unknown[] = [];
  /** Appends that were acknowledged, by node. */
  readonly appended = new Map<string, number>();
  readonly #stopping = new Map<string, () => void>();

  constructor(seed: string | number) {
    const { scheduler, counts } = this;
    const random = new SeededRandom(seed);
    this.network = new SimulatedNetwork({ scheduler, counts, random: random.fork("network") });
    this.engine = new SimulatedEngine({ scheduler, random: random.fork("engine"), network: this.network });
    this.nodes = names.map(
      (name) => new SimulatedNode({ scheduler, counts, name, random: random.fork(name), network: this.network }),
    );
    this.faults = new ClusterFaults({
      scheduler,
      nodes: this.nodes,
      network: this.network,
      engine: this.engine,
      hooks: {
        start: (name, { codeChoice }) => {
          this.calls.push(`start ${name}${codeChoice === undefined ? "" : " upgraded"}`);
          this.start(name);
        },
        stop: (name) => {
          this.calls.push(`stop ${name}`);
          return new Promise((resolve) => this.#stopping.set(name, resolve));
        },
        move: () => this.calls.push("move"),
        heldTwice: () => Number.MAX_SAFE_INTEGER,
      },
    });
  }

  node(name: string): SimulatedNode {
    return this.nodes.find((node) => node.name === name)!;
  }

  start(name: string): void {
    const host = this.node(name).start();
    const expected = (error: unknown) => {
      if (!(error instanceof OnefoldError) && !(error instanceof DiskError)) this.errors.push(error);
    };
    this.#live(name, host).catch(expected);
  }

  async #live(name: string, host: SimulatedHost): Promise<void> {
    const retried = async (work: () => Promise<void>) => {
      try {
        await work();
      } catch (error) {
        if (!(error instanceof OnefoldError) && !(error instanceof DiskError)) throw error;
      }
    };
    const rest = (ms: number) => new Promise<void>((resolve) => void host.timers.after(ms, resolve));
    const endpoint = await host.network.listen(`${name}:1`, () => undefined);
    const engine = this.engine.attach(name, host.life);
    const blobs = this.engine.blobs("snapshots", { node: name, life: host.life });
    for (;;) {
      await rest(50);
      const stopping = this.#stopping.get(name);
      if (stopping !== undefined) {
        this.#stopping.delete(name);
        stopping();
        return;
      }
      for (const other of names) {
        for (let count = 0; other !== name && count < 3; count++) endpoint.send(`${other}:1`, encodeUtf8("hello"));
      }
      await retried(async () => {
        const file = await host.disk.open(`${name}.data`, { create: "always" });
        await file.write(await file.size(), new Uint8Array(2000).fill(1));
        await file.sync();
        await file.close();
      });
      await retried(async () => {
        const log = await engine.create(`log-of-${name}`, { firstSequence: 1 });
        const { last: begin } = await log.bounds();
        const tail = log.tail(Math.max(1, begin - 20), { record: () => undefined, ended: () => undefined });
        for (let count = 0; count < 5; count++) {
          const { last } = await log.bounds();
          const { kind } = await log.append(last + 1, encodeUtf8(`record ${last + 1}`));
          if (kind === "appended") this.appended.set(name, (this.appended.get(name) ?? 0) + 1);
          await rest(20);
        }
        tail.close();
        await blobs.put(encodeUtf8(`snapshot of ${name}`));
      });
    }
  }

  /** Starts all, runs the plan, heals, and demands that all make progress. */
  async run(plan: ClusterFaultsPlan, forMs: number): Promise<void> {
    for (const name of names) this.start(name);
    await this.scheduler.run({ untilMs: 1000 });
    this.faults.run(plan);
    await this.scheduler.run({ untilMs: 1000 + forMs });
    this.faults.heal();
    await this.scheduler.run({ untilMs: this.scheduler.nowMs + 15_000 });
    const before = new Map(this.appended);
    await this.scheduler.run({ untilMs: this.scheduler.nowMs + 3000 });
    for (const name of names) {
      assert.ok(this.node(name).alive, `${name} is up`);
      assert.ok((this.appended.get(name) ?? 0) > (before.get(name) ?? 0), `${name} makes progress`);
    }
    assert.deepEqual(this.errors, []);
    this.#assertHealed();
  }

  #assertHealed(): void {
    assert.deepEqual(this.network.behaviour, reliableLink);
    assert.deepEqual(this.engine.rates, noEngineFaults);
    const clocks = this.nodes.map(({ clock }) => [clock.wallMs(), clock.trueMs(1000)]);
    for (const [wallMs, trueMs] of clocks) {
      assert.ok(Math.abs(wallMs! - clocks[0]![0]!) < 5000, `${clocks}`);
      assert.equal(trueMs, 1000);
    }
    for (const one of [...names, ...servers]) {
      for (const other of [...names, ...servers]) assert.equal(this.network.way(one, other), undefined);
    }
    for (const { state } of this.engine.servers.all) assert.equal(state, "running");
  }
}

/** One event of each kind, such that it surely shows. */
function eventOf(kind: ClusterFault): ClusterFaultEvent {
  const { target, unit, amount } = faultShapes[kind];
  const targets = {
    none: [],
    node: ["n1"],
    "some-nodes": ["n1", "n2"],
    server: ["e1"],
    side: ["n1", "e1"],
    minority: ["n1", "e1"],
    majority: ["e1", "e2"],
  }[target];
  // What is drawn of an amount for a disk is the room that it has left.
  const most = kind === "full-disk" ? 0 : amount[1];
  const isMany = unit === "probability" || kind === "server-lag";
  return {
    kind,
    atMs: 100,
    durationMs: isMany ? 4000 : Math.min(3000, faultShapes[kind].durationMs[1]),
    targets,
    amount: unit === "operations" ? 5 : most,
  };
}

/** What must have been counted for a kind; for those that count nothing of their own, the test looks at calls. */
const counted: { readonly [kind in ClusterFault]: FaultKind | readonly string[] } = {
  "node-crash": "crash",
  "node-pause": "pause",
  "node-restart": ["stop n1", "start n1"],
  "node-upgrade": ["stop n1", "start n1 upgraded"],
  "planned-move": ["move"],
  cut: "cut-message",
  "cut-one-way": "cut-message",
  "cut-minority": "cut-request",
  "cut-engine": "cut-request",
  "cut-peers": "cut-message",
  "cut-servers": [],
  clog: "clogged-message",
  swizzle: "clogged-message",
  "message-delay": "delayed-message",
  "message-loss": "lost-message",
  "message-duplication": "duplicated-message",
  "message-reordering": "reordered-message",
  "full-disk": "full-disk",
  "failed-sync": "failed-sync",
  "failed-write": "failed-write",
  "failed-name": "failed-name",
  "misdirected-write": "misdirected-write",
  "bit-flip": "bit-flip",
  "clock-drift": "clock-drift",
  "clock-jump": "clock-jump",
  "wild-clock": "clock-drift",
  "server-crash": "server-crash",
  "server-stop": "server-stop",
  "server-pause": "server-pause",
  "server-lag": "server-lag",
  "quorum-loss": "quorum-loss",
  "ambiguous-appends": "ambiguous-append",
  "late-appends": "late-append",
  "false-refusals": "false-refusal",
  "stale-reads": "stale-read",
  "replica-reads": [],
  "tail-skips": "tail-skip",
  "tail-repeats": "tail-repeat",
  "tail-silences": "tail-silence",
  "tail-ends": "tail-end",
  "blob-refusals": "blob-refusal",
  "engine-hole": "engine-hole",
  "engine-bit-flip": "engine-bit-flip",
  "misdirected-record": "misdirected-record",
  "engine-rollback": "engine-rollback",
  "vanished-log": "vanished-log",
  "blob-damage": "blob-damage",
};

describe("the faults of a simulated cluster", () => {
  for (const kind of clusterFaults) {
    test(`${kind}: takes effect, is counted, and is over once all is healed`, async () => {
      const cluster = new Cluster(kind);
      await cluster.run({ kinds: [kind], events: [eventOf(kind)] }, 8_000);
      assert.deepEqual(cluster.faults.counts(), [[kind, 1]]);
      const expected = counted[kind];
      if (typeof expected === "string") assert.ok(cluster.counts.get(expected) > 0, cluster.counts.toString());
      else assert.deepEqual(cluster.calls, expected);
    });
  }

  test("of a whole plan leave a cluster that works, whatever the seed", async () => {
    const kinds = new Set<ClusterFault>();
    for (let seed = 0; seed < 20; seed++) {
      const plan = makeClusterFaultsPlan(new SeededRandom(seed), { nodes: names, servers, durationMs: 20_000 });
      const cluster = new Cluster(seed);
      try {
        await cluster.run(plan, 21_000);
      } catch (error) {
        throw new Error(`seed ${seed}`, { cause: error });
      }
      for (const [kind] of cluster.faults.counts()) kinds.add(kind);
    }
    assert.ok(kinds.size > 35, `only ${kinds.size} kinds took effect`);
  });

  test("of one plan are the same every time, also when it was saved", async () => {
    const plan = makeClusterFaultsPlan(new SeededRandom("same"), { nodes: names, servers, durationMs: 10_000 });
    const hashes: string[] = [];
    for (const each of [plan, JSON.parse(JSON.stringify(plan)) as ClusterFaultsPlan]) {
      const cluster = new Cluster("same");
      await cluster.run(each, 11_000);
      hashes.push(cluster.scheduler.traceHash);
    }
    assert.equal(hashes[0], hashes[1]);
  });
});
