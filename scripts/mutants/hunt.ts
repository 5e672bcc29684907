/**
 * Looks for mutants, several at once, each with its own trial.
 *
 * HU1 What finds a mutant must find nothing without it: the unbroken sources run the same seed, or the same tests. A seed that fails there
 *     as well proves nothing, is told, and the next ones are tried.
 * HU2 A mutant hangs if it finishes no seed for `hangMsMin`, or for longer where the unbroken sources are slow.
 */
import { type Mutant, seedsMax, type Trial, trialKey } from "./mutant.ts";
import { runTrial, type TrialOutcome } from "./trial.ts";
import { Workshop } from "./workshop.ts";

/** `seeds`: how many were tried. */
export type Verdict =
  | { readonly kind: "caught"; readonly seeds: number; readonly by: string }
  | { readonly kind: "missed"; readonly seeds: number }
  /** An edit does not apply to the sources. */
  | { readonly kind: "stale"; readonly why: string };

export interface Result {
  readonly mutant: Mutant;
  readonly verdict: Verdict;
  readonly seconds: number;
}

export interface HuntOptions {
  /** With the unbroken sources. */
  readonly root: string;
  readonly jobs: number;
  /** Instead of what mutants say, or at most. */
  readonly seedsMax: number;
  readonly onResult: (result: Result, done: { readonly count: number; readonly of: number }) => void;
  /** The unbroken sources fail by themselves. */
  readonly onBrokenControl: (trial: string, outcome: TrialOutcome) => void;
}

const hangMsMin = 60_000;
/** A healing that waits in vain takes some times as long as a run that goes well. */
const hangsTimesSlowest = 15;

export class Hunt {
  readonly #options: HuntOptions;
  readonly #slowestMs = new Map<string, number>();
  /** By trial and seed: what the unbroken sources do (HU1). */
  readonly #controls = new Map<string, Promise<TrialOutcome>>();

  constructor(options: HuntOptions) {
    this.#options = options;
  }

  /** In the order of the mutants. */
  async run(mutants: readonly Mutant[]): Promise<readonly Result[]> {
    const { root, jobs, onResult } = this.#options;
    const results: Result[] = new Array(mutants.length);
    let next = 0;
    let count = 0;
    const work = async (number: number): Promise<void> => {
      const workshop = await Workshop.open(root, number);
      try {
        while (next < mutants.length) {
          const index = next++;
          results[index] = await this.#result(mutants[index]!, workshop);
          onResult(results[index], { count: ++count, of: mutants.length });
        }
      } finally {
        await workshop.remove();
      }
    };
    await Promise.all(Array.from({ length: Math.min(jobs, mutants.length) }, (_, number) => work(number)));
    return results;
  }

  async #result(mutant: Mutant, workshop: Workshop): Promise<Result> {
    const beganMs = performance.now();
    const verdict = await this.#verdict(mutant, workshop);
    return { mutant, verdict, seconds: (performance.now() - beganMs) / 1000 };
  }

  async #verdict(mutant: Mutant, workshop: Workshop): Promise<Verdict> {
    const { trial } = mutant;
    const seeds = Math.min(mutant.seeds ?? seedsMax[trial.kind], this.#options.seedsMax);
    // Measures the unbroken sources before anything is taken for a hang (HU2).
    await this.#control(trial, 0);
    for (let from = 0; from < seeds; ) {
      const run = { directory: workshop.directory, from, count: seeds - from, hangsAfterMs: this.#hangsAfterMs(trial) };
      let outcome: TrialOutcome;
      try {
        outcome = await workshop.broken(mutant.edits, () => runTrial(trial, run));
      } catch (error) {
        return { kind: "stale", why: error instanceof Error ? error.message : String(error) };
      }
      if (outcome.kind === "nothing") break;
      const control = await this.#control(trial, outcome.seed);
      if (control.kind === "nothing") return { kind: "caught", seeds: outcome.seed + 1, by: outcome.what };
      from = outcome.seed + 1;
    }
    return { kind: "missed", seeds };
  }

  #hangsAfterMs(trial: Trial): number {
    return Math.max(hangMsMin, hangsTimesSlowest * (this.#slowestMs.get(trialKey(trial)) ?? 0));
  }

  #control(trial: Trial, seed: number): Promise<TrialOutcome> {
    const key = `${trialKey(trial)} ${seed}`;
    let control = this.#controls.get(key);
    if (control === undefined) {
      control = this.#runControl(trial, seed);
      this.#controls.set(key, control);
    }
    return control;
  }

  async #runControl(trial: Trial, seed: number): Promise<TrialOutcome> {
    const { root, onBrokenControl } = this.#options;
    const outcome = await runTrial(trial, {
      directory: root,
      from: seed,
      count: 1,
      hangsAfterMs: 10 * hangMsMin,
      onSeed: (durationMs) => {
        const key = trialKey(trial);
        this.#slowestMs.set(key, Math.max(durationMs, this.#slowestMs.get(key) ?? 0));
      },
    });
    if (outcome.kind === "found") onBrokenControl(trialKey(trial), outcome);
    return outcome;
  }
}
