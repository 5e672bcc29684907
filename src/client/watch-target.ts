/** What a subscription watches. */
import { OnefoldError } from "../base/errors.ts";
import type { Value } from "../base/value.ts";
import { Encoder } from "../wire/encoder.ts";

/** A node takes no more of one connection's subscriptions either. */
const targetBytesMax = 256 * 1024;
const scratch = new Encoder(256);

export interface WatchTarget {
  readonly kind: string;
  readonly id: string;
  /** Absent: the raw state. */
  readonly query: string | undefined;
  /** Encoded, because it is sent again after each reconnect. */
  readonly input: Uint8Array | undefined;
}

/**
 * What is to be watched, with its input as it is now (CO1). Throws `invalid-value` and `payload-too-large` (retry never): sent, they
 * would end the connection, and the next one too.
 */
export function watchTarget(
  kind: string,
  id: string,
  query: string | undefined,
  input: Value | undefined,
): WatchTarget {
  try {
    for (const part of [kind, id, query ?? ""]) scratch.text(part);
    const start = scratch.size;
    if (input !== undefined) scratch.value(input);
    const bytes = scratch.take();
    if (bytes.length > targetBytesMax) {
      throw new OnefoldError("payload-too-large", `What is watched takes more than ${targetBytesMax} bytes.`, {
        details: { bytesMax: targetBytesMax },
      });
    }
    return { kind, id, query, input: input === undefined ? undefined : bytes.subarray(start) };
  } catch (error) {
    scratch.truncate(0);
    throw error;
  }
}
