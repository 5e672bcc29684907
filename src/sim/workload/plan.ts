/**
 * What one command of the simulated workload is to do, as data: the system under test interprets it, and so, independently and
 * naively, does the model. Programs made of plans can be printed, kept as regressions and shrunk.
 *
 * L1  A tag is unique for ever, and whoever knows a tag and the program knows the plan: a message's tag is its sender's and
 *     `>` and its place among the sends, a timer's the same with `@`, a step's that of its transaction with `.`.
 */

export type Kind = "cell" | "shelf" | "ledger" | "mortal";

export interface EntityName {
  readonly kind: Kind;
  readonly id: string;
}

/** How a command ends, if not by returning: each after it has changed everything that it was to change. */
export type Ending = "refuse" | "throw" | "spin" | "delete" | "bloat";

export interface Plan {
  /** Added to the balance; refused as `insufficient` where that would be negative. */
  readonly add?: number;
  readonly put?: readonly (readonly [key: string, value: number])[];
  readonly remove?: readonly string[];
  readonly sends?: readonly (EntityName & { readonly plan: Plan })[];
  readonly timers?: readonly { readonly delayMs: number; readonly key: string; readonly plan: Plan }[];
  /** Cancels the timer of this key before it sets others. */
  readonly cancel?: string;
  /** Virtual time that it takes. */
  readonly spendMs?: number;
  readonly end?: Ending;
}

export interface TaggedPlan extends Plan {
  readonly tag: string;
}

/** A step without a plan reads. `catches`: the body goes on after a refusal. */
export interface Step extends EntityName {
  readonly plan?: Plan;
  readonly catches?: boolean;
}

export interface Script {
  readonly tag: string;
  readonly steps: readonly Step[];
  /** All steps at once. */
  readonly isParallel?: boolean;
  /** The body throws when so many steps are done. */
  readonly failsAfter?: number;
}

/** What commands answer, and the details of their refusals: which life of the entity they saw, and how far it had come. */
export interface Glimpse {
  /** Tag of the first command of this life; null where there is none. */
  readonly birth: string | null;
  /** Commands of this life so far, the answering one included. */
  readonly count: number;
  readonly balance: number;
}

/** What a query answers. */
export interface Look extends Glimpse {
  /** Tag of the last command of this life. */
  readonly last: string | null;
  readonly items: readonly (readonly [key: string, value: number])[];
}

/** Everything that an entity remembers: its commands in order, each with the log time at which it ran. */
export interface Memoir extends Look {
  readonly journal: readonly JournalEntry[];
}

export type JournalEntry = readonly [tag: string, nowMs: number];

export type StepOutput = { readonly step: "ran"; readonly glimpse: Glimpse } | LookOutput | CaughtOutput;
export interface LookOutput {
  readonly step: "looked";
  readonly look: Look;
}
export interface CaughtOutput {
  readonly step: "caught";
  readonly code: string;
  readonly glimpse: Glimpse;
}

/** The parent's tag and what the child is to it; undefined for a tag that a client gave. */
export function parentOf(
  tag: string,
): { readonly parent: string; readonly relation: "step" | "message" | "timer"; readonly index: number } | undefined {
  for (let at = tag.length - 1; at >= 0; at--) {
    const relation = relations[tag[at]!];
    if (relation !== undefined) return { parent: tag.slice(0, at), relation, index: Number(tag.slice(at + 1)) };
  }
  return undefined;
}

const relations: Readonly<Record<string, "step" | "message" | "timer">> = { ".": "step", ">": "message", "@": "timer" };

export const childTag = {
  step: (tag: string, index: number) => `${tag}.${index}`,
  message: (tag: string, index: number) => `${tag}>${index}`,
  timer: (tag: string, index: number) => `${tag}@${index}`,
} as const;
