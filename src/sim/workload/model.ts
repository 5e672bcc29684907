/**
 * The model: what an entity must be after the commands that it says it ran, replayed one by one in plain JavaScript. It knows
 * nothing of logs, batches, locks or crashes, and that is its value.
 */
import type { JournalEntry, Look } from "./plan.ts";
import { childTag, parentOf } from "./plan.ts";
import type { Recording } from "./recording.ts";

export interface ModelTimer {
  readonly tag: string;
  readonly dueMs: number;
}

/** One life of one entity, replayed. */
export interface ModelLife {
  readonly birth: string;
  readonly journal: readonly JournalEntry[];
  /** `looks[n]` is what a query must answer after n commands; `looks[0]` before the first. */
  readonly looks: readonly Look[];
  /** What is left when all commands have run. */
  readonly timers: ReadonlyMap<string, ModelTimer>;
  readonly endsItself: boolean;
}

export const nothingThere: Look = { birth: null, count: 0, balance: 0, last: null, items: [] };

/**
 * Replays a life. `isDead` says of a timer's tag that it fired and failed, which leaves no mark in the journal.
 * Throws a sentence where the journal can't have come about.
 */
export function replayLife(
  recording: Recording,
  journal: readonly JournalEntry[],
  isDead: (tag: string) => boolean,
): ModelLife {
  const birth = journal[0]![0];
  const items = new Map<string, number>();
  const timers = new Map<string, ModelTimer>();
  const looks: Look[] = [nothingThere];
  let balance = 0;
  let lastMs = 0;
  let endsItself = false;
  for (const [index, [tag, nowMs]] of journal.entries()) {
    const intention = recording.intention(tag);
    if (intention === undefined) throw new Error(`nobody planned ${tag}`);
    const { plan, relation } = intention;
    if (endsItself) throw new Error(`${tag} ran after the entity had ended itself`);
    if (plan.end !== undefined && plan.end !== "delete") throw new Error(`${tag} was to ${plan.end} and took hold`);
    if (nowMs < lastMs) throw new Error(`log time went back from ${lastMs} to ${nowMs} at ${tag}`);
    lastMs = nowMs;
    if (relation === "timer") fire(recording, timers, tag, nowMs, isDead);
    balance += plan.add ?? 0;
    if (balance < 0) throw new Error(`${tag} left a balance of ${balance}`);
    for (const [key, value] of plan.put ?? []) items.set(key, value);
    for (const key of plan.remove ?? []) items.delete(key);
    if (plan.cancel !== undefined) timers.delete(plan.cancel);
    for (const [at, { key, delayMs }] of (plan.timers ?? []).entries()) {
      timers.set(key, { tag: childTag.timer(tag, at), dueMs: Math.ceil(nowMs + delayMs) });
    }
    endsItself = plan.end === "delete";
    const sorted = [...items].sort(([a], [b]) => (a < b ? -1 : 1));
    looks.push({ birth, count: index + 1, balance, last: tag, items: sorted });
  }
  if (endsItself) timers.clear();
  return { birth, journal, looks, timers, endsItself };
}

function fire(
  recording: Recording,
  timers: Map<string, ModelTimer>,
  tag: string,
  nowMs: number,
  isDead: (tag: string) => boolean,
): void {
  const { parent, index } = parentOf(tag)!;
  const { key } = recording.intention(parent)!.plan.timers![index]!;
  const timer = timers.get(key);
  if (timer?.tag !== tag) {
    // A timer that was cancelled or replaced by a command after it had fired is the only excuse, and that leaves a mark.
    throw new Error(`the timer ${tag} fired though ${timer === undefined ? "it was gone" : `${timer.tag} stood`}`);
  }
  if (isDead(tag)) throw new Error(`the timer ${tag} is both done and a dead letter`);
  if (nowMs < timer.dueMs) throw new Error(`the timer ${tag} fired at ${nowMs}, due at ${timer.dueMs}`);
  timers.delete(key);
}
