/** What many runs of simulated clusters came to, for people, and a run as a file that can be replayed. */
import type { ClusterFault } from "./faults-plan.ts";
import { parseClusterFaultsPlan } from "./faults-plan.ts";
import type { ClusterSimulationOptions, ClusterSimulationReport } from "./simulate-cluster.ts";

const findingsShownMax = 5;
const notesShownMax = 60;

export class ClusterSummary {
  readonly #faults = new Map<ClusterFault, number>();
  #seedCount = 0;
  #operationCount = 0;
  #virtualMs = 0;

  add({ operations, virtualMs, faults }: ClusterSimulationReport): void {
    this.#seedCount++;
    this.#operationCount += operations;
    this.#virtualMs += virtualMs;
    for (const [kind, count] of faults) this.#faults.set(kind, (this.#faults.get(kind) ?? 0) + count);
  }

  toString(): string {
    const faults = [...this.#faults].sort(([a], [b]) => (a < b ? -1 : 1)).map(([kind, count]) => `${kind} ${count}`);
    const minutes = (this.#virtualMs / 60_000).toFixed(0);
    return [
      `${this.#seedCount} clusters: ${this.#operationCount} operations in ${minutes} minutes of virtual time`,
      `faults that took effect: ${faults.length === 0 ? "none" : faults.join(", ")}`,
    ].join("\n");
  }
}

/** A failed run with what is needed to look into it. */
export function clusterFailureText(report: ClusterSimulationReport, replay: string): string {
  const { seed, findings, plan, notes } = report;
  const more = findings.length - findingsShownMax;
  return [
    `the cluster ${seed} failed; replay with: ${replay}`,
    ...findings.slice(0, findingsShownMax).map(({ anomaly, explanation }) => `- ${anomaly}: ${explanation}`),
    ...(more > 0 ? [`- and ${more} more`] : []),
    `the plan: ${JSON.stringify(plan)}`,
    ...(notes.length === 0 ? [] : ["the end of the trace:", ...notes.slice(-notesShownMax)]),
  ].join("\n");
}

/** A run as text that `parseClusterPlan` reads again; `what` says what it once found. */
export function clusterPlanText({ seed, setting, plan }: ClusterSimulationReport, what: string): string {
  return `${JSON.stringify({ what, seed, setting, plan })}\n`;
}

/** Options for `simulateCluster`, from `clusterPlanText`. */
export function parseClusterPlan(text: string): ClusterSimulationOptions & { readonly what: string } {
  const { what, seed, setting, plan } = JSON.parse(text);
  return { what, seed, ...setting, plan: parseClusterFaultsPlan(JSON.stringify(plan)) };
}
