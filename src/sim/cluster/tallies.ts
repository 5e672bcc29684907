/**
 * Tallies: tokens that are added once each, and reads of them of all three strengths.
 *
 * TA1 At the end a tally has what was acknowledged, once, and nothing that failed or that nobody added.
 * TA2 A tally only grows. So its length is its version, by which the session guarantees are checked.
 * TA3 What an eventual read saw is a beginning of what is there at the end. Without `staleForMs` it was no copy, and has all that was
 *     acknowledged before it was asked for.
 */
import type { SeededRandom } from "../../base/random.ts";
import type { Finding } from "../checkers/history.ts";
import { HistoryRecorder } from "../checkers/history-recorder.ts";
import { checkSessions, type VersionedInput } from "../checkers/session-guarantees.ts";
import { type CallOutcome, type ClusterClient, driller } from "./cluster-client.ts";
import type { DrillOperation, DrillPart, LastWord } from "./drill-part.ts";

const tallyCount = 6;

interface EventualRead {
  readonly id: string;
  readonly client: string;
  readonly tokens: readonly string[];
  /** How many of the tally's additions had been acknowledged when it was asked for, if the answer was to have them all. */
  readonly countMin: number;
}

export class Tallies implements DrillPart {
  readonly operations: readonly DrillOperation[] = [
    (client, random) => this.#add(client, random),
    (client, random) => this.#readInSession(client, random),
    (client, random) => this.#readEventually(client, random),
  ];
  /** Tokens by tally, and what is known of each. */
  readonly #tokens = new Map<string, Map<string, CallOutcome["kind"]>>();
  readonly #versions = new HistoryRecorder<VersionedInput, number>();
  readonly #eventual: EventualRead[] = [];
  #lastToken = 0;

  async #add(client: ClusterClient, random: SeededRandom): Promise<void> {
    const id = pick(random);
    const token = `${client.name}-${++this.#lastToken}`;
    const known = this.#tokensOf(id);
    known.set(token, "unknown");
    const invocation = this.#versions.invoke(client.name, { type: "write", key: id });
    const outcome = await client.write((service, options) =>
      service.command({ kind: "tally", id }, "add", { token }, options),
    );
    known.set(token, outcome.kind);
    if (outcome.kind === "ok") invocation.complete({ kind: "ok", output: outcome.output as number });
    else if (outcome.kind === "fail") invocation.complete({ kind: "fail" });
  }

  async #readInSession(client: ClusterClient, random: SeededRandom): Promise<void> {
    const id = pick(random);
    const invocation = this.#versions.invoke(client.name, { type: "read", key: id });
    const outcome = await client.readInSession((service, options) =>
      service.query({ kind: "tally", id }, "all", undefined, options),
    );
    if (outcome.kind === "ok") invocation.complete({ kind: "ok", output: (outcome.output as string[]).length });
    else invocation.complete({ kind: "fail" });
  }

  async #readEventually(client: ClusterClient, random: SeededRandom): Promise<void> {
    const id = pick(random);
    const acknowledgedCount = [...this.#tokensOf(id).values()].filter((kind) => kind === "ok").length;
    const options = { principal: driller, read: "eventual", deadlineMs: 5000 } as const;
    const outcome = await client.read((service) => service.query({ kind: "tally", id }, "all", undefined, options));
    if (outcome.kind !== "ok") return;
    const countMin = outcome.staleForMs === undefined ? acknowledgedCount : 0;
    this.#eventual.push({ id, client: client.name, tokens: outcome.output as string[], countMin });
  }

  async judge(ask: LastWord): Promise<readonly Finding[]> {
    const findings = [...checkSessions(this.#versions.history())];
    for (const [id, tokens] of this.#tokens) {
      const found = await ask((service) =>
        service.query({ kind: "tally", id }, "all", undefined, { principal: driller, deadlineMs: 10_000 }),
      );
      findings.push(...judgeTally(id, tokens, found as string[]));
      findings.push(...this.#judgeEventual(id, found as string[]));
    }
    return findings;
  }

  /** TA3. */
  *#judgeEventual(id: string, last: readonly string[]): Iterable<Finding> {
    for (const read of this.#eventual) {
      if (read.id !== id) continue;
      const { client, tokens, countMin } = read;
      const other = tokens.findIndex((token, index) => token !== last[index]);
      if (other >= 0) {
        const explanation = `${client} read ${tokens[other]} as ${other + 1}th of ${id}, where at the end is ${last[other]}`;
        yield { anomaly: "eventual-read-from-nowhere", explanation };
      }
      if (tokens.length < countMin) {
        const explanation = `${client} read ${tokens.length} tokens of ${id}, of no copy, after ${countMin} were acknowledged`;
        yield { anomaly: "stale-read", explanation };
      }
    }
  }

  #tokensOf(id: string): Map<string, CallOutcome["kind"]> {
    let tokens = this.#tokens.get(id);
    if (tokens === undefined) {
      tokens = new Map();
      this.#tokens.set(id, tokens);
    }
    return tokens;
  }
}

function pick(random: SeededRandom): string {
  return `t${random.integer(tallyCount)}`;
}

/** TA1. */
function* judgeTally(
  id: string,
  tokens: ReadonlyMap<string, CallOutcome["kind"]>,
  found: readonly string[],
): Iterable<Finding> {
  const counts = new Map<string, number>();
  for (const token of found) counts.set(token, (counts.get(token) ?? 0) + 1);
  for (const [token, kind] of tokens) {
    const count = counts.get(token) ?? 0;
    counts.delete(token);
    const what = `the tally ${id} has ${token} ${count} times`;
    if (count > 1) yield { anomaly: "doubled", explanation: what };
    if (count === 0 && kind === "ok") yield { anomaly: "lost-write", explanation: `${what}; it was acknowledged` };
    if (count > 0 && kind === "fail") yield { anomaly: "failed-write-took-hold", explanation: `${what}; it failed` };
  }
  for (const token of counts.keys()) {
    yield { anomaly: "from-nowhere", explanation: `the tally ${id} has ${token}, which nobody added` };
  }
}
