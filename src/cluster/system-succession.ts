/**
 * Repairing the system log: it is sealed where it was observed to end, and the node whose verified copy reaches farthest begins a
 * successor with the state that its copy says (G8).
 *
 *     damaged ──seal acknowledged──▶ sealed ──nobody's copy reaches farther──▶ begin ──┐
 *        └────────────another's seal────┴──────another has begun a successor───────────┴──▶ the successor
 *
 * SY1 Nothing is begun before a seal is known to stand, and every other node that the state tells of, also as gone, has said how far its copy
 *     reaches and that this is final; or, after `systemSuccessionMs`, a majority of all nodes that are not gone, this one included, and
 *     nobody who answers has more. So what was acknowledged is lost only with every copy of it, or where those who have it stay away for
 *     so long. (Who is gone by this node's copy may have come back in records that this copy lacks.)
 * SY2 Of equal copies the one of the node with the lowest name is taken. Two who begin at once: the first append decides, and both go on
 *     with what stands.
 * SY3 A successor's first record holds the whole state, so that there is no time at which it is half begun.
 */
import { toHex } from "../base/bytes.ts";
import type { Limits } from "../base/limits.ts";
import type { Host } from "../host/host.ts";
import type { ChainLink } from "../log/chain.ts";
import type { LogEngine } from "../log/engine-log.ts";
import { continuingVersion, type EncodedRecord, encodeRecord, incarnationBytes } from "../log/record.ts";
import { sendUntilKnown } from "./sending.ts";
import { checkpointOf } from "./system-fold.ts";
import {
  firstSequenceOf,
  indexOfSequence,
  newestSystemLog,
  type SystemLogPlace,
  systemLogName,
} from "./system-names.ts";
import type { SystemPeers } from "./system-positions.ts";
import type { LogEnding } from "./system-reader.ts";
import { encodeSystemRecords } from "./system-records.ts";
import { isUnavailable, sealSystemLog } from "./system-seal.ts";
import { presentMembers, type SystemState } from "./system-state.ts";
import { systemEpoch } from "./system-writer.ts";

export interface SuccessionParts {
  readonly host: Pick<Host, "clock" | "timers" | "random" | "trace">;
  readonly limits: Pick<Limits, "systemSuccessionMs">;
  readonly engine: LogEngine;
  readonly peers: SystemPeers;
  readonly node: string;
  /** The log that has ended, and how. */
  readonly place: SystemLogPlace;
  readonly ending: LogEnding;
  /** What this node's copy says, and where it ends. It changes no more; null for a copy with nothing in it. */
  readonly state: SystemState;
  readonly link: ChainLink | null;
  readonly isWanted: () => boolean;
}

const roundMs = 300;

/** The log that goes on from `place`, whoever has begun it; undefined when it is not wanted any more. */
export async function findSuccessor(parts: SuccessionParts): Promise<SystemLogPlace | undefined> {
  const { host, engine, place, isWanted } = parts;
  let { isSealed } = parts.ending;
  let sealedSinceMs: number | undefined;
  while (isWanted()) {
    try {
      const successor = await newestSystemLog(engine, place.index + 1);
      if (successor !== undefined) return successor;
      isSealed ||= await makeSeal(parts);
      if (isSealed) {
        sealedSinceMs ??= host.clock.monotonicMs();
        if (await mayBegin(parts, host.clock.monotonicMs() - sealedSinceMs)) await begin(parts);
      }
    } catch (error) {
      if (!isUnavailable(error)) throw error;
      host.trace("info", "The engine can't be reached to repair the system log; the node tries on.", { error });
    }
    await new Promise<void>((resolve) => host.timers.after(roundMs, resolve));
  }
  return undefined;
}

async function makeSeal({ host, node, place, link, ending }: SuccessionParts): Promise<boolean> {
  const { log } = place;
  const { detail } = ending;
  const isSealed = await sealSystemLog({ host, log, node, link, detail });
  if (isSealed) {
    const message =
      "The system log was sealed: it is not whole. It goes on in another log, from the nodes' own copies.";
    host.trace("error", message, { log: log.name, detail });
  }
  return isSealed;
}

/** SY1, SY2. */
async function mayBegin(
  { peers, node, place, state, link, limits }: SuccessionParts,
  sealedForMs: number,
): Promise<boolean> {
  if (link === null || state.cluster === undefined) return false;
  const others = new Set(peers.others(state));
  const told = await peers.ask(state, { index: place.index });
  const hasMost = told.every(({ node: other, sequence }) => {
    return sequence < link.sequence || (sequence === link.sequence && node < other);
  });
  if (!hasMost) return false;
  const final = told.filter(({ isFinal }) => isFinal);
  if (final.length === peers.known(state).length) return true;
  const presentCount = final.filter(({ node: other }) => others.has(other)).length;
  const own = presentMembers(state).some(({ name }) => name === node) ? 1 : 0;
  return sealedForMs >= limits.systemSuccessionMs && 2 * (presentCount + own) > others.size + own;
}

/** Whatever stands at its first sequence afterwards, the next look finds it. Throws `unavailable`. */
async function begin(parts: SuccessionParts): Promise<void> {
  const { host, engine, place, isWanted } = parts;
  const index = place.index + 1;
  const sequence = firstSequenceOf(index);
  const log = await engine.create(systemLogName(index), { firstSequence: sequence });
  const fate = await sendUntilKnown(log, sequence, genesisOf(parts, sequence), { timers: host.timers, isWanted });
  if (fate !== "ours") return;
  host.trace("warn", "The system log goes on, begun from this node's copy. Look for what damaged the old one.", {
    log: log.name,
    parent: place.log.name,
    sequence: parts.link?.sequence,
  });
}

/** SY3. */
function genesisOf({ host, state, link }: SuccessionParts, sequence: number): EncodedRecord {
  const { incarnation, epoch, hash, timeMs, sequence: end } = link!;
  const log = systemLogName(indexOfSequence(end));
  const parent = { log, incarnation: toHex(incarnation), epoch, sequence: end, hash: toHex(hash) };
  return encodeRecord(
    {
      kind: "genesis",
      readerVersion: continuingVersion,
      incarnation: host.random.bytes(incarnationBytes),
      epoch: systemEpoch,
      sequence,
      timeMs: Math.max(timeMs, host.clock.wallMs()),
      previousHash: hash,
    },
    encodeSystemRecords([{ type: "continued", parent }, checkpointOf(state)]),
  );
}
