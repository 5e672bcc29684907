/**
 * Messages and timers, checked against what the entities remember (G6).
 *
 * D1  What was sent by a command that took hold has arrived once, or is a dead letter once; nothing else has arrived.
 * D2  From one sender to one receiver, messages arrive in the order in which they were sent.
 * D3  A timer that nothing cancelled, replaced or ended has fired once, or is a dead letter once.
 * D4  A dead letter has a reason.
 */
import type { ModelTimer } from "./model.ts";
import { childTag, parentOf } from "./plan.ts";
import type { Recording } from "./recording.ts";

/** A dead letter of a plan that a message or a timer carried. */
export interface DeadLetterFact {
  readonly tag: string;
  readonly entity: string;
  readonly code: string;
}

interface Place {
  readonly entity: string;
  readonly life: number;
  readonly count: number;
}

export interface DeliveryFacts {
  readonly recording: Recording;
  readonly deadLetters: readonly DeadLetterFact[];
  readonly excusable: ReadonlySet<string>;
  readonly placed: (tag: string) => Place | undefined;
  /** Entities the order of whose lives is not known. */
  readonly unordered: ReadonlySet<string>;
  /** All commands that took hold. */
  readonly tags: readonly string[];
  /** Timers that still stand in the lives that go on. */
  readonly pendingTimers: readonly ModelTimer[];
}

export function checkDeliveries(facts: DeliveryFacts): readonly string[] {
  return [...checkMessages(facts), ...checkOrder(facts), ...checkTimers(facts), ...checkDeadLetters(facts)];
}

function* checkMessages({ recording, deadLetters, placed, tags }: DeliveryFacts): Iterable<string> {
  const dead = new Map<string, number>();
  for (const { tag } of deadLetters) dead.set(tag, (dead.get(tag) ?? 0) + 1);
  for (const tag of tags) {
    const { plan, parent } = recording.intention(tag)!;
    if (parent !== undefined && placed(parent) === undefined)
      yield `${tag} took hold, and ${parent}, which caused it, did not`;
    for (let index = 0; index < (plan.sends?.length ?? 0); index++) {
      const sent = childTag.message(tag, index);
      const arrivals = (placed(sent) === undefined ? 0 : 1) + (dead.get(sent) ?? 0);
      if (arrivals !== 1) yield `the message ${sent} arrived ${arrivals} times (dead letters: ${dead.get(sent) ?? 0})`;
    }
  }
}

function* checkOrder({ recording, unordered, placed, tags }: DeliveryFacts): Iterable<string> {
  const last = new Map<
    string,
    { readonly tag: string; readonly from: readonly number[]; readonly to: readonly number[] }
  >();
  const arrived = tags
    .filter((tag) => parentOf(tag)?.relation === "message")
    .map((tag) => {
      const { parent, index } = parentOf(tag)!;
      const [from, to] = [placed(parent), placed(tag)!];
      return { tag, from, to, index, isKnown: recording.intention(tag) !== undefined };
    })
    .flatMap(({ tag, from, to, index }) =>
      from === undefined || unordered.has(from.entity) || unordered.has(to.entity)
        ? []
        : [{ tag, pair: `${from.entity} ${to.entity}`, from: [from.life, from.count, index], to: [to.life, to.count] }],
    )
    .sort((a, b) => compare(a.to, b.to));
  for (const message of arrived) {
    const before = last.get(message.pair);
    if (before !== undefined && compare(before.from, message.from) > 0) {
      yield `${before.tag} was sent after ${message.tag} and arrived before it`;
    }
    last.set(message.pair, message);
  }
}

function compare(a: readonly number[], b: readonly number[]): number {
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return a[i]! - b[i]!;
  return 0;
}

function* checkTimers({ deadLetters, pendingTimers }: DeliveryFacts): Iterable<string> {
  const dead = new Set(deadLetters.map(({ tag }) => tag));
  for (const { tag, dueMs } of pendingTimers) {
    if (!dead.has(tag)) yield `the timer ${tag}, due at ${dueMs}, never fired`;
  }
}

function* checkDeadLetters({ recording, deadLetters, excusable, placed }: DeliveryFacts): Iterable<string> {
  const seen = new Set<string>();
  for (const { tag, entity, code } of deadLetters) {
    if (seen.has(tag)) yield `${tag} is a dead letter twice`;
    seen.add(tag);
    const intention = recording.intention(tag);
    if (intention === undefined || intention.parent === undefined) {
      yield `a dead letter on ${entity} was never sent: ${tag}`;
      continue;
    }
    if (`${intention.kind}/${intention.id}` !== entity) yield `the dead letter ${tag} lies with ${entity}`;
    if (placed(intention.parent) === undefined)
      yield `${tag} is a dead letter, and ${intention.parent}, which caused it, is not there`;
    if (placed(tag) !== undefined) yield `${tag} took hold, and is a dead letter (${code}) too`;
    const { end, add } = intention.plan;
    const isExplained =
      excusable.has(code) ||
      (code === "as-told" && end === "refuse") ||
      (code === "insufficient" && (add ?? 0) < 0) ||
      (code === "command-failed" && end === "throw") ||
      (code === "command-too-slow" && end === "spin") ||
      (code === "too-large" && end === "bloat");
    if (!isExplained) yield `${tag} became a dead letter without a reason: ${code}`;
  }
}
