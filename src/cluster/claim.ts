/**
 * Becoming a shard's owner: a claim in its own log, by compare-and-set, with a nonce, read back (design 7; hazards 1, 7).
 *
 *     catch up ──▶ send claim ──ours──▶ read back, ask for anchors ──▶ check them ──▶ claimed
 *        ▲             │ other                                            │ one is not held
 *        └─────────────┘                                                  ▼
 *     ends before the copy, for long ──▶ seal ──────────────────────▶ sealed
 *
 * CL1 At `claimed` everything up to the claim is in the copy and in the store, the claim is the copy's end, and every anchor that could be
 *     learnt of is held at its sequence. Others are asked for theirs only once the claim is acknowledged: what a zombie got acknowledged
 *     before it would be missed.
 * CL2 A claim of a later assignment is never claimed over.
 * CL3 Only a seal that the engine has acknowledged proves a rollback; until then the log may merely look short (G8).
 * CL4 Where the log is said to end (`behind`) spares the look at its bounds, and nothing else: the claim is sent behind that once, and what
 *     becomes of it decides.
 */
import { equalBytes } from "../base/bytes.ts";
import { OnefoldError } from "../base/errors.ts";
import type { Host, Timers } from "../host/host.ts";
import type { ChainLink } from "../log/chain.ts";
import type { LogPosition } from "../log/log.ts";
import { type EncodedRecord, incarnationBytes, noHash } from "../log/record.ts";
import { LogFault } from "./log-fault.ts";
import type { Anchor, Replica } from "./replica.ts";
import { readValid, sendOnce, sendUntilKnown } from "./sending.ts";
import { nextRecord, type SealPayload } from "./shard-records.ts";

export interface ClaimParts {
  readonly host: Pick<Host, "clock" | "timers" | "random" | "trace">;
  readonly replica: Replica;
  readonly member: string;
  readonly assignment: number;
  /** What members acknowledged of this log, as far as they can be asked now. */
  readonly anchors: () => Promise<readonly Anchor[]>;
  /** Where its last owner says that the log ends, if it does (CL4). */
  readonly behind: Pick<LogPosition, "sequence" | "hash"> | undefined;
  /** False as soon as the shard is no longer assigned to this member, or it stops. */
  readonly isWanted: () => boolean;
  /** Whether a snapshot has overtaken this node's copy, so that this is no fault of the log: then it is thrown. */
  readonly isOvertaken: (fault: LogFault) => boolean;
}

/** `sealed`: the log is not to be served by anybody, and why. `unwanted`: given up, perhaps with a claim still under way. */
export type ClaimOutcome =
  | { readonly kind: "claimed"; readonly epoch: number }
  | { readonly kind: "unwanted" }
  | { readonly kind: "sealed"; readonly seal: SealPayload };

/** Between two looks at a log that seems to be broken. */
const doubtDelayMs = 500;
/** Looks before it is sealed: longer than any election of the engine, in which a stale server may answer (`engine-nats.md`). */
const doubtsMax = 24;

/** Throws `DiskError`, `stopped`, `damaged` (the store), `unsupported-version`, and the `LogFault` of a copy that was overtaken. */
export async function claim(parts: ClaimParts): Promise<ClaimOutcome> {
  let doubts = 0;
  let { behind } = parts;
  while (parts.isWanted()) {
    const outcome = await attempt({ ...parts, behind });
    behind = undefined;
    if (!(outcome instanceof LogFault)) {
      if (outcome !== "again") return outcome;
      continue;
    }
    // With the claim in the log there is no doubt: it was acknowledged where something else had been (CL3).
    const isProven = outcome.isProven;
    if (isProven || ++doubts > doubtsMax) {
      const sealed = await seal(parts, { reason: "rollback", detail: outcome.message });
      if (sealed !== undefined) return { kind: "sealed", seal: sealed };
    }
    await pause(parts.host.timers, doubtDelayMs);
  }
  return { kind: "unwanted" };
}

type Attempt = ClaimOutcome | "again" | LogFault;

async function attempt(parts: ClaimParts): Promise<Attempt> {
  try {
    return await claimOnce(parts);
  } catch (error) {
    if (error instanceof LogFault && parts.isOvertaken(error)) throw error;
    if (error instanceof LogFault) return error;
    if (!(error instanceof OnefoldError) || error.code !== "unavailable") throw error;
    await pause(parts.host.timers, doubtDelayMs / 5);
    return "again";
  }
}

async function claimOnce(parts: ClaimParts): Promise<Attempt> {
  const { replica, host, member, assignment, behind, isWanted } = parts;
  const { log } = replica;
  const isThere = behind !== undefined && (await replica.takeUpTo(behind));
  const last = isThere ? behind.sequence : await replica.catchUp();
  const { end, ownership } = replica;
  if (end === null) throw new OnefoldError("unavailable", `The log ${log.name} has no genesis yet.`);
  if (last < end.sequence)
    return new LogFault("short", log.name, last, `this node has verified ${end.sequence} records`);
  if (ownership?.kind === "seal") return { kind: "sealed", seal: ownership.payload };
  if (ownership?.kind === "claim" && ownership.payload.assignment > assignment) return { kind: "unwanted" };
  const record = nextRecord(
    { ...end, timeMs: replica.timeMs },
    { kind: "claim", epoch: end.epoch + 1, wallMs: host.clock.wallMs() },
    { member, assignment, nonce: host.random.bytes(16) },
  );
  if (isThere) {
    if ((await sendOnce(log, record.sequence, record)) !== "ours") return "again";
  } else {
    const fate = await sendUntilKnown(log, record.sequence, record, { timers: host.timers, isWanted });
    if (fate === "unknown") return { kind: "unwanted" };
    if (fate === "other") return "again";
  }
  const [told, isOurs] = await Promise.all([parts.anchors(), readBack(parts, record)]);
  if (!isOurs) return "again";
  return (await missingAnchor(parts, told)) ?? { kind: "claimed", epoch: record.epoch };
}

/** Only what others will read counts. Takes it, and brings the store up to it. False where another record stands there. */
async function readBack(
  { replica }: ClaimParts,
  record: EncodedRecord & { readonly sequence: number },
): Promise<boolean> {
  const found = await replica.log.read(record.sequence);
  if (found === undefined) throw new OnefoldError("unavailable", "The claim can't be read back yet.");
  await replica.take(found);
  if (!equalBytes(replica.end!.hash, record.hash)) return false;
  await replica.fold();
  return true;
}

/**
 * CL1: what another node has acknowledged and the log, with this node's claim in it, does not hold. An anchor behind the claim proves nothing
 * by itself: the claim may have waited long for its acknowledgement, and another owner may have gone on behind it.
 */
async function missingAnchor(
  { replica }: ClaimParts,
  anchors: readonly Anchor[],
): Promise<LogFault | "again" | undefined> {
  const reason = "it lacks what another node has acknowledged there";
  const claimed = replica.end!.sequence;
  let later: Anchor | undefined;
  for (const anchor of anchors) {
    if (anchor.sequence > claimed) later = anchor;
    else if (!(await replica.holds(anchor))) {
      return new LogFault("fork", replica.log.name, anchor.sequence, reason, { isProven: true });
    }
  }
  if (later === undefined) return undefined;
  await replica.catchUp();
  return (await replica.holds(later)) ? "again" : new LogFault("short", replica.log.name, later.sequence, reason);
}

/**
 * Ends the log: whoever appends behind it meets the seal. Undefined where the engine doesn't acknowledge it now. It stands where
 * the log was observed to end.
 */
export async function seal(
  { replica, host, member }: Pick<ClaimParts, "replica" | "host" | "member">,
  why: Pick<SealPayload, "reason" | "detail">,
): Promise<SealPayload | undefined> {
  const { log } = replica;
  const payload = { ...why, member, nonce: host.random.bytes(16) };
  try {
    const { last } = await log.bounds();
    const link = await linkAt(replica, last);
    const record = nextRecord(link, { kind: "seal", epoch: link.epoch + 1, wallMs: host.clock.wallMs() }, payload);
    if ((await sendOnce(log, record.sequence, record)) !== "ours") return undefined;
    const message = "A shard's log was sealed: it is not whole. It is repaired from the nodes' own copies.";
    host.trace("error", message, { log: log.name, sequence: record.sequence, detail: why.detail });
    return payload;
  } catch (error) {
    if (error instanceof OnefoldError && error.code === "unavailable") return undefined;
    throw error;
  }
}

/** What a record behind `sequence` is to follow: the engine's record, this node's, or, where neither is whole, as good as is known. */
async function linkAt(replica: Replica, sequence: number): Promise<ChainLink> {
  const { log, copy, end, timeMs } = replica;
  const record = await readValid(log, sequence);
  if (record !== undefined) return record;
  const isHere = end !== null && sequence <= end.sequence && sequence >= copy.firstSequence;
  const own = isHere ? await copy.read(sequence) : undefined;
  return own ?? { ...(end ?? noPosition), sequence, timeMs };
}

const noPosition = { incarnation: new Uint8Array(incarnationBytes), epoch: 0, hash: noHash };

function pause(timers: Timers, delayMs: number): Promise<void> {
  return new Promise((resolve) => timers.after(delayMs, resolve, { keepsAlive: true }));
}
