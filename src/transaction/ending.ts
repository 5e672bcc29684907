/** The entries by which a transaction ends: with what it did, or with what it failed of, and with the outcome that is kept. */
import type { OnefoldError, Refused } from "../base/errors.ts";
import type { Value } from "../base/value.ts";
import type { Core, EntryDraft, KeptResult } from "../entity/core.ts";
import { isKept } from "../entity/outcome.ts";
import type { TransactionRequest } from "../entity/transaction-runner.ts";
import type { Attempt } from "./attempt.ts";
import type { Transaction } from "./transaction.ts";

export interface EndingParts {
  readonly core: Core;
  readonly request: TransactionRequest;
  readonly homeSlot: number;
}

/**
 * Takes in all that the transaction did, with the decision where it has participants elsewhere. Returns what must be durable
 * before anyone hears of it. Throws `too-large`, `overloaded`; then nothing has changed.
 */
export function takeInCommit(
  parts: EndingParts,
  transaction: Transaction,
  attempt: Attempt | undefined,
  output: Value | undefined,
): number {
  const kept = keptOf(parts, { kind: "done", output });
  const effects = transaction.effects();
  const { messages } = transaction;
  const isAlone = attempt?.isAlone !== false;
  if (isAlone && effects.length === 0 && messages.length === 0 && kept === undefined) {
    return transaction.observedSequence;
  }
  const { definition, caller } = parts.request;
  // Named one by one, as a command does: an entry of another shape costs as much as all else that is done here.
  const draft: EntryDraft = {
    origin: "transaction",
    command: definition.name,
    subject: caller.subject,
    effects,
    messages,
  };
  const entry = parts.core.entry(isAlone ? draft : { ...draft, transaction: attempt.decision }, kept);
  const sequence = parts.core.takeIn(entry);
  if (!isAlone) attempt.decided();
  return sequence;
}

/** Takes in the failure, where it is to be kept. Returns what must be durable before anyone hears of it; undefined for nothing. */
export function takeInFailure(parts: EndingParts, error: OnefoldError | Refused): number | undefined {
  const kept = isKept(error) ? keptOf(parts, { kind: "failed", error }) : undefined;
  return kept === undefined ? undefined : parts.core.takeIn(parts.core.entry(draftOf(parts), kept));
}

function draftOf({ request: { definition, caller } }: EndingParts): EntryDraft {
  return { origin: "transaction", command: definition.name, subject: caller.subject };
}

function keptOf(
  { request: { request }, homeSlot }: EndingParts,
  outcome: KeptResult["outcome"],
): KeptResult | undefined {
  return request && { request, slot: homeSlot, outcome, outputBytes: undefined };
}
