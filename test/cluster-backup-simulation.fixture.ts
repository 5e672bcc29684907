/**
 * A simulated cluster under faults and load that is backed up, and another one that is made of the backup: what is in it has to be what was
 * there at one moment.
 *
 * BS1 Everything that was acknowledged before the backup was asked for is in it, and whoever wrote one thing after having been told that
 *     another was done finds the second only with the first, whatever shards they are in.
 * BS2 Transactions are in it as a whole or not at all, and messages arrive once, in order, also those that were under way.
 * BS3 A request that is repeated under its key is answered, or takes hold, once.
 * BS4 The restored cluster comes to rest: nothing of a transaction or a message is left in between, and all copies are equal.
 */

import { BackupDecoder } from "../src/backup/decoder.ts";
import { assert } from "../src/base/assert.ts";
import { concatBytes } from "../src/base/bytes.ts";
import { OnefoldError } from "../src/base/errors.ts";
import { limits } from "../src/base/limits.ts";
import { SeededRandom } from "../src/base/random.ts";
import type { Value } from "../src/base/value.ts";
import { tables } from "../src/entity/keys.ts";
import { ClusterBackups } from "../src/runtime/cluster-backups.ts";
import { restoreToCluster } from "../src/runtime/cluster-restore.ts";
import type { Finding } from "../src/sim/checkers/history.ts";
import { type CallOutcome, ClusterClient, driller } from "../src/sim/cluster/cluster-client.ts";
import { drill, newerDrill } from "../src/sim/cluster/drill-system.ts";
import { ClusterFaults } from "../src/sim/cluster/faults.ts";
import {
  type ClusterFault,
  clusterFaults,
  engineDamages,
  makeClusterFaultsPlan,
} from "../src/sim/cluster/faults-plan.ts";
import { checkRest, unrest } from "../src/sim/cluster/rest.ts";
import { type ServingNode, SimulatedCluster } from "../src/sim/cluster/simulated-cluster.ts";
import { FaultCounts } from "../src/sim/faults.ts";
import { SimulatedNode } from "../src/sim/host.ts";
import { Scheduler } from "../src/sim/scheduler.ts";
import { readPiece } from "../src/store/snapshot-piece.ts";

export interface BackupRunOptions {
  readonly seed: string;
  readonly kinds?: readonly ClusterFault[];
  readonly durationMs?: number;
  readonly onLine?: (line: string) => void;
}

export interface BackupRunReport {
  readonly findings: readonly Finding[];
  readonly backupBytes: number;
  /** Attempts to back up that were given up. */
  readonly failedBackups: number;
  readonly acknowledged: number;
  /** Chains of which the backup has one write and lacks the next: the cut went through between. */
  readonly cutChains: number;
  /** Rows in the backup of what was under way between shards: messages, and transactions that were prepared or decided. */
  readonly underWay: Readonly<Record<Crossing, number>>;
  readonly faults: number;
}

/** The engine keeps what it acknowledges: a cluster that has lost something has nothing to back up. */
const kindsDefault = clusterFaults.filter((kind) => !engineDamages.includes(kind));
const chainCount = 3;
const chainLength = 4;
const purses = ["p0", "p1", "p2", "p3", "p4", "p5"];
const purseStart = 1000;
const healedMs = 300_000;

const crossings = ["outbox", "prepared", "decision"] as const;
type Crossing = (typeof crossings)[number];

interface Told {
  /** By token: whether it was told to have been done. */
  readonly tokens: Map<string, boolean>;
  /** By chain, the last number whose write to each register was told to be done. */
  readonly chains: number[][];
  readonly sent: Map<string, number>;
}

export async function backUpUnderFaults(options: BackupRunOptions): Promise<BackupRunReport> {
  const { seed, kinds = kindsDefault, durationMs = 5000, onLine } = options;
  const scheduler = new Scheduler({ eventsMax: 50_000_000, notesKeptMax: 0 });
  const random = new SeededRandom(`backup ${seed}`);
  const findings: Finding[] = [];
  const find = (anomaly: string, explanation: string): void => {
    findings.push({ anomaly, explanation });
  };
  const counts = new FaultCounts();
  const clusterOf = (name: string, systems: "both" | "newer"): SimulatedCluster =>
    new SimulatedCluster({
      scheduler,
      random: random.fork(name),
      counts,
      system: (choice) => (systems === "both" && choice === undefined ? drill : newerDrill),
      nodeCount: 3,
      shardCount: 4,
      snapshotBytes: 16 * 1024,
      // Boxes grow, and what has waited for one comes in one batch.
      segmentBytes: 1024 * 1024,
      onTrace: (node, { level, message, fields }) => {
        onLine?.(`${scheduler.nowMs.toFixed(0)} ${name} ${node} ${level}: ${message} ${textOf(fields)}`);
        if (message.includes("bug in Onefold") || message.includes("report this")) {
          find("bug", `${name} ${node}: ${message} ${textOf(fields)}`);
        }
      },
    });
  const cluster = clusterOf("first", "both");
  const servers = cluster.engine.servers.all.map(({ name }) => name);
  const plan = makeClusterFaultsPlan(random.fork("plan"), { nodes: cluster.names, servers, durationMs, kinds });
  const faults = new ClusterFaults(cluster.world);
  let report: BackupRunReport | undefined;

  const run = async (): Promise<void> => {
    for (const name of cluster.names) cluster.start(name);
    await until(scheduler, "the cluster to come up", () => cluster.isServed);
    const told: Told = { tokens: new Map(), chains: [], sent: new Map() };
    const load = new Load(cluster, scheduler, random.fork("load"), told, find);
    const loading = load.run();
    faults.run(plan);
    await scheduler.sleep(random.fork("when").next() * durationMs);
    const healing = scheduler.sleep(durationMs).then(() => {
      faults.heal();
      load.end();
    });
    const taken = await backUp(cluster, scheduler, random.fork("backups"), told);
    await healing;
    await loading;
    onLine?.(`${scheduler.nowMs.toFixed(0)} backed up: ${taken.bytes.length} bytes, ${taken.failedCount} failed`);
    const faultCount = faults.counts().reduce((sum, [, count]) => sum + count, 0);
    cluster.end();

    const second = clusterOf("second", "newer");
    await restore(second, scheduler, random.fork("restorer"), taken.bytes);
    for (const name of second.names) second.start(name);
    await until(scheduler, "the restored cluster to serve", () => second.isServed);
    const judged = await judge(second, scheduler, random.fork("judge"), { told, taken, find });
    const { bytes, failedCount } = taken;
    report = {
      ...judged,
      findings,
      underWay: rowsUnderWay(bytes),
      backupBytes: bytes.length,
      failedBackups: failedCount,
      acknowledged: [...told.tokens.values()].filter(Boolean).length,
      faults: faultCount,
    };
    second.end();
  };
  await scheduler.complete(run());
  assert(report !== undefined, "a run ends with a report");
  return report;
}

// -------------------------------------------------------------------------------------------------------------------- load

/** Clients that write all the time, and remember what they were told. */
class Load {
  readonly #cluster: SimulatedCluster;
  readonly #scheduler: Scheduler;
  readonly #random: SeededRandom;
  readonly #told: Told;
  readonly #find: (anomaly: string, explanation: string) => void;
  #isOver = false;

  constructor(
    cluster: SimulatedCluster,
    scheduler: Scheduler,
    random: SeededRandom,
    told: Told,
    find: (anomaly: string, explanation: string) => void,
  ) {
    this.#cluster = cluster;
    this.#scheduler = scheduler;
    this.#random = random;
    this.#told = told;
    this.#find = find;
  }

  end(): void {
    this.#isOver = true;
  }

  async run(): Promise<void> {
    const chains = Array.from({ length: chainCount }, (_, chain) => this.#chain(chain));
    await Promise.all([
      ...chains,
      this.#pay("pay-1"),
      this.#pay("pay-2"),
      this.#add(),
      this.#send("s0"),
      this.#send("s1"),
    ]);
  }

  /** BS1: writes one number after the other, each to all registers of the chain in turn. */
  async #chain(chain: number): Promise<void> {
    const client = this.#client(`chain-${chain}`);
    const random = this.#random.fork(`chain-${chain} pauses`);
    const last = Array.from({ length: chainLength }, () => 0);
    this.#told.chains[chain] = last;
    for (let number = 1; !this.#isOver; number++) {
      for (let place = 0; place < chainLength; place++) {
        const value = String(number);
        const outcome = await client.write((service, options) =>
          service.command({ kind: "register", id: registerOf(chain, place) }, "write", { value }, options),
        );
        if (outcome.kind !== "ok") return;
        last[place] = number;
        await this.#scheduler.sleep(random.next() * 15);
      }
    }
  }

  /** BS2. */
  async #pay(name: string): Promise<void> {
    const client = this.#client(name);
    const random = this.#random.fork(`${name} choices`);
    while (!this.#isOver) {
      const from = random.pick(purses);
      const to = random.pick(purses.filter((purse) => purse !== from));
      const input = { from, to, cents: 1 + Math.floor(random.next() * 50) };
      await client.write((service, options) => service.transaction("pay", input, options));
      await this.#scheduler.sleep(random.next() * 150);
    }
  }

  /** BS3: with keys, so that others can repeat it. */
  async #add(): Promise<void> {
    const client = this.#client("add");
    for (let number = 0; !this.#isOver; number++) {
      const token = `t${number}`;
      this.#told.tokens.set(token, false);
      const outcome = await addToken(client, token);
      this.#told.tokens.set(token, outcome.kind === "ok");
      await this.#scheduler.sleep(this.#random.next() * 200);
    }
  }

  /** BS2. */
  async #send(post: string): Promise<void> {
    const client = this.#client(post);
    for (let number = 1; !this.#isOver; number++) {
      const input = { to: `box-${post}`, letters: [`${post} ${number}`] };
      const outcome = await client.write((service, options) =>
        service.command({ kind: "post", id: post }, "send", input, options),
      );
      if (outcome.kind !== "ok") return;
      this.#told.sent.set(post, number);
      await this.#scheduler.sleep(this.#random.next() * 100);
    }
  }

  #client(name: string): ClusterClient {
    return clientOf(this.#cluster, this.#scheduler, this.#random.fork(name), name, this.#find);
  }
}

function registerOf(chain: number, place: number): string {
  return `chain-${chain}-${place}`;
}

function addToken(client: ClusterClient, token: string): Promise<CallOutcome> {
  return client.write((service) =>
    service.command(
      { kind: "tally", id: `tally-${token.length % 3}` },
      "add",
      { token },
      {
        principal: driller,
        deadlineMs: 10_000,
        idempotencyKey: `add ${token}`,
      },
    ),
  );
}

function clientOf(
  cluster: SimulatedCluster,
  scheduler: Scheduler,
  random: SeededRandom,
  name: string,
  find: (anomaly: string, explanation: string) => void,
): ClusterClient {
  const world = {
    get serving() {
      return cluster.serving;
    },
    sleep: (ms: number) => scheduler.sleep(ms),
    at: (ms: number, run: () => void) => scheduler.at(ms, run),
    nowMs: () => scheduler.nowMs,
  };
  const accuse = (what: string): void => find("unexplained-error", what);
  return new ClusterClient({ world, random, name, accuse, acknowledged: () => undefined });
}

// ----------------------------------------------------------------------------------------------------- backup and restore

interface Taken {
  readonly bytes: Uint8Array;
  readonly failedCount: number;
  /** What was told to have been done when the backup was asked for. */
  readonly tokens: readonly string[];
  readonly chains: readonly (readonly number[])[];
}

/** Of any node, again until there is one. */
async function backUp(
  cluster: SimulatedCluster,
  scheduler: Scheduler,
  random: SeededRandom,
  told: Told,
): Promise<Taken> {
  const endMs = scheduler.nowMs + healedMs;
  for (let failedCount = 0; ; failedCount++) {
    assert(scheduler.nowMs < endMs, "a cluster that is well again can be backed up");
    const { serving } = cluster;
    if (serving.length > 0) {
      const tokens = [...told.tokens].flatMap(([token, isDone]) => (isDone ? [token] : []));
      const chains = told.chains.map((last) => [...last]);
      const bytes = await backUpFrom(cluster, random.pick(serving), scheduler, random);
      if (bytes !== undefined) return { bytes, failedCount, tokens, chains };
    }
    await scheduler.sleep(200);
  }
}

/** Undefined where it failed, or the node has died. */
async function backUpFrom(
  cluster: SimulatedCluster,
  node: ServingNode,
  scheduler: Scheduler,
  random: SeededRandom,
): Promise<Uint8Array | undefined> {
  let died: (() => void) | undefined;
  const end = new Promise<undefined>((resolve) => {
    died = () => resolve(undefined);
  });
  const ended = node.onEnd(() => died!());
  const late = (forMs: number): Promise<undefined> => Promise.race([end, scheduler.sleep(forMs).then(() => undefined)]);
  const strain = new Strain(cluster, node.name, scheduler, random);
  const backups = new ClusterBackups(cluster.host(node.name)!, limits, () => node.cluster);
  try {
    const opened = await Promise.race([backups.open(), late(120_000)]);
    if (opened === undefined) return undefined;
    strain.end();
    const parts: Uint8Array[] = [];
    const chunks = opened.chunks()[Symbol.asyncIterator]();
    for (;;) {
      const next = await Promise.race([chunks.next(), late(20_000)]);
      if (next === undefined) return undefined;
      if (next.done === true) break;
      parts.push(next.value);
    }
    opened.close();
    const bytes = concatBytes(parts);
    assert(bytes.length === opened.sizeBytes, "a backup has the size that it was said to have");
    return bytes;
  } catch (error) {
    if (error instanceof OnefoldError) return undefined;
    throw error;
  } finally {
    strain.end();
    ended.forget();
  }
}

/** While a cut is taken, what the asking node says reaches one other node late: so shards are asked for it at different times. */
class Strain {
  #isOver = false;

  constructor(cluster: SimulatedCluster, asking: string, scheduler: Scheduler, random: SeededRandom) {
    const others = cluster.names.filter((name) => name !== asking);
    const strain = (): void => {
      if (this.#isOver) return;
      const clog = cluster.network.obstruct({ kind: "clog", from: [asking], to: [random.pick(others)] });
      scheduler.at(20 + random.next() * 60, () => {
        clog.clear();
        // Short enough that a shard is prepared in one gap, and held in another.
        scheduler.at(0.5 + random.next() * 4, strain);
      });
    };
    strain();
  }

  end(): void {
    this.#isOver = true;
  }
}

function rowsUnderWay(bytes: Uint8Array): Readonly<Record<Crossing, number>> {
  const counts = { outbox: 0, prepared: 0, decision: 0 };
  for (const { kind, content } of new BackupDecoder().push(bytes)) {
    if (kind === "manifest") continue;
    for (const { key } of readPiece(content)) {
      for (const table of crossings) if (key[0] === tables[table]) counts[table]++;
    }
  }
  return counts;
}

async function restore(
  second: SimulatedCluster,
  scheduler: Scheduler,
  random: SeededRandom,
  bytes: Uint8Array,
): Promise<void> {
  const restorer = new SimulatedNode({ scheduler, network: second.network, random, name: "restorer" });
  const host = restorer.start();
  const engine = {
    logs: second.engine.attach("restorer", host.life),
    blobs: (place: string) => second.engine.blobs(place, { node: "restorer", life: host.life }),
    close: () => Promise.resolve(),
  };
  async function* chunks(): AsyncIterable<Uint8Array> {
    for (let at = 0; at < bytes.length; at += 10_000) yield bytes.subarray(at, at + 10_000);
  }
  await restoreToCluster({ host, limits, engine, allowsLaxEngine: false, backup: chunks() });
  restorer.crash();
}

// ------------------------------------------------------------------------------------------------------------------- judge

async function judge(
  second: SimulatedCluster,
  scheduler: Scheduler,
  random: SeededRandom,
  {
    told,
    taken,
    find,
  }: { readonly told: Told; readonly taken: Taken; readonly find: (anomaly: string, explanation: string) => void },
): Promise<Pick<BackupRunReport, "cutChains">> {
  const client = clientOf(second, scheduler, random, "judge", find);
  const read = async (kind: string, id: string, query: string): Promise<Value | undefined> => {
    const outcome = await client.read((service) => service.query({ kind, id }, query, null, { principal: driller }));
    assert(outcome.kind === "ok", "a restored cluster answers");
    return outcome.output;
  };
  const tokensNow = async (): Promise<readonly string[]> =>
    (
      await Promise.all(
        [0, 1, 2, 3, 4].map(async (number) => (await read("tally", `tally-${number}`, "all")) as string[]),
      )
    ).flat();

  let cutChains = 0;
  for (const [chain, before] of taken.chains.entries()) {
    const values: number[] = [];
    for (let place = 0; place < chainLength; place++) {
      values.push(Number((await read("register", registerOf(chain, place), "read")) ?? 0));
    }
    if (values[0] !== values.at(-1)) cutChains++;
    const isOrdered = values.every((value, place) => value <= (values[place - 1] ?? value) && value >= values[0]! - 1);
    if (!isOrdered) find("torn-cut", `the chain ${chain} was restored as ${values}`);
    if (values.some((value, place) => value < (before[place] ?? 0))) {
      find("lost-write", `the chain ${chain} was told ${before} before the backup, and was restored as ${values}`);
    }
  }

  const found = await tokensNow();
  if (new Set(found).size < found.length) find("doubled", `tokens were restored twice: ${found}`);
  for (const token of taken.tokens) {
    if (!found.includes(token)) find("lost-write", `the token ${token} was acknowledged before the backup`);
  }
  for (const token of told.tokens.keys()) {
    if ((await addToken(client, token)).kind !== "ok") find("liveness", `the token ${token} was not added again`);
  }
  const repeated = await tokensNow();
  if (repeated.length !== told.tokens.size || new Set(repeated).size !== repeated.length) {
    find("doubled", `of ${told.tokens.size} tokens there are ${repeated.length} after each was repeated: ${repeated}`);
  }

  const audit = await client.read((service) => service.transaction("audit", { purses }, { principal: driller }));
  assert(audit.kind === "ok", "a restored cluster audits");
  const cents = (audit.output as number[]).reduce((sum, each) => sum + each, 0);
  if (cents !== purseStart * purses.length)
    find("conservation", `the purses have ${cents}: ${audit.output as number[]}`);

  for (const post of told.sent.keys()) {
    const state = await client.read((service) =>
      service.command(
        { kind: "post", id: post },
        "send",
        { to: `box-${post}`, letters: [`${post} last`] },
        {
          principal: driller,
          idempotencyKey: `last ${post}`,
        },
      ),
    );
    assert(state.kind === "ok", "a restored post sends");
    const sent = Number(state.output) - 1;
    const expected = [...Array.from({ length: sent }, (_, index) => `${post} ${index + 1}`), `${post} last`];
    let got: readonly string[] = [];
    const endMs = scheduler.nowMs + 60_000;
    while (got.length < expected.length && scheduler.nowMs < endMs) {
      await scheduler.sleep(200);
      got = ((await read("box", `box-${post}`, "all")) as { readonly got: string[] }).got;
    }
    if (got.join() !== expected.join()) find("letters", `${post} has sent ${sent}, and its box has got ${got}`);
  }

  const endMs = scheduler.nowMs + 60_000;
  while (unrest(second) !== undefined && scheduler.nowMs < endMs) await scheduler.sleep(200);
  const reason = unrest(second);
  if (reason !== undefined) find("liveness", `the restored cluster does not come to rest: ${reason}`);
  for (const finding of checkRest(second, [])) find(finding.anomaly, finding.explanation);
  return { cutChains };
}

async function until(scheduler: Scheduler, what: string, condition: () => boolean): Promise<void> {
  const endMs = scheduler.nowMs + healedMs;
  while (!condition()) {
    assert(scheduler.nowMs < endMs, `waited in vain for ${what}`);
    await scheduler.sleep(50);
  }
}

function textOf(fields: Readonly<Record<string, unknown>>): string {
  return Object.entries(fields)
    .map(
      ([name, value]) => `${name}=${value instanceof Error ? (value.stack ?? value.message) : JSON.stringify(value)}`,
    )
    .join(" ");
}
