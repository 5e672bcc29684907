/** Answers of JetStream's interface, and those of its error codes that mean something to us (`errors.json` of nats-server). */
import type { OnefoldError } from "../../../base/errors.ts";
import { unavailable } from "./requests.ts";

export const apiErrorCodes = {
  messageNotFound: 10037,
  streamInUse: 10058,
  streamNotFound: 10059,
  wrongLastSequence: 10071,
  /** The same, of a batch. */
  wrongLastSequenceConstant: 10164,
} as const;

export interface ApiError {
  readonly code: number;
  readonly err_code?: number;
  readonly description?: string;
}

export type ApiAnswer<T> = { readonly value: T } | { readonly error: ApiError };

/** Throws `unavailable` for what is no JSON object. */
export function parseAnswer<T>(bytes: Uint8Array): ApiAnswer<T> {
  const parsed = parseJson(bytes);
  if (typeof parsed !== "object" || parsed === null) throw unavailable("The engine's answer is no object.");
  const { error } = parsed as { error?: ApiError };
  return error === undefined ? { value: parsed as T } : { error };
}

/** Throws `unavailable`. */
export function parseJson(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString());
  } catch (cause) {
    throw unavailable("The engine's answer is no JSON.", cause);
  }
}

/** Whatever else the engine answers with: it can't do it now. The code is in the details, for people. */
export function apiUnavailable({ error }: { readonly error: ApiError }): OnefoldError {
  return unavailable(
    `The engine can't do this now (${error.err_code ?? error.code}: ${error.description ?? ""}).`,
    error,
  );
}
