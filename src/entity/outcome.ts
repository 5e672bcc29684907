/** The outcome of a request as it is kept for repetitions of the request (G6), and given to whoever asked. */
import { type ErrorCode, errorTable, OnefoldError, Refused, type Retry } from "../base/errors.ts";
import { decodeValue, encodeValue, type Value } from "../base/value.ts";
import { MessagePackWriter, numberBytes } from "../base/message-pack.ts";
import type { CallReply } from "./service.ts";

export type Outcome =
  | { readonly kind: "done"; readonly output: Value | undefined }
  | { readonly kind: "failed"; readonly error: OnefoldError | Refused };

/** The shapes in which outcomes are kept; part of the format. */
type Kept = { readonly sequence: number } & (
  | { readonly kind: "done"; readonly output: Uint8Array | null }
  | { readonly kind: "refused"; readonly code: string; readonly details: Uint8Array | null }
  | {
      readonly kind: "error";
      readonly code: string;
      readonly message: string;
      readonly retry: Retry;
      readonly details: Uint8Array | null;
    }
);

/**
 * An outcome as it is kept: encoded; or, where the output is a number or there is none, as it is for most, what it is made of, and encoded
 * where it is written. The bytes of one of those would be most of what a numbered request keeps in memory.
 */
export type KeptOutcome = Uint8Array | SmallDone;

/** A success. */
export interface SmallDone {
  readonly sequence: number;
  readonly output: number | undefined;
}

/** The outcome of a request in the batch `sequence`. `outputBytes` is the encoded output where the caller has it already. */
export function keepOutcome(outcome: Outcome, sequence: number, outputBytes?: Uint8Array): KeptOutcome {
  if (outcome.kind === "done") {
    const { output } = outcome;
    // The comparison holds for -0 too, which is kept as 0.
    if (output === undefined || typeof output === "number") return { sequence, output: output === 0 ? 0 : output };
  }
  return encodeOutcome(outcome, sequence, outputBytes);
}

/** As it is written and sent. */
export function encodeOutcome(outcome: Outcome, sequence: number, outputBytes?: Uint8Array): Uint8Array {
  if (outcome.kind === "done") {
    const { output } = outcome;
    return encodeDone(sequence, output === undefined ? undefined : (outputBytes ?? encodeValue(output)));
  }
  const { error } = outcome;
  if (error instanceof OnefoldError) {
    const { code, message, retry } = error;
    return encodeValue({ kind: "error", sequence, code, message, retry, details: encodeDetails(error.details) });
  }
  const details = encodeDetails(error.details);
  return encodeValue({ kind: "refused", sequence, code: error.code, details });
}

/** How many bytes it takes encoded, at most. */
export function keptBytesMax(kept: KeptOutcome): number {
  return kept instanceof Uint8Array ? kept.length : smallDoneBytesMax;
}

const doneHead = Buffer.from("\x83\xa4kind\xa4done\xa8sequence", "latin1");
const doneTail = Buffer.from("\xa6output", "latin1");
/** The sequence has up to nine bytes, and so has a number as the output, behind two of its length. */
const smallDoneBytesMax = doneHead.length + 9 + doneTail.length + 2 + 9;

/** `{ kind: "done", sequence, output }`, written part by part. */
function encodeDone(sequence: number, output: Uint8Array | undefined): Uint8Array {
  writer.reset();
  writer.raw(doneHead);
  writer.number(sequence);
  writer.raw(doneTail);
  if (output === undefined) writer.nil();
  else writer.binary(output);
  return writer.take();
}

const writer = new MessagePackWriter(1024);

/** Writes the encoded outcome as bytes. */
export function writeKept(to: MessagePackWriter, kept: KeptOutcome): void {
  if (kept instanceof Uint8Array) return to.binary(kept);
  const { sequence, output } = kept;
  const outputBytes = output === undefined ? 1 : 2 + numberBytes(output);
  to.binaryHead(doneHead.length + numberBytes(sequence) + doneTail.length + outputBytes);
  to.raw(doneHead);
  to.number(sequence);
  to.raw(doneTail);
  if (output === undefined) return to.nil();
  to.binaryHead(outputBytes - 2);
  to.number(output);
}

function encodeDetails(details: unknown): Uint8Array | null {
  return details === undefined ? null : encodeValue(details);
}

function decodeDetails(details: Uint8Array | null): Value | undefined {
  return details === null ? undefined : decodeValue(details);
}

/** What a repeated request is answered: exactly what the first one was. Throws the kept refusal or error. */
export function replyOf(outcome: KeptOutcome): CallReply {
  if (!(outcome instanceof Uint8Array)) return { output: outcome.output, sequence: outcome.sequence };
  const kept = decodeValue(outcome) as unknown as Kept;
  if (kept.kind === "done") {
    const { output } = kept;
    return { output: output === null ? undefined : decodeValue(output), sequence: kept.sequence };
  }
  const details = decodeDetails(kept.details);
  if (kept.kind === "refused") throw new Refused(kept.code, details);
  const code = kept.code;
  throw new OnefoldError(code in errorTable ? (code as ErrorCode) : "internal", kept.message, {
    retry: kept.retry,
    details,
  });
}

/** Whether an outcome came from running the request, so that its repetitions must get the same instead of a second run. */
export function isKept(error: OnefoldError | Refused): boolean {
  if (!(error instanceof OnefoldError)) return true;
  switch (error.code) {
    case "command-failed":
    case "command-too-slow":
    case "invalid-state":
    case "too-large":
    case "invalid-value":
      return true;
    default:
      return false;
  }
}
