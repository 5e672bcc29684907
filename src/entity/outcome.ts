/** The outcome of a request as it is kept for repetitions of the request (G6), and given to whoever asked. */
import { type ErrorCode, errorTable, OnefoldError, Refused, type Retry } from "../base/errors.ts";
import { decodeValue, encodeValue, type Value } from "../base/value.ts";
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

/** `outputBytes` is the encoded output where the caller has it already. */
export function encodeOutcome(outcome: Outcome, sequence: number, outputBytes?: Uint8Array): Uint8Array {
  if (outcome.kind === "done") {
    const output = outcome.output === undefined ? undefined : (outputBytes ?? encodeValue(outcome.output));
    return encodeDone(sequence, output);
  }
  const { error } = outcome;
  if (error instanceof OnefoldError) {
    const { code, message, retry } = error;
    return encodeValue({ kind: "error", sequence, code, message, retry, details: encodeDetails(error.details) });
  }
  const details = encodeDetails(error.details);
  return encodeValue({ kind: "refused", sequence, code: error.code, details });
}

const doneHead = Buffer.from("\x83\xa4kind\xa4done\xa8sequence", "latin1");
const doneTail = Buffer.from("\xa6output", "latin1");
/** Where all that stands before the output is put together: a view of each outcome's own bytes costs more than all the rest of it. */
const head = new Uint8Array(doneHead.length + 9 + doneTail.length + 5);
const headView = new DataView(head.buffer);
head.set(doneHead);

/**
 * `{ kind: "done", sequence, output }` in MessagePack, byte by byte: every numbered request keeps one, and the general way
 * costs several times as much.
 */
function encodeDone(sequence: number, output: Uint8Array | undefined): Uint8Array {
  const headBytes = writeHead(sequence, output?.length);
  const bytes = new Uint8Array(headBytes + (output?.length ?? 0));
  for (let i = 0; i < headBytes; i++) bytes[i] = head[i]!;
  if (output !== undefined) bytes.set(output, headBytes);
  return bytes;
}

/** Up to the output's own bytes; returns how many bytes of `head` that are. */
function writeHead(sequence: number, outputBytes: number | undefined): number {
  let at = doneHead.length;
  if (sequence <= 0xffffffff) {
    head[at] = 0xce;
    headView.setUint32(at + 1, sequence);
    at += 5;
  } else {
    head[at] = 0xcb;
    headView.setFloat64(at + 1, sequence);
    at += 9;
  }
  for (let i = 0; i < doneTail.length; i++) head[at++] = doneTail[i]!;
  if (outputBytes === undefined) {
    head[at] = 0xc0;
    return at + 1;
  }
  if (outputBytes <= 0xff) {
    head[at] = 0xc4;
    head[at + 1] = outputBytes;
    return at + 2;
  }
  head[at] = 0xc6;
  headView.setUint32(at + 1, outputBytes);
  return at + 5;
}

function encodeDetails(details: unknown): Uint8Array | null {
  return details === undefined ? null : encodeValue(details);
}

function decodeDetails(details: Uint8Array | null): Value | undefined {
  return details === null ? undefined : decodeValue(details);
}

/** What a repeated request is answered: exactly what the first one was. Throws the kept refusal or error. */
export function replyOf(bytes: Uint8Array): CallReply {
  const kept = decodeValue(bytes) as unknown as Kept;
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
