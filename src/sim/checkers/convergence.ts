/**
 * Convergence: replicas that have heard everything hold the same.
 *
 * CV1  Once nothing is under way, every replica has the same keys with the same values: else `diverged`, one finding a key.
 * CV2  It is the caller's to wait for quiescence. A replica that is still behind is a replica that diverged.
 */
import type { Finding } from "./history.ts";

export interface Replica {
  readonly name: string;
  /** Values, or digests of them, as text that is equal exactly if they are. */
  readonly entries: ReadonlyMap<string, string>;
}

const findingsMax = 20;
const textCharactersMax = 80;

/** At most 20 keys are told one by one; a last finding counts the others. */
export function checkConvergence(replicas: readonly Replica[]): readonly Finding[] {
  const keys = new Set(replicas.flatMap(({ entries }) => [...entries.keys()]));
  const findings: Finding[] = [];
  let hidden = 0;
  for (const key of [...keys].sort()) {
    const holders = new Map<string | undefined, string[]>();
    for (const { name, entries } of replicas) {
      const value = entries.get(key);
      holders.set(value, [...(holders.get(value) ?? []), name]);
    }
    if (holders.size <= 1) continue;
    if (findings.length === findingsMax) hidden++;
    else findings.push({ anomaly: "diverged", explanation: explain(key, holders) });
  }
  if (hidden > 0) findings.push({ anomaly: "diverged", explanation: `${hidden} more keys differ.` });
  return findings;
}

function explain(key: string, holders: ReadonlyMap<string | undefined, readonly string[]>): string {
  const lines = [...holders].map(
    ([value, names]) => `  ${names.join(", ")}: ${value === undefined ? "absent" : cut(value)}`,
  );
  return [`${key} is not the same everywhere:`, ...lines].join("\n");
}

function cut(text: string): string {
  return text.length > textCharactersMax ? `${text.slice(0, textCharactersMax)}…` : text;
}
