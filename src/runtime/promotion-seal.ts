/**
 * The record by which an embedded log ends for its system's move to a cluster, and the one by which it goes on where the move has come to
 * nothing.
 *
 * PS1 A log that ends with such a seal is not appended to, nor served, before it is known that the move never takes hold: both the embedded
 *     node and the cluster would be alive.
 * PS2 Whoever goes on does so in another epoch.
 */
import { equalBytes, fromHex, toHex } from "../base/bytes.ts";
import { OnefoldError } from "../base/errors.ts";
import { nextRecord, type NextRecord, ownershipOf } from "../cluster/shard-records.ts";
import { readOwnershipRecord } from "../entity/replay.ts";
import type { Host } from "../host/host.ts";
import type { ChainLink } from "../log/chain.ts";
import type { Log } from "../log/log.ts";
import { decodeRecord } from "../log/record.ts";
import type { StoreReader } from "../store/store.ts";

/** The owner of an embedded log, in the log's own records. */
const embedded = "embedded";

export interface PromotionSeal {
  /** The attempt, as hex. */
  readonly attempt: string;
  readonly sequence: number;
  readonly hash: Uint8Array;
  /** Where to, in words. */
  readonly detail: string;
}

/** The seal that the log ends with, whose fold the store is; undefined for a log that goes on. Throws `damaged`. */
export function promotionSealOf(store: StoreReader): PromotionSeal | undefined {
  const bytes = readOwnershipRecord(store);
  if (bytes === undefined) return undefined;
  const record = decodeRecord(bytes);
  const ownership = ownershipOf(record);
  if (ownership?.kind !== "seal") return undefined;
  const { nonce, detail } = ownership.payload;
  return { attempt: toHex(nonce), sequence: record.sequence, hash: record.hash, detail };
}

/** Thrown where a log ends with a seal of which it is not known what has become of the move. */
export class SealedForPromotion extends Error {
  override readonly name = "SealedForPromotion";
  readonly seal: PromotionSeal;
  constructor(seal: PromotionSeal) {
    super("The log is sealed: its system was moving to a cluster.");
    this.seal = seal;
  }
}

/** Seals the log for this attempt; what follows in it is nothing, or PS2. Throws `disk-full` (retry safe), `stopped`. */
export async function appendPromotionSeal(
  log: Log,
  host: Pick<Host, "clock">,
  { attempt, detail }: { readonly attempt: string; readonly detail: string },
): Promise<ChainLink> {
  const end = await linkOf(log);
  const record = nextRecord(
    end,
    { kind: "seal", epoch: end.epoch, wallMs: host.clock.wallMs() },
    { member: embedded, reason: "promoted", detail, nonce: fromHex(attempt) },
  );
  return append(log, end, record);
}

/** PS2. `abandoned`: the hash of the seal whose move never takes hold. Throws `SealedForPromotion` for another one, and as above. */
export async function goOnAfter(
  log: Log,
  host: Pick<Host, "clock" | "random">,
  seal: PromotionSeal,
  abandoned: Uint8Array | undefined,
): Promise<void> {
  if (abandoned === undefined || !equalBytes(abandoned, seal.hash)) throw new SealedForPromotion(seal);
  const end = await linkOf(log);
  const record = nextRecord(
    end,
    { kind: "claim", epoch: end.epoch + 1, wallMs: host.clock.wallMs() },
    { member: embedded, assignment: 0, nonce: host.random.bytes(16) },
  );
  await append(log, end, record);
}

async function linkOf(log: Log): Promise<ChainLink> {
  const end = log.end!;
  const last = await log.read(end.sequence);
  return { ...end, timeMs: last!.timeMs };
}

async function append(log: Log, end: ChainLink, record: NextRecord): Promise<ChainLink> {
  const outcome = await log.append(record.bytes, record.hash);
  const { incarnation } = end;
  const { epoch, sequence, hash, timeMs } = record;
  if (outcome.kind === "appended") return { incarnation, epoch, sequence, hash, timeMs };
  const cause = "cause" in outcome ? outcome.cause : undefined;
  if (outcome.kind === "full")
    throw new OnefoldError("disk-full", "The disk has no room for the log's seal.", { cause });
  throw new OnefoldError("stopped", "The log could not be sealed. Check its disk, then restart the node.", { cause });
}
