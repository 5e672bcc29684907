/** Failures between nodes: `OnefoldError` and `Refused` cross as they are, but for their cause. */
import { type ErrorCode, errorTable, OnefoldError, Refused, type Retry } from "../base/errors.ts";
import { limits } from "../base/limits.ts";
import { decodeValue, encodeValue } from "../base/value.ts";

/** Part of the protocol. Details stand encoded, so that they may be as deep as values can be. */
type Sent =
  | { readonly kind: "refused"; readonly code: string; readonly details?: Uint8Array }
  | {
      readonly kind: "error";
      readonly code: string;
      readonly message: string;
      readonly retry: Retry;
      readonly details?: Uint8Array;
      readonly retryAfterMs?: number;
    };

const messageLengthMax = 4096;

/** Details of an error that are no value, or larger than an output may be, stay behind; a refusal's never are. */
export function encodeFailure(error: OnefoldError | Refused): Uint8Array {
  const details = encodeDetails(error.details);
  const detailed = details === undefined ? {} : { details };
  if (!(error instanceof OnefoldError)) return encodeValue({ kind: "refused", code: error.code, ...detailed });
  const { code, retry, retryAfterMs } = error;
  // Half a surrogate pair would not be text.
  const message = Buffer.from(error.message.slice(0, messageLengthMax)).toString();
  return encodeValue({ kind: "error", code, message, retry, ...detailed, retryAfterMs });
}

/** Throws `malformed` for bytes that `encodeFailure` has not made. A code that only a later version knows becomes `internal`. */
export function decodeFailure(bytes: Uint8Array): OnefoldError | Refused {
  const sent = decodeBody(bytes) as unknown as Sent;
  const details = sent.details === undefined ? undefined : decodeBody(sent.details);
  if (sent.kind === "refused") return new Refused(sent.code, details);
  const { code, message, retry, retryAfterMs } = sent;
  return new OnefoldError(Object.hasOwn(errorTable, code) ? (code as ErrorCode) : "internal", message, {
    retry,
    details,
    ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
  });
}

function encodeDetails(details: unknown): Uint8Array | undefined {
  if (details === undefined) return undefined;
  try {
    const bytes = encodeValue(details);
    return bytes.length <= limits.outputBytesMax ? bytes : undefined;
  } catch (error) {
    // The message says it all the same; what can't be kept as a value is for this process's eyes only.
    if (error instanceof OnefoldError) return undefined;
    throw error;
  }
}

/** What came from a peer is not stored data: bytes that are no value are `malformed`, and nothing of this node's is `damaged`. */
export function decodeBody(bytes: Uint8Array): ReturnType<typeof decodeValue> {
  try {
    return decodeValue(bytes);
  } catch (cause) {
    throw new OnefoldError("malformed", "A peer sent what is no encoded value.", { cause });
  }
}
