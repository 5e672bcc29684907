/**
 * Transactions as histories hold them: steps on lists, which grow by appends, or on registers, which are overwritten.
 *
 * TS1  On one key no value is written twice, so that a value names the step that wrote it. Whoever makes the history sees to that;
 *      a checker that finds otherwise throws, because nothing could be concluded from it.
 * TS2  An output has one element a step, in their order: what a read saw, null for a write.
 */
import { endOf, type Operation, placeOf } from "./history.ts";
import { jsonOf } from "./timeline.ts";

export type Scalar = string | number | boolean;

export type ListStep =
  | { readonly type: "read"; readonly key: string }
  | { readonly type: "append"; readonly key: string; readonly value: Scalar };
export type ListTransaction = Operation<readonly ListStep[], readonly (readonly Scalar[] | null)[]>;

export type RegisterStep =
  | { readonly type: "read"; readonly key: string }
  | { readonly type: "write"; readonly key: string; readonly value: Scalar };
/** Null is what a register holds before its first write. */
export type RegisterTransaction = Operation<readonly RegisterStep[], readonly (Scalar | null)[]>;

type AnyStep = ListStep | RegisterStep;
export type AnyTransaction = Operation<readonly AnyStep[], readonly unknown[]>;

export function outputsOf<Output>(transaction: Operation<unknown, readonly Output[]>): readonly Output[] | undefined {
  return transaction.outcome.kind === "ok" ? transaction.outcome.output : undefined;
}

/** `T4 c2 [7, 9]: read x -> [1,2], append y 3`. */
export function describeTransaction(index: number, transaction: AnyTransaction): string {
  const outputs = outputsOf(transaction);
  const steps = transaction.input.map((step, at) => {
    if (step.type !== "read") return `${step.type} ${step.key} ${jsonOf(step.value)}`;
    return `read ${step.key}${outputs === undefined ? "" : ` -> ${jsonOf(outputs[at])}`}`;
  });
  const isOk = Number.isFinite(endOf(transaction));
  return `T${index} ${placeOf(transaction)}: ${steps.join(", ")}${isOk ? "" : ` (${transaction.outcome.kind})`}`;
}
