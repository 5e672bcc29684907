/**
 * What a shard's log says of its owners: claims, releases, and the seal that ends it. Payloads are Onefold values; specified in
 * `docs/format.md`.
 */
import { OnefoldError } from "../base/errors.ts";
import { decodeValue, encodeValue, type Value } from "../base/value.ts";
import type { ChainLink } from "../log/chain.ts";
import { type EncodedRecord, encodeRecord, formatVersion, noHash, type RecordKind } from "../log/record.ts";

export interface ClaimPayload {
  readonly member: string;
  /** The assignment of the system log that it acts on: of two who claim, the one with the older assignment gives way. */
  readonly assignment: number;
  /** So that no two claims are the same record. */
  readonly nonce: Uint8Array;
}

export interface ReleasePayload {
  readonly member: string;
}

export interface SealPayload {
  readonly member: string;
  /** `rollback`: the log lacks what was acknowledged, or is damaged. `split`: its slots go on in other logs. */
  readonly reason: "rollback" | "split" | "promoted";
  readonly detail: string;
  readonly nonce: Uint8Array;
}

export type OwnershipRecord =
  | { readonly kind: "claim"; readonly payload: ClaimPayload; readonly epoch: number }
  | { readonly kind: "release"; readonly payload: ReleasePayload }
  | { readonly kind: "seal"; readonly payload: SealPayload };

export interface NextRecord extends EncodedRecord {
  readonly sequence: number;
  readonly epoch: number;
  readonly timeMs: number;
}

/**
 * The record of this kind that follows `previous`. Log time never goes back, whatever `wallMs` says. At sequence 1, where only a genesis
 * can stand (a log that has lost everything is sealed there), it is one, with the same payload.
 */
export function nextRecord(
  previous: ChainLink,
  { kind, epoch, wallMs }: { readonly kind: RecordKind; readonly epoch: number; readonly wallMs: number },
  payload: ClaimPayload | ReleasePayload | SealPayload,
): NextRecord {
  const { incarnation } = previous;
  const sequence = previous.sequence + 1;
  const timeMs = Math.max(previous.timeMs, wallMs);
  const place =
    sequence === 1
      ? ({ kind: "genesis", previousHash: noHash } as const)
      : ({ kind, previousHash: previous.hash } as const);
  const header = { ...place, readerVersion: formatVersion, incarnation, epoch, sequence, timeMs } as const;
  return { ...encodeRecord(header, encodeValue({ ...payload } as Value)), sequence, epoch, timeMs };
}

/** What a record says of ownership; undefined where it says nothing of it. Throws `damaged`. */
export function ownershipOf(record: {
  readonly kind: RecordKind;
  readonly epoch: number;
  readonly payload: Uint8Array;
}): OwnershipRecord | undefined {
  const { kind, epoch } = record;
  if (kind === "batch") return undefined;
  const payload = decodeValue(record.payload);
  if (kind === "genesis") {
    const isSeal = typeof payload === "object" && payload !== null && "reason" in payload;
    return isSeal ? { kind: "seal", payload: payload as unknown as SealPayload } : undefined;
  }
  if (typeof payload !== "object" || payload === null || !("member" in payload)) {
    throw new OnefoldError("damaged", `A ${kind} in a shard's log can't be read.`);
  }
  return { kind, epoch, payload } as unknown as OwnershipRecord;
}
