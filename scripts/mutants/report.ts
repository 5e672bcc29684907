/** What a hunt came to, for people and for programs. */
import type { Result } from "./hunt.ts";
import { type Mutant, trialKey } from "./mutant.ts";

/** A table in Markdown. */
export function table(results: readonly Result[]): string {
  const rows = results.map(({ mutant, verdict, seconds }) => {
    const found = verdict.kind === "caught" ? verdict.by : verdict.kind === "stale" ? verdict.why : "MISSED";
    const seeds = verdict.kind === "stale" ? "" : String(verdict.seeds);
    return [mutant.name, mutant.breaks.join(", "), trialKey(mutant.trial), seeds, seconds.toFixed(0), found];
  });
  const head = ["mutant", "breaks", "trial", "seeds", "s", "found by"];
  return [head, head.map(() => "---"), ...rows].map((cells) => `| ${cells.map(cell).join(" | ")} |`).join("\n");
}

function cell(text: string): string {
  return (text.length > 140 ? `${text.slice(0, 139)}…` : text).replaceAll("|", "\\|");
}

export function line({ mutant, verdict, seconds }: Result): string {
  const after = `(${seconds.toFixed(1)} s)`;
  switch (verdict.kind) {
    case "caught":
      return `caught by seed ${verdict.seeds}: ${mutant.name} ${after}\n        ${verdict.by}`;
    case "missed":
      return `MISSED in ${verdict.seeds} seeds: ${mutant.name} ${after}`;
    case "stale":
      return `DOES NOT APPLY: ${mutant.name}\n        ${verdict.why}`;
  }
}

export function listed({ name, breaks, trial }: Mutant): string {
  return `${name}  [${trialKey(trial)}]  ${breaks.join(", ")}`;
}
