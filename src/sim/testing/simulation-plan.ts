/**
 * What goes wrong in a simulated cluster of a user's system, as data: faults of the cluster, and workloads that end in the middle. Can be
 * kept as JSON, given to `simulate` again, and shrunk.
 */
import type { SeededRandom } from "../../base/random.ts";
import {
  type ClusterFault,
  type ClusterFaultEvent,
  clusterFaults,
  engineDamages,
  makeClusterFaultsPlan,
  simplerFaults,
} from "../cluster/faults-plan.ts";
import { type ClientDeath, drawClientDeath } from "./client-death.ts";

/** A workload ends for ever at one of its calls. */
export interface ClientCrash extends ClientDeath {
  readonly kind: "client-crash";
  /** Its index. */
  readonly workload: number;
}

export type SimulatedEvent = ClusterFaultEvent | ClientCrash;

/** A plan goes with the seed, the nodes and the options of its run: what happens between its events follows from those. */
export interface SimulationPlan {
  readonly events: readonly SimulatedEvent[];
}

export type ClusterSystemFault = ClusterFault | "client-crash";

/** Every kind that a simulated cluster knows. */
export const clusterSystemFaults: readonly ClusterSystemFault[] = [...clusterFaults, "client-crash"];

/** What may happen while the engine keeps its promises: all but damage to what it has acknowledged. */
export const clusterSystemFaultsDefault: readonly ClusterSystemFault[] = clusterSystemFaults.filter(
  (kind) => kind === "client-crash" || !engineDamages.includes(kind),
);

export interface PlanOptions {
  readonly nodes: readonly string[];
  readonly servers: readonly string[];
  readonly workloads: number;
  readonly durationMs: number;
  /** Those that the seed chooses of; absent: the default ones. */
  readonly faults: readonly ClusterSystemFault[] | undefined;
}

/** Where somebody has named the faults, most of them are to be seen in most seeds. */
const probabilityOfNamed = 0.75;

export function makeSimulationPlan(random: SeededRandom, options: PlanOptions): SimulationPlan {
  const { nodes, servers, durationMs, workloads, faults } = options;
  const chosen = faults ?? clusterSystemFaultsDefault;
  const { events } = makeClusterFaultsPlan(random.fork("cluster"), {
    nodes,
    servers,
    durationMs,
    kinds: chosen.filter((kind) => kind !== "client-crash"),
    ...(faults === undefined ? {} : { probability: probabilityOfNamed }),
  });
  const clients = chosen.includes("client-crash") ? clientCrashes(random.fork("clients"), workloads) : [];
  return { events: [...clients, ...events] };
}

function clientCrashes(random: SeededRandom, workloads: number): ClientCrash[] {
  if (!random.chance(probabilityOfNamed)) return [];
  return Array.from({ length: workloads }, (_, workload) => workload)
    .filter(() => random.chance(0.5))
    .map((workload) => ({ kind: "client-crash", workload, ...drawClientDeath(random) }));
}

/** For shrinking. */
export function simplerEvents(event: SimulatedEvent): readonly SimulatedEvent[] {
  return event.kind === "client-crash" ? [] : simplerFaults(event);
}

export function isClusterEvent(event: SimulatedEvent): event is ClusterFaultEvent {
  return event.kind !== "client-crash";
}

/** A line for a person. */
export function eventText(event: SimulatedEvent): string {
  if (!isClusterEvent(event)) {
    const where = event.moment === "before" ? "before" : "in the middle of";
    return `client-crash: workload ${event.workload} ends ${where} its call ${event.call}`;
  }
  const { kind, atMs, durationMs, targets, amount } = event;
  const parts = [
    `at ${atMs} ms`,
    ...(durationMs === 0 ? [] : [`for ${durationMs} ms`]),
    ...(targets.length === 0 ? [] : [`to ${targets.join(", ")}`]),
    ...(amount === 0 ? [] : [`amount ${Number(amount.toPrecision(6))}`]),
  ];
  return `${kind}: ${parts.join(", ")}`;
}
