/** What a mutant is: sources broken on purpose, what they guarded against, and the trial that has to notice. */

/** One change of one file. */
export interface Edit {
  /** Relative to the root, with `/`. */
  readonly file: string;
  /** Stands there exactly once; an edit that does not apply (any more) is an error, not a success. */
  readonly from: string;
  readonly to: string;
}

/** How a mutant is looked for. */
export type Trial =
  /** The simulated node alone (`src/sim/workload`), under random programs, or under damage of what it keeps. */
  | { readonly kind: "program" | "damage" }
  /** A simulated cluster under the faults of this regime (`regimes.ts`). */
  | { readonly kind: "cluster"; readonly regime: string }
  /** Tests that must fail: for what no simulation can see. */
  | { readonly kind: "tests"; readonly files: readonly string[] };

export interface Mutant {
  /** What the broken code does, as a clause. */
  readonly name: string;
  /** What is broken: hazards (`hazards.ts`), and invariants as the sources name them. */
  readonly breaks: readonly string[];
  readonly edits: readonly Edit[];
  readonly trial: Trial;
  /** So many seeds are tried at most. Default: `seedsMax`. */
  readonly seeds?: number;
}

/** By default a mutant has to be found by one of so many seeds. */
export const seedsMax = { program: 1500, damage: 1500, cluster: 40, tests: 1 } as const satisfies Record<
  Trial["kind"],
  number
>;

/** Mutants with the same key are looked for by the same program, so that they share what is known of the unbroken sources. */
export function trialKey(trial: Trial): string {
  switch (trial.kind) {
    case "program":
    case "damage":
      return trial.kind;
    case "cluster":
      return `cluster ${trial.regime}`;
    case "tests":
      return `tests ${trial.files.join(" ")}`;
  }
}

/** The text after the edit. Throws where it does not apply. */
export function applied(edit: Edit, text: string): string {
  const count = text.split(edit.from).length - 1;
  if (count !== 1)
    throw new Error(`${edit.file} has the text ${count} times that is to be replaced once: ${edit.from}`);
  return text.replace(edit.from, () => edit.to);
}
