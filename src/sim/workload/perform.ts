/**
 * The one command of the simulated workload: does what a plan says, by whatever means its kind remembers things.
 *
 * P1  A command that is to fail fails last, with everything done that must be undone.
 * P2  What it answers, refusals included, names the life and the place in it that it saw: so an answer that anything
 *     contradicts later was wrong.
 */
import { Refused } from "../../base/errors.ts";
import type { EntityHandle } from "../../entity/definition.ts";
import { childTag, type Glimpse, type Kind, type TaggedPlan } from "./plan.ts";

/** What commands reach of the simulation besides their context. */
export interface Surroundings {
  /** Lets a command take virtual time, in the present life's guard; `Infinity` is an endless loop. */
  spend(durationMs: number): void;
}

export interface Item {
  readonly value: number;
  readonly padding?: string;
}

interface ItemReader {
  get(key: string): Item | undefined;
  has(key: string): boolean;
  range(options?: { readonly reverse?: boolean; readonly limit?: number }): Iterable<readonly [string, Item]>;
}

interface ItemWriter extends ItemReader {
  set(key: string, item: Item): void;
  delete(key: string): boolean;
}

/** The part of a command's context that plans need. */
export interface PerformContext {
  readonly id: string;
  readonly now: number;
  readonly collections: { readonly items: ItemWriter };
  send(entity: EntityHandle, id: string, command: string, input: unknown): void;
  after(delayMs: number, command: string, input: unknown, options: { readonly key: string }): void;
  cancelTimer(key: string): void;
  delete(): void;
}

/** One kind's way to remember. */
export interface Body extends Glimpse {
  begin(tag: string): void;
  /** Appends to the journal: one more command. */
  note(tag: string, nowMs: number, balance: number): void;
}

export type Handles = Readonly<Record<Kind | "shadow", EntityHandle>>;

/** What a `mortal` tells its shadow of each of its commands. */
export interface ShadowEntry {
  readonly birth: string;
  readonly count: number;
  readonly tag: string;
  readonly nowMs: number;
}

export function glimpseOf({ birth, count, balance }: Glimpse): Glimpse {
  return { birth, count, balance };
}

const bloatBytes = 100_000;

/** Throws what the plan says. */
export function perform(
  body: Body,
  plan: TaggedPlan,
  context: PerformContext,
  parts: { readonly kind: Kind; readonly surroundings: Surroundings; readonly handles: Handles },
): Glimpse {
  const { surroundings, handles } = parts;
  const before = glimpseOf(body);
  if (plan.spendMs !== undefined) surroundings.spend(plan.spendMs);
  if (body.birth === null) body.begin(plan.tag);
  const balance = before.balance + (plan.add ?? 0);
  body.note(plan.tag, context.now, balance);
  for (const [key, value] of plan.put ?? []) context.collections.items.set(key, { value });
  for (const key of plan.remove ?? []) context.collections.items.delete(key);
  for (const [index, { kind, id, plan: sent }] of (plan.sends ?? []).entries()) {
    context.send(handles[kind], id, "run", { ...sent, tag: childTag.message(plan.tag, index) });
  }
  if (plan.cancel !== undefined) context.cancelTimer(plan.cancel);
  for (const [index, { delayMs, key, plan: later }] of (plan.timers ?? []).entries()) {
    context.after(delayMs, "run", { ...later, tag: childTag.timer(plan.tag, index) }, { key });
  }
  if (parts.kind === "mortal") {
    const { birth, count } = body;
    context.send(handles.shadow, context.id, "note", { birth, count, tag: plan.tag, nowMs: context.now });
  }
  if (balance < 0) throw new Refused("insufficient", before);
  switch (plan.end) {
    case "refuse":
      throw new Refused("as-told", before);
    case "throw":
      throw new Error("as told");
    case "spin":
      surroundings.spend(Number.POSITIVE_INFINITY);
      break;
    case "bloat":
      context.collections.items.set("bloat", { value: 0, padding: "x".repeat(bloatBytes) });
      break;
    case "delete":
      context.delete();
      break;
    case undefined:
      break;
  }
  return glimpseOf(body);
}

/** All items, by one way of reading; throws if others give something else. */
export function itemsOf(items: ItemReader): readonly (readonly [string, number])[] {
  const found: [string, number][] = [];
  for (const [key, { value }] of items.range()) {
    if (items.get(key)?.value !== value || !items.has(key)) throw new Error(`item ${key} differs by range and by get`);
    found.push([key, value]);
  }
  const backwards = [...items.range({ reverse: true, limit: 2 })].map(([key]) => key).reverse();
  const lastKeys = found.slice(-2).map(([key]) => key);
  if (backwards.join() !== lastKeys.join()) throw new Error(`the last items are ${lastKeys}, backwards ${backwards}`);
  return found;
}
