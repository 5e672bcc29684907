/**
 * Linearizability (Herlihy and Wing, 1990): has each key one order of its operations that keeps real time and gives every output?
 *
 * LI1  Keys are checked one by one: linearizability is local, so a history is linearizable if each key's part is (P-compositionality;
 *      Horn and Kroening, "Faster linearizability checking via P-compositionality", FORTE 2015).
 * LI2  The search is `LinearizationSearch`'s: exact unless it gives up at its bound, which is the finding `undecided` and never silence.
 * LI3  What certainly failed is left out, and so is what changes nothing and has no known output: neither says anything.
 */
import { assert } from "../../base/assert.ts";
import { endOf, type Finding, type History, type Operation } from "./history.ts";
import { LinearizationSearch, type Placeable } from "./linearization-search.ts";
import { type SequentialModel, unknownOutput } from "./sequential-model.ts";
import { timelineOf } from "./timeline.ts";

export interface LinearizabilityOptions {
  /** Configurations that may be kept for one key before it is given up as `undecided`; 2,000,000 if absent. */
  readonly configurationsMax?: number;
}

const configurationsMaxDefault = 2_000_000;
/** Operations of the prefix that an explanation shows. */
const shownPrefixMax = 8;
const shownPendingMax = 24;

/** One finding for each key that is not linearizable (`non-linearizable`) or could not be decided (`undecided`). */
export function checkLinearizability<State, Input, Output>(
  model: SequentialModel<State, Input, Output>,
  history: History<Input, Output>,
  { configurationsMax = configurationsMaxDefault }: LinearizabilityOptions = {},
): readonly Finding[] {
  assert(configurationsMax >= 1, "a search needs at least one configuration");
  const findings: Finding[] = [];
  for (const [key, operations] of partition(model, history)) {
    const search = new LinearizationSearch(model, operations.map(placeable), configurationsMax);
    const result = search.run();
    switch (result.kind) {
      case "linearizable":
        break;
      case "undecided":
        findings.push({
          anomaly: "undecided",
          explanation: `key ${key}: after ${configurationsMax} configurations it is open whether its ${operations.length} operations can be put in order.`,
        });
        break;
      case "impossible": {
        const { order, stuck, pending } = result;
        const at = (index: number): Operation<Input, Output> => operations[index]!;
        findings.push({
          anomaly: "non-linearizable",
          explanation: explain(key, {
            total: operations.length,
            prefix: order.map(at),
            stuck: at(stuck),
            pending: pending.map(at),
          }),
        });
      }
    }
  }
  return findings;
}

/** The operations that say something (LI3), by key, in the order of their invocation. */
function partition<State, Input, Output>(
  model: SequentialModel<State, Input, Output>,
  history: History<Input, Output>,
): Map<string, Operation<Input, Output>[]> {
  const byKey = new Map<string, Operation<Input, Output>[]>();
  for (const operation of history) {
    const { input, outcome } = operation;
    if (outcome.kind === "fail" || (outcome.kind === "unknown" && model.effect(input, unknownOutput) === "reads"))
      continue;
    const key = model.key(input);
    const operations = byKey.get(key);
    if (operations === undefined) byKey.set(key, [operation]);
    else operations.push(operation);
  }
  for (const operations of byKey.values()) operations.sort((a, b) => a.invoked - b.invoked);
  return byKey;
}

function placeable<Input, Output>(operation: Operation<Input, Output>): Placeable<Input, Output> {
  const { invoked, input, outcome } = operation;
  return { invoked, end: endOf(operation), input, output: outcome.kind === "ok" ? outcome.output : unknownOutput };
}

interface Failure {
  readonly total: number;
  /** The longest prefix that could be put in order, in that order. */
  readonly prefix: readonly Operation<unknown, unknown>[];
  /** Had to be placed before the history could go on. */
  readonly stuck: Operation<unknown, unknown>;
  /** Under way at the same time, and not placed either. */
  readonly pending: readonly Operation<unknown, unknown>[];
}

function explain(key: string, { total, prefix, stuck, pending }: Failure): string {
  const shownPrefix = prefix.slice(-shownPrefixMax);
  const shownPending = pending.slice(0, shownPendingMax);
  const hidden = prefix.length - shownPrefix.length;
  return [
    `key ${key}: ${prefix.length} of ${total} operations can be put in order, and then the one marked ! fits nowhere.`,
    `Numbers: the longest order${hidden > 0 ? ` (its first ${hidden} are not shown)` : ""}. Marked ?: under way meanwhile, not placed.`,
    ...timelineOf([
      ...shownPrefix.map((operation, index) => ({ mark: String(hidden + index + 1), operation })),
      { mark: "!", operation: stuck },
      ...shownPending.map((operation) => ({ mark: "?", operation })),
    ]),
    ...(pending.length > shownPending.length ? [`and ${pending.length - shownPending.length} more under way`] : []),
  ].join("\n");
}
