/**
 * One run: a cluster of real processes, clients of all workloads, a plan of faults, then rest and the judgement.
 *
 * RN1 Whatever happens, nothing that the run has started or mounted is there when it has ended.
 * RN2 Data and logs go with it, unless they are evidence of something, or wanted.
 */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { SeededRandom } from "../../src/base/random.ts";
import type { Finding } from "../../src/sim/checkers/index.ts";
import { Bank } from "./bank.ts";
import { Caller } from "./caller.ts";
import { ChaosCluster, partiesOf } from "./cluster.ts";
import { Counters } from "./counters.ts";
import { SmallDisk } from "./full-disk.ts";
import type { Party, RunNetwork } from "./links.ts";
import { Lists } from "./lists.ts";
import { Meter, type Sample } from "./meter.ts";
import { type FaultKind, makePlan, type Plan } from "./plan.ts";
import { Registers } from "./registers.ts";
import { accountsOf, checkCopies, untilServed } from "./rest.ts";
import { ServiceWatch } from "./service-watch.ts";
import { Striker, type Struck } from "./striker.ts";
import type { Workload } from "./workload.ts";

export const workloadNames = ["bank", "counters", "lists", "registers"] as const;
export type WorkloadName = (typeof workloadNames)[number];

export interface RunOptions {
  readonly natsServer: string;
  readonly makeNetwork: (parties: readonly Party[], random: SeededRandom) => Promise<RunNetwork>;
  readonly seed: string;
  readonly durationMs: number;
  readonly kinds: readonly FaultKind[];
  readonly workloads: readonly WorkloadName[];
  /** Instead of one that is made of the seed. */
  readonly plan: Plan | undefined;
  readonly nodeCount: number;
  readonly clientsOfEach: number;
  /** Leaves data and logs in any case. */
  readonly keeps: boolean;
  readonly say: (sentence: string) => void;
  readonly signal: AbortSignal;
}

export interface RunResult {
  readonly plan: Plan;
  readonly network: string;
  readonly samples: readonly Sample[];
  readonly workloads: readonly { readonly name: string; readonly promise: string }[];
  readonly struck: readonly Struck[];
  /** From the first call to the end of the faults. */
  readonly facedMs: number;
  /** Until all was served again after the last fault; undefined where it never was. */
  readonly restMs: number | undefined;
  readonly findings: readonly Finding[];
  readonly notes: readonly string[];
  /** Kinds that were asked for and that this machine does not allow. */
  readonly skipped: readonly { readonly kind: FaultKind; readonly why: string }[];
}

const fullDiskServer = "e3";
/** Longer than any fault with what follows it. */
const deadlineMs = 60_000;
const startMsMax = 90_000;
const restMsMax = 90_000;
const thinkMs = 25;

export async function run(options: RunOptions): Promise<RunResult> {
  const random = new SeededRandom(options.seed);
  const directory = await mkdtemp(join(tmpdir(), "onefold-chaos-"));
  const cleanups: (() => Promise<void>)[] = [];
  let keeps = true;
  try {
    const result = await new Run(options, random, directory, cleanups).all();
    keeps = options.keeps || result.findings.length > 0;
    return result;
  } catch (error) {
    keeps = options.keeps || !options.signal.aborted;
    throw error;
  } finally {
    for (const cleanup of cleanups.reverse()) await cleanup();
    if (keeps) options.say(`Data and logs are in ${directory}.`);
    else await rm(directory, { recursive: true, force: true });
  }
}

class Run {
  readonly #options: RunOptions;
  readonly #random: SeededRandom;
  readonly #directory: string;
  /** Run in reverse at the end. */
  readonly #cleanups: (() => Promise<void>)[];
  readonly #meter = new Meter();
  readonly #findings: Finding[] = [];
  readonly #notes: string[] = [];
  readonly #skipped: { readonly kind: FaultKind; readonly why: string }[] = [];
  #isOver = false;
  #beganMs = 0;
  #writing = Promise.resolve();

  constructor(options: RunOptions, random: SeededRandom, directory: string, cleanups: (() => Promise<void>)[]) {
    this.#options = options;
    this.#random = random;
    this.#directory = directory;
    this.#cleanups = cleanups;
  }

  async all(): Promise<RunResult> {
    const { say, signal } = this.#options;
    const parties = partiesOf(this.#options.nodeCount);
    const network = await this.#options.makeNetwork(parties, this.#random.fork("network"));
    this.#cleanups.push(() => network.close());
    const cluster = await ChaosCluster.make({
      directory: this.#directory,
      natsServer: this.#options.natsServer,
      nodeCount: this.#options.nodeCount,
      network,
      onNote: (sentence) => this.#note(sentence),
    });
    const { kinds, disk } = await this.#possibleKinds(cluster, network);
    const plan = this.#options.plan ?? this.#makePlan(cluster, kinds);
    this.#cleanups.push(() => cluster.killAll());
    say(
      `Starting ${cluster.nodes.length} nodes and ${cluster.servers.length} servers of the engine (${network.kind}).`,
    );
    await cluster.startAll();
    const missing = await untilServed(cluster, { atMostMs: startMsMax, onWait: say, signal });
    if (missing.length > 0) throw new Error(`The cluster did not come up: ${missing.join("; ")}.`);

    const workloads = this.#options.workloads.map(makeWorkload);
    const callers: Caller[] = [];
    const striker = new Striker({
      cluster,
      network,
      disk,
      meter: this.#meter,
      onStrike: (sentence) => say(`${this.#time()}  ${sentence}`),
      accuse: (anomaly, what) => this.#accuse(anomaly, what),
      signal,
    });
    const watch = new ServiceWatch({
      cluster,
      path: join(this.#directory, "logs", "served.jsonl"),
      nowMs: () => this.#meter.nowMs() - this.#beganMs,
      onUnserved: (sentence) => {
        this.#note(sentence);
        this.#writeAccounts(cluster);
      },
    });
    this.#cleanups.push(() => watch.stop());
    const beganMs = this.#meter.nowMs();
    this.#beganMs = beganMs;
    const calling = Promise.all(
      workloads.flatMap((workload) =>
        Array.from({ length: this.#options.clientsOfEach }, (_, index) => {
          const caller = this.#caller(workload.name, `${workload.name}-${index + 1}`, cluster);
          callers.push(caller);
          return this.#operate(caller, workload);
        }),
      ),
    );
    const ending = signal;
    const aborted = new Promise<never>((_, reject) =>
      ending.addEventListener("abort", () => reject(ending.reason), { once: true }),
    );
    // Looked at where it is raced; between races nobody does.
    aborted.catch(() => undefined);
    // Clients that end before the faults do have failed.
    await Promise.race([striker.run(plan), calling, aborted]);
    const facedMs = this.#meter.nowMs() - beganMs;
    say("The faults are over; waiting until all is served again.");
    const unserved = await untilServed(cluster, {
      atMostMs: restMsMax,
      onWait: (problem) => {
        this.#note(problem);
        this.#writeAccounts(cluster);
      },
      signal,
    });
    for (const what of unserved) this.#accuse("not-served", what);
    const restMs = unserved.length > 0 ? undefined : this.#meter.nowMs() - beganMs - facedMs;
    this.#isOver = true;
    await Promise.race([calling, aborted]);
    for (const caller of callers) caller.close();
    if (restMs !== undefined) await this.#judge(cluster, workloads);
    await watch.stop();
    await this.#writing;
    await this.#end(cluster);
    return {
      plan,
      network: network.kind,
      samples: this.#meter.samples.map((sample) => ({ ...sample, atMs: sample.atMs - beganMs })),
      workloads: workloads.map(({ name, promise }) => ({ name, promise })),
      struck: striker.struck.map((each) => ({ ...each, fromMs: each.fromMs - beganMs, toMs: each.toMs - beganMs })),
      facedMs,
      restMs,
      findings: this.#findings,
      notes: this.#notes,
      skipped: this.#skipped,
    };
  }

  async #possibleKinds(
    cluster: ChaosCluster,
    network: RunNetwork,
  ): Promise<{ readonly kinds: readonly FaultKind[]; readonly disk: SmallDisk | undefined }> {
    const planned = this.#options.plan?.strikes.map(({ kind }) => kind) ?? this.#options.kinds;
    const skip = (kind: FaultKind, why: string): void => {
      this.#skipped.push({ kind, why });
      this.#options.say(`No ${kind}: ${why}`);
    };
    let disk: SmallDisk | undefined;
    if (planned.includes("full-disk")) {
      disk = await SmallDisk.mount(cluster.storeOf(fullDiskServer), (why) =>
        skip("full-disk", `a small disk for one server can't be mounted here (root may): ${why}`),
      );
      const mounted = disk;
      if (mounted !== undefined) this.#cleanups.push(() => mounted.release());
    }
    const isPossible = (kind: FaultKind): boolean =>
      kind === "full-disk" ? disk !== undefined : (kind !== "delay" && kind !== "loss") || network.slow !== undefined;
    for (const kind of ["delay", "loss"] as const) {
      if (planned.includes(kind) && !isPossible(kind)) skip(kind, `the network (${network.kind}) can't do that.`);
    }
    return { kinds: this.#options.kinds.filter(isPossible), disk };
  }

  #makePlan(cluster: ChaosCluster, kinds: readonly FaultKind[]): Plan {
    const { nodes, servers } = cluster;
    const { durationMs } = this.#options;
    return {
      ...makePlan({ random: this.#random.fork("plan"), durationMs, kinds, nodes, servers, fullDiskServer }),
      seed: this.#options.seed,
    };
  }

  #caller(workload: string, name: string, cluster: ChaosCluster): Caller {
    return new Caller({
      name,
      workload,
      urls: cluster.urls,
      meter: this.#meter,
      deadlineMs,
      accuse: (what) => this.#accuse("client-error", what),
    });
  }

  async #operate(caller: Caller, workload: Workload): Promise<void> {
    const random = this.#random.fork(caller.name);
    while (!this.#isOver) {
      await workload.operate(caller, random);
      await sleep(random.next() * 2 * thinkMs);
    }
  }

  async #judge(cluster: ChaosCluster, workloads: readonly Workload[]): Promise<void> {
    const { say, signal } = this.#options;
    say("Reading everything, and judging.");
    const judge = this.#caller("judge", "judge", cluster);
    try {
      for (const workload of workloads) {
        const findings = await workload.judge(judge);
        for (const { anomaly, explanation } of findings) this.#accuse(anomaly, `${workload.name}: ${explanation}`);
      }
      for (const { anomaly, explanation } of await checkCopies(cluster, workloads, signal)) {
        this.#accuse(anomaly, explanation);
      }
    } finally {
      judge.close();
    }
  }

  /** Nodes first: they finish what they have accepted. */
  async #end(cluster: ChaosCluster): Promise<void> {
    const ends = await Promise.all(cluster.nodes.map(async (node) => ({ node, end: await cluster.stop(node) })));
    for (const { node, end } of ends) {
      if (end !== "exit code 0") this.#accuse("unclean-end", `${node} was asked to end, and did so with ${end}`);
    }
    for (const server of cluster.servers) await cluster.stop(server);
  }

  /** Written beside the logs; the run waits for it before it ends. */
  #writeAccounts(cluster: ChaosCluster): void {
    const path = join(this.#directory, "logs", `accounts-${Math.round(this.#meter.nowMs())}.txt`);
    this.#writing = this.#writing.then(async () => writeFile(path, await accountsOf(cluster)));
  }

  /** Since calls began; before that since the start. */
  #time(): string {
    return `${((this.#meter.nowMs() - this.#beganMs) / 1000).toFixed(1).padStart(6)} s`;
  }

  #accuse(anomaly: string, explanation: string): void {
    this.#findings.push({ anomaly, explanation });
    this.#options.say(`FOUND ${anomaly}: ${explanation}`);
  }

  #note(sentence: string): void {
    const text = `${this.#time()}  ${sentence}`;
    this.#notes.push(text);
    this.#options.say(text);
  }
}

function makeWorkload(name: WorkloadName): Workload {
  switch (name) {
    case "bank":
      return new Bank();
    case "counters":
      return new Counters();
    case "lists":
      return new Lists();
    case "registers":
      return new Registers();
  }
}
