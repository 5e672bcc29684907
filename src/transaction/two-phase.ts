/**
 * The two phases by which a transaction over several shards ends, as its home goes through them. Pure: events in, effects out.
 *
 * TW1 It is decided only when every participant has voted yes, each in the epoch that has granted its locks.
 * TW2 Once the decision is on its way to the log, only the log says what becomes of it: no deadline, no wound, no late vote.
 * TW3 What is aborted stays aborted, whoever votes yes afterwards.
 *
 *     running ──all steps done──► voting ──all yes──► agreed ──entry taken in──► deciding ──durable──► committed
 *        │                          │ a no              │                           │ dropped
 *        └────────abort─────────────┴────────abort──────┴───────────────────────────┴──────────────► aborted
 */

export type Phase =
  | { readonly kind: "running" }
  /** `missing`: the slots that have not voted. */
  | { readonly kind: "voting"; readonly missing: ReadonlySet<number> }
  | { readonly kind: "agreed" }
  | { readonly kind: "deciding" }
  | { readonly kind: "committed" }
  | { readonly kind: "aborted" };

export type PhaseEvent =
  /** The body has ended well; these slots have taken part. */
  | { readonly type: "vote"; readonly slots: readonly number[] }
  | { readonly type: "voted"; readonly slot: number; readonly isYes: boolean }
  /** Wounded, out of time, or given up for another reason. */
  | { readonly type: "abort" }
  /** The entry with the decision is in the open batch. */
  | { readonly type: "decided" }
  | { readonly type: "durable" }
  /** That batch is certainly not in the log, and never will be. */
  | { readonly type: "dropped" };

/** `ask`: for the votes. `agree`, `lose`: tell whoever waits for them. `tell-abort`: the participants, who need not wait any more. */
export type PhaseEffect = "ask" | "agree" | "lose" | "tell-abort";

export interface PhaseStep {
  readonly phase: Phase;
  readonly effects: readonly PhaseEffect[];
}

const nothing: readonly PhaseEffect[] = [];
const aborted: PhaseStep = { phase: { kind: "aborted" }, effects: ["lose", "tell-abort"] };

export function step(phase: Phase, event: PhaseEvent): PhaseStep {
  switch (phase.kind) {
    case "running":
      if (event.type === "vote") return { phase: { kind: "voting", missing: new Set(event.slots) }, effects: ["ask"] };
      return event.type === "abort" ? aborted : { phase, effects: nothing };
    case "voting":
      if (event.type === "voted") return voted(phase, event);
      return event.type === "abort" ? aborted : { phase, effects: nothing };
    case "agreed":
      if (event.type === "decided") return { phase: { kind: "deciding" }, effects: nothing };
      return event.type === "abort" ? aborted : { phase, effects: nothing };
    case "deciding":
      if (event.type === "durable") return { phase: { kind: "committed" }, effects: nothing };
      return event.type === "dropped" ? aborted : { phase, effects: nothing };
    case "committed":
    case "aborted":
      return { phase, effects: nothing };
  }
}

function voted(
  phase: Phase & { readonly kind: "voting" },
  { slot, isYes }: { readonly slot: number; readonly isYes: boolean },
): PhaseStep {
  if (!phase.missing.has(slot)) return { phase, effects: nothing };
  if (!isYes) return aborted;
  const missing = new Set(phase.missing);
  missing.delete(slot);
  if (missing.size > 0) return { phase: { kind: "voting", missing }, effects: nothing };
  return { phase: { kind: "agreed" }, effects: ["agree"] };
}
