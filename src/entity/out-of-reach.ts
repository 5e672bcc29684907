/**
 * Entities that the running code must leave alone: those whose state newer code has written (G11), and those in quarantine,
 * because their commands ended the process again and again (G10).
 *
 * Z1  No user code runs for an entity in quarantine: `runCommand`, `runQuery`, `readState` and its affinity refuse before they call it.
 * Z2  What is on its way to an entity out of reach waits: nothing is lost by it, and nobody else is held up (`delivery.ts`, D3).
 */
import { type ErrorCode, OnefoldError } from "../base/errors.ts";
import { isOfNewerCode } from "./newer-code.ts";
import type { LiveEntity } from "./working-set.ts";

/** Whether messages and timers for the entity have to wait (Z2). */
export function isOutOfReach(entity: LiveEntity): boolean {
  return entity.isQuarantined || isOfNewerCode(entity);
}

export interface WhyOutOfReach {
  readonly code: ErrorCode;
  /** The beginning of a sentence. */
  readonly reason: string;
  /** When it will be in reach again: the rest of one. */
  readonly until: string;
}

/** What a message is told that has to wait. */
export function whyOutOfReach(kind: string, facts: { readonly isQuarantined: boolean }): WhyOutOfReach {
  if (facts.isQuarantined) {
    return { code: "quarantined", reason: `This ${kind} is in quarantine`, until: "an operator has lifted that" };
  }
  return { code: "unsupported-version", reason: `The state of ${kind} is of newer code`, until: "that is back" };
}

/** Z1. */
export function quarantined(kind: string, id: string): OnefoldError {
  return new OnefoldError(
    "quarantined",
    `The process has died repeatedly while it ran commands of ${kind} '${id}', so they are refused. Mend the code, then lift the quarantine.`,
  );
}
