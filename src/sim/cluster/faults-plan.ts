/**
 * What goes wrong with a simulated cluster, as data: timed events, drawn from a seed, that can be saved as JSON, replayed and shrunk.
 * `faults.ts` carries them out. Each seed has only some of the kinds (swarm testing: Groce et al., ISSTA 2012).
 */
import { assert } from "../../base/assert.ts";
import type { SeededRandom } from "../../base/random.ts";
import { chooseSwarm } from "../faults.ts";

/** Whom an event strikes. `side`: some hosts, nodes and servers, that are cut off from the rest; `majority`: of the servers. */
type TargetKind = "none" | "node" | "some-nodes" | "server" | "side" | "minority" | "majority";

interface FaultShape {
  readonly target: TargetKind;
  /** From the shortest to the longest; [0, 0] for what is over at once. */
  readonly durationMs: readonly [number, number];
  /** Bounds of `amount`, and what it is. */
  readonly amount: readonly [number, number];
  readonly unit: "nothing" | "operations" | "probability" | "ppm" | "ms" | "choice";
  /** How often it is drawn beside others. Default 1. */
  readonly weight?: number;
}

const rate = { target: "none", durationMs: [200, 15_000], unit: "probability" } as const;
const cut = { durationMs: [100, 15_000], amount: [0, 0], unit: "nothing" } as const;
/** `amount` is the seed of a choice: of a file and a bit, a log and a record. */
const damage = { target: "none", durationMs: [0, 0], amount: [0, 1e9], unit: "choice", weight: 0.3 } as const;

/** Every kind, with what may be drawn for it. */
export const faultShapes = {
  // Nodes. A crash comes at the `amount`-th operation; the node is down for the duration.
  "node-crash": { target: "node", durationMs: [0, 5000], amount: [1, 2000], unit: "operations", weight: 2 },
  "node-pause": { target: "node", durationMs: [20, 12_000], amount: [0, 0], unit: "nothing" },
  "node-restart": { target: "node", durationMs: [0, 2000], amount: [0, 0], unit: "nothing" },
  "node-upgrade": { target: "node", durationMs: [0, 1000], amount: [0, 1e9], unit: "choice" },
  "planned-move": { target: "none", durationMs: [0, 0], amount: [0, 1e9], unit: "choice" },
  // Ways.
  cut: { ...cut, target: "side" },
  "cut-one-way": { ...cut, target: "side" },
  "cut-minority": { ...cut, target: "minority" },
  "cut-engine": { ...cut, target: "node" },
  "cut-peers": { ...cut, target: "node" },
  "cut-servers": { ...cut, target: "server" },
  clog: { ...cut, target: "node" },
  swizzle: { ...cut, target: "some-nodes" },
  "message-delay": { ...rate, amount: [0.01, 0.3] },
  "message-loss": { ...rate, amount: [0.01, 0.2] },
  "message-duplication": { ...rate, amount: [0.01, 0.3] },
  "message-reordering": { ...rate, amount: [0.01, 0.3] },
  // Disks of nodes; what a crash tears or loses comes with crashes.
  "full-disk": { target: "node", durationMs: [100, 8000], amount: [0, 50_000], unit: "choice" },
  "failed-sync": { target: "node", durationMs: [0, 0], amount: [1, 50], unit: "operations" },
  "failed-write": { target: "node", durationMs: [0, 0], amount: [1, 50], unit: "operations" },
  "failed-name": { target: "node", durationMs: [0, 0], amount: [1, 20], unit: "operations" },
  "misdirected-write": { target: "node", durationMs: [0, 0], amount: [1, 50], unit: "operations", weight: 0.3 },
  "bit-flip": { ...damage, target: "node" },
  // Clocks of nodes.
  "clock-drift": { target: "node", durationMs: [1000, 30_000], amount: [-500, 500], unit: "ppm" },
  "clock-jump": { target: "node", durationMs: [0, 0], amount: [-5000, 5000], unit: "ms" },
  "wild-clock": { target: "node", durationMs: [2000, 30_000], amount: [-3_600_000, 3_600_000], unit: "ms" },
  // Servers of the engine.
  "server-crash": { target: "server", durationMs: [200, 15_000], amount: [0, 0], unit: "nothing" },
  "server-stop": { target: "server", durationMs: [200, 5000], amount: [0, 0], unit: "nothing" },
  "server-pause": { target: "server", durationMs: [100, 12_000], amount: [0, 0], unit: "nothing" },
  "server-lag": { target: "server", durationMs: [500, 15_000], amount: [0, 0], unit: "nothing" },
  "quorum-loss": { target: "majority", durationMs: [500, 8000], amount: [0, 0], unit: "nothing", weight: 0.5 },
  // What the engine answers.
  "ambiguous-appends": { ...rate, amount: [0.01, 0.3] },
  "late-appends": { ...rate, amount: [0.01, 0.2] },
  "false-refusals": { ...rate, amount: [0.01, 0.3] },
  "stale-reads": { ...rate, amount: [0.05, 0.8] },
  "replica-reads": { ...rate, amount: [0.1, 1] },
  "tail-skips": { ...rate, amount: [0.01, 0.3] },
  "tail-repeats": { ...rate, amount: [0.01, 0.3] },
  "tail-silences": { ...rate, amount: [0.001, 0.1] },
  "tail-ends": { ...rate, amount: [0.001, 0.1] },
  "blob-refusals": { ...rate, amount: [0.05, 0.8] },
  // Damage to the engine.
  "engine-hole": damage,
  "engine-bit-flip": damage,
  "misdirected-record": damage,
  "engine-rollback": { ...damage, durationMs: [2000, 20_000] },
  "vanished-log": { ...damage, durationMs: [500, 10_000] },
  "blob-damage": damage,
} as const satisfies Record<string, FaultShape>;

export type ClusterFault = keyof typeof faultShapes;

export const clusterFaults = Object.keys(faultShapes) as readonly ClusterFault[];

/** Kinds that make the engine lose or change what it acknowledged: beyond what a healthy one ever does. */
export const engineDamages: readonly ClusterFault[] = [
  "engine-hole",
  "engine-bit-flip",
  "misdirected-record",
  "engine-rollback",
  "vanished-log",
  "blob-damage",
];

export interface ClusterFaultEvent {
  readonly kind: ClusterFault;
  /** Since the plan's beginning. */
  readonly atMs: number;
  /** Until it is taken back; 0 for what is over at once. */
  readonly durationMs: number;
  /** Names of nodes and servers; which, the kind's shape says. */
  readonly targets: readonly string[];
  /** What it is follows from the kind's shape; 0 where it is nothing. */
  readonly amount: number;
}

export interface ClusterFaultsPlan {
  /** The swarm, in the order of `clusterFaults`. */
  readonly kinds: readonly ClusterFault[];
  /** In order of time. */
  readonly events: readonly ClusterFaultEvent[];
}

export interface ClusterFaultsOptions {
  readonly nodes: readonly string[];
  readonly servers: readonly string[];
  /** All events begin within so long. */
  readonly durationMs: number;
  /** Between two events, on average. Default 500. */
  readonly betweenMs?: number;
  /** What the swarm is chosen of. Default all. */
  readonly kinds?: readonly ClusterFault[];
  /** The swarm is all of `kinds`. */
  readonly takesAll?: boolean;
}

export function makeClusterFaultsPlan(random: SeededRandom, options: ClusterFaultsOptions): ClusterFaultsPlan {
  const { durationMs, betweenMs = 500, kinds: choosable = clusterFaults, takesAll = false } = options;
  // Few kinds reach deep, many reach wide.
  const swarm = random.fork("swarm");
  const kinds = takesAll ? choosable : [...chooseSwarm(swarm, choosable, random.pick([0.1, 0.25, 0.5]))];
  const events: ClusterFaultEvent[] = [];
  if (kinds.length > 0) {
    const count = Math.max(1, Math.round((2 * random.next() * durationMs) / betweenMs));
    for (let index = 0; index < count; index++) events.push(makeEvent(random, pickKind(random, kinds), options));
  }
  return { kinds, events: events.sort((a, b) => a.atMs - b.atMs) };
}

function shapeOf(kind: ClusterFault): FaultShape {
  return faultShapes[kind];
}

function pickKind(random: SeededRandom, kinds: readonly ClusterFault[]): ClusterFault {
  const weights = kinds.map((kind) => shapeOf(kind).weight ?? 1);
  let left = random.next() * weights.reduce((total, weight) => total + weight, 0);
  const index = weights.findIndex((weight) => {
    left -= weight;
    return left < 0;
  });
  return kinds[index] ?? kinds[0]!;
}

function makeEvent(random: SeededRandom, kind: ClusterFault, options: ClusterFaultsOptions): ClusterFaultEvent {
  const shape = shapeOf(kind);
  const [amountMin, amountMax] = shape.amount;
  const [shortestMs, longestMs] = shape.durationMs;
  const isWhole = shape.unit !== "probability";
  // Short ones are as likely as long ones: what matters happens at all scales.
  const scale = random.pick([0.05, 0.3, 1]);
  return {
    kind,
    atMs: Math.round(random.next() * options.durationMs),
    durationMs: Math.round(shortestMs + random.next() * scale * (longestMs - shortestMs)),
    targets: pickTargets(random, shape.target, options),
    amount: isWhole ? random.between(amountMin, amountMax) : amountMin + random.next() * (amountMax - amountMin),
  };
}

function pickTargets(
  random: SeededRandom,
  target: TargetKind,
  { nodes, servers }: ClusterFaultsOptions,
): readonly string[] {
  const some = (names: readonly string[], countMin: number, countMax: number): readonly string[] =>
    random.shuffle(names).slice(0, random.between(countMin, countMax));
  switch (target) {
    case "none":
      return [];
    case "node":
      return [random.pick(nodes)];
    case "some-nodes":
      return some(nodes, 1, nodes.length);
    case "server":
      return [random.pick(servers)];
    case "side": {
      const hosts = [...nodes, ...servers];
      return some(hosts, 1, hosts.length - 1);
    }
    case "minority":
      return [...some(nodes, 0, nodes.length), ...some(servers, 1, Math.floor((servers.length - 1) / 2))];
    case "majority":
      return some(servers, Math.floor(servers.length / 2) + 1, servers.length);
  }
}

/** For shrinking: shorter, of fewer, of less. What an amount chooses is left as it is. */
export function simplerFaults(event: ClusterFaultEvent): readonly ClusterFaultEvent[] {
  const { durationMs, targets, amount } = event;
  const shape = shapeOf(event.kind);
  const simpler: ClusterFaultEvent[] = [];
  const shorterMs = Math.max(shape.durationMs[0], Math.floor(durationMs / 2));
  if (shorterMs < durationMs) simpler.push({ ...event, durationMs: shorterMs });
  if (targets.length > 1) {
    for (const left of targets) simpler.push({ ...event, targets: targets.filter((name) => name !== left) });
  }
  const isMeasure = shape.unit === "operations" || shape.unit === "ms" || shape.unit === "ppm";
  const smaller = Math.trunc(amount / 2);
  if (isMeasure && Math.abs(smaller) < Math.abs(amount) && smaller !== 0) simpler.push({ ...event, amount: smaller });
  return simpler;
}

/** Reads a plan that was saved as JSON. Throws `AssertionFailure` if it has kinds that aren't known (any more). */
export function parseClusterFaultsPlan(text: string): ClusterFaultsPlan {
  const plan = JSON.parse(text) as ClusterFaultsPlan;
  for (const kind of [...plan.kinds, ...plan.events.map((event) => event.kind)]) {
    assert(kind in faultShapes, `${kind} is no kind of fault`);
  }
  return plan;
}
