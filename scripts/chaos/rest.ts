/**
 * After the faults: is all served again, and do all copies agree?
 *
 * RS1 Served is: every server in health, every node ready, a controller, every shard active at an owner that serves it, no follower without
 *     its copy.
 * RS2 Copies agree: an eventual read at each node comes to give the same for everything, within a bound.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { ClusterView } from "../../src/wire/cluster-view.ts";
import { checkConvergence, type Finding, type Replica } from "../../src/sim/checkers/index.ts";
import type { ChaosCluster } from "./cluster.ts";
import type { Workload } from "./workload.ts";

const lookMs = 200;
/** Waiting that nobody need be told of. */
const patienceMs = 10_000;
const answerMs = 3000;
const convergeMsMax = 30_000;

export interface RestOptions {
  readonly atMostMs: number;
  /** What is waited for, each time that it is something else, where it is waited for long. */
  readonly onWait: (problem: string) => void;
  readonly signal: AbortSignal;
}

/** Gives what is still wrong after `atMostMs`; nothing where all is served. */
export async function untilServed(
  cluster: ChaosCluster,
  { atMostMs, onWait, signal }: RestOptions,
): Promise<readonly string[]> {
  const beganMs = performance.now();
  const endMs = beganMs + atMostMs;
  let told = "";
  for (;;) {
    const problems = await problemsOf(cluster);
    if (problems.length === 0 || performance.now() > endMs) return problems;
    const [first] = problems as [string];
    // What only counts on is told once.
    const kind = first.replaceAll(/\d+/g, "#");
    if (performance.now() > beganMs + patienceMs && kind !== told) {
      told = kind;
      onWait(`Waiting: ${first}`);
    }
    await sleep(lookMs, undefined, { signal });
  }
}

async function problemsOf(cluster: ChaosCluster): Promise<readonly string[]> {
  const problems: string[] = [];
  for (const server of cluster.servers) {
    const complaint = await cluster.complaintOf(server);
    if (complaint !== undefined) problems.push(`${server}: ${complaint}`);
  }
  for (const node of cluster.nodes) {
    const ready = await get(`${cluster.urlOf(node)}/readyz`);
    if (ready.status !== 200) problems.push(`${node} is not ready: ${whyNotReady(ready.text)}`);
  }
  if (problems.length > 0) return problems;
  for (const node of cluster.nodes) {
    const { status, text } = await get(`${cluster.urlOf(node)}/v1/cluster`);
    if (status !== 200) return [`${node} tells nothing of the cluster: ${status}`];
    problems.push(...problemsInView(JSON.parse(text) as ClusterView, cluster.nodes.length));
  }
  return problems;
}

/** What `/readyz` names, or as much as says what it was instead. */
function whyNotReady(text: string): string {
  try {
    const { state, sequence, problems } = JSON.parse(text) as Readonly<Record<string, unknown>>;
    return JSON.stringify({ state, sequence, problems });
  } catch (error) {
    if (error instanceof SyntaxError) return text.slice(0, 200);
    throw error;
  }
}

function problemsInView(view: ClusterView, nodeCount: number): readonly string[] {
  const problems: string[] = [];
  if (view.controller === null) problems.push(`${view.node} knows of no controller`);
  const live = view.nodes.filter(({ status, answers }) => status === "live" && answers);
  if (live.length !== nodeCount) problems.push(`${view.node} knows of ${live.length} nodes that live`);
  for (const { id, status, isServed, followers } of view.shards) {
    if (status !== "active" || !isServed) problems.push(`shard ${id} is ${status}${isServed ? "" : ", not served"}`);
    for (const { node, sequence } of followers) if (sequence === null) problems.push(`${node} has no copy of ${id}`);
  }
  return problems;
}

/** What each node tells of itself and its cluster, as text: evidence where something does not come to rest. */
export async function accountsOf(cluster: ChaosCluster): Promise<string> {
  const texts: string[] = [];
  for (const node of cluster.nodes) {
    for (const path of ["/readyz", "/v1/cluster", "/metrics"]) {
      texts.push(`${node} ${path}\n${(await get(`${cluster.urlOf(node)}${path}`)).text}\n`);
    }
  }
  return texts.join("\n");
}

/** RS2. */
export async function checkCopies(
  cluster: ChaosCluster,
  workloads: readonly Workload[],
  signal: AbortSignal,
): Promise<readonly Finding[]> {
  const endMs = performance.now() + convergeMsMax;
  for (;;) {
    const replicas: Replica[] = [];
    for (const node of cluster.nodes) {
      const entries = new Map<string, string>();
      for (const { kind, id, query } of workloads.flatMap((workload) => workload.queries())) {
        const { status, text } = await get(`${cluster.urlOf(node)}/v1/entities/${kind}/${id}/${query}?read=eventual`);
        entries.set(`${kind}/${id}`, status === 200 ? text : `HTTP ${status}`);
      }
      replicas.push({ name: node, entries });
    }
    const findings = checkConvergence(replicas);
    const failed = replicas.some(({ entries }) => [...entries.values()].some((text) => text.startsWith("HTTP ")));
    if ((findings.length === 0 && !failed) || performance.now() > endMs) {
      return failed && findings.length === 0
        ? [{ anomaly: "unread", explanation: "No node answers eventual reads." }]
        : findings;
    }
    await sleep(lookMs, undefined, { signal });
  }
}

/** Status 0 where no answer came within some seconds. */
export async function get(url: string): Promise<{ readonly status: number; readonly text: string }> {
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(answerMs) });
    return { status: response.status, text: await response.text() };
  } catch (error) {
    // Not listening, or not answering.
    if (error instanceof Error) return { status: 0, text: error.message };
    throw error;
  }
}
