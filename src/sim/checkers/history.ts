/**
 * The history: what clients asked for, when, and what became of it. All that a checker knows of a run.
 *
 * HI1  Times are numbers of one order of events, as one observer saw them: units and gaps mean nothing.
 * HI2  `fail` is a proof that the operation did not take hold and never will. What proves less is `unknown`.
 * HI3  An `unknown` operation takes hold once or never, at any moment after it was invoked: that its client gave up ends nothing.
 * HI4  One operation is before another if it was `ok` and completed at a time less than the other's invocation. Equal times are
 *      concurrent, so that a coarse clock costs sharpness and never raises a false alarm.
 */
import { OnefoldError } from "../../base/errors.ts";
import { parseTaggedJson, stringifyTaggedJson } from "../../base/tagged-json.ts";
import type { Value } from "../../base/value.ts";

export type Outcome<Output> =
  | { readonly kind: "ok"; readonly output: Output }
  | { readonly kind: "fail" }
  | { readonly kind: "unknown" };

export interface Operation<Input, Output> {
  /** The client that asked: it is sequential, but that an operation with an unknown outcome may still be under way. */
  readonly process: string;
  readonly invoked: number;
  /** When the client learned the outcome; null where it never did. */
  readonly completed: number | null;
  readonly input: Input;
  readonly outcome: Outcome<Output>;
}

/** Operations in any order. */
export type History<Input, Output> = readonly Operation<Input, Output>[];

/** What a checker found. No findings: the history is right, as far as the checker's head comment says that it can tell. */
export interface Finding {
  /** The anomaly's name, as its literature has it where there is one. `undecided`: a bound was reached before an answer. */
  readonly anomaly: string;
  /** For people: what happened, and why it must not; several lines. */
  readonly explanation: string;
}

/** The time until which an operation is known to have taken hold; infinite for one that may do so at any later time (HI3). */
export function endOf({ completed, outcome }: Operation<unknown, unknown>): number {
  return outcome.kind === "ok" && completed !== null ? completed : Number.POSITIVE_INFINITY;
}

/** `c1 [4, 9]`: whose an operation was and when. */
export function placeOf({ process, invoked, completed, outcome }: Operation<unknown, unknown>): string {
  return `${process} [${invoked}, ${outcome.kind === "unknown" || completed === null ? "?" : completed}]`;
}

/** One operation a line, as JSON with tags for what JSON has not. Throws `invalid-value` where an operation is no value. */
export function encodeHistory(history: History<Value, Value>): string {
  return history.map((operation) => `${stringifyTaggedJson(operation as unknown as Value)}\n`).join("");
}

/**
 * The history that `encodeHistory` wrote; empty lines are passed over. Inputs and outputs are whatever values stand there: the
 * caller knows which. Throws `malformed` (retry never) with `details: { line }` for a line that is no operation, also for a last
 * one that a crash cut short: it is the caller's to say whether that is allowed.
 */
export function decodeHistory(text: string): History<Value, Value> {
  const operations: Operation<Value, Value>[] = [];
  for (const [index, line] of text.split("\n").entries()) {
    if (line.trim() === "") continue;
    operations.push(decodeOperation(line, index + 1));
  }
  return operations;
}

function decodeOperation(text: string, line: number): Operation<Value, Value> {
  let value: Value;
  try {
    value = parseTaggedJson(text);
  } catch (cause) {
    if (!(cause instanceof OnefoldError)) throw cause;
    throw malformed(line, "it is not JSON", cause);
  }
  const fault = faultOf(value);
  if (fault !== undefined) throw malformed(line, fault);
  return value as unknown as Operation<Value, Value>;
}

function faultOf(value: Value): string | undefined {
  if (!isRecord(value)) return "it is not an object";
  const { process, invoked, completed, input, outcome } = value;
  if (typeof process !== "string") return "`process` is not a text";
  if (typeof invoked !== "number") return "`invoked` is not a number";
  if (completed !== null && typeof completed !== "number") return "`completed` is neither a number nor null";
  if (typeof completed === "number" && completed < invoked) return "`completed` is before `invoked`";
  if (input === undefined) return "`input` is missing";
  if (!isRecord(outcome)) return "`outcome` is not an object";
  if (outcome.kind === "fail" || outcome.kind === "unknown") return undefined;
  if (outcome.kind !== "ok") return "`outcome.kind` is none of ok, fail and unknown";
  if (outcome.output === undefined) return "`outcome.output` is missing";
  return completed === null ? "it is ok and was never completed" : undefined;
}

function isRecord(value: Value | undefined): value is { readonly [key: string]: Value | undefined } {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return false;
  return !(value instanceof Date) && !(value instanceof Uint8Array);
}

function malformed(line: number, reason: string, cause?: unknown): OnefoldError {
  return new OnefoldError("malformed", `Line ${line} of the history is no operation: ${reason}.`, {
    details: { line },
    ...(cause === undefined ? {} : { cause }),
  });
}
