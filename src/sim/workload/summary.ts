/** What many simulations came to, for people: how much was done, what went wrong on purpose, and what must not have. */
import { FaultCounts } from "../faults.ts";
import type { DamageReport } from "./damage.ts";
import type { SimulationOptions, SimulationReport } from "./simulate.ts";

const wrongsShownMax = 5;
const traceLinesShownMax = 60;

export class SimulationSummary {
  readonly #faults = new FaultCounts();
  readonly #disturbances = new Map<string, number>();
  readonly #damages = new Map<string, number>();
  #seedCount = 0;
  #damageSeedCount = 0;
  #requestCount = 0;
  #unknownCount = 0;
  #lifeCount = 0;
  #virtualMs = 0;

  add(report: SimulationReport): void {
    this.#seedCount++;
    this.#requestCount += report.requestCount;
    this.#unknownCount += report.unknownCount;
    this.#lifeCount += report.lifeCount;
    this.#virtualMs += report.virtualMs;
    this.#faults.merge(report.counts);
    for (const [kind, count] of report.disturbed) {
      this.#disturbances.set(kind, (this.#disturbances.get(kind) ?? 0) + count);
    }
  }

  addDamage(report: DamageReport): void {
    this.#damageSeedCount++;
    this.#faults.merge(report.counts);
    const what = `${report.kind} ${report.outcome}`;
    this.#damages.set(what, (this.#damages.get(what) ?? 0) + 1);
  }

  toString(): string {
    const lines: string[] = [];
    if (this.#seedCount > 0) {
      lines.push(
        `${this.#seedCount} seeds: ${this.#requestCount} requests, ${this.#unknownCount} of their attempts cut off by a crash, ` +
          `${this.#lifeCount} lives of the node, ${(this.#virtualMs / 3_600_000).toFixed(1)} hours of virtual time`,
        `disturbances: ${listed(this.#disturbances)}`,
      );
    }
    if (this.#damageSeedCount > 0) lines.push(`${this.#damageSeedCount} damaged: ${listed(this.#damages)}`);
    lines.push(`faults that took effect: ${this.#faults}`);
    return lines.join("\n");
  }
}

function listed(counts: ReadonlyMap<string, number>): string {
  const sorted = [...counts].sort(([a], [b]) => (a < b ? -1 : 1));
  return sorted.length === 0 ? "none" : sorted.map(([name, count]) => `${name} ${count}`).join(", ");
}

/** A run as text that `parsePlan` reads again; `what` says what it once found. */
export function planText({ seed, program, faults }: SimulationReport, what: string): string {
  return `${JSON.stringify({ what, seed, faults: { ...faults, swarm: [...faults.swarm] }, program })}\n`;
}

/** Options for `simulate`, from `planText`. */
export function parsePlan(text: string): SimulationOptions & { readonly what: string } {
  const { what, seed, faults, program } = JSON.parse(text);
  return { what, seed, program, faults: { ...faults, swarm: new Set(faults.swarm) } };
}

/** A failed seed with what is needed to look into it. */
export function failureText(
  report: Pick<SimulationReport, "seed" | "wrongs"> & { readonly traceTail?: readonly string[] },
  replay: string,
): string {
  const more = report.wrongs.length - wrongsShownMax;
  return [
    `seed ${report.seed} failed; replay with: ${replay}`,
    ...report.wrongs.slice(0, wrongsShownMax).map((wrong) => `- ${wrong}`),
    ...(more > 0 ? [`- and ${more} more`] : []),
    ...(report.traceTail === undefined
      ? []
      : ["the end of the trace:", ...report.traceTail.slice(-traceLinesShownMax)]),
  ].join("\n");
}
