/**
 * Beginning a log that goes on from another one: after a repair, and for each part of a split. Nobody uses it before it is published in
 * the system log; where another's was published first, it stays unused.
 *
 * CO1 Its genesis cites the parent's position and goes on from its numbers; its incarnation is its own, and random.
 * CO2 The snapshot that it begins with stands in its own place, under the position that the genesis follows.
 * CO3 At return both are durable in the engine.
 */
import { OnefoldError } from "../base/errors.ts";
import { version } from "../base/version.ts";
import { continuingGenesis } from "../entity/genesis.ts";
import type { Host } from "../host/host.ts";
import type { ChainLink } from "../log/chain.ts";
import type { LogEngine } from "../log/engine-log.ts";
import { incarnationBytes, positionOf } from "../log/record.ts";
import type { Blobs } from "../store/blobs.ts";
import { encodeManifest, type Manifest, publishNewest } from "../store/manifest.ts";
import { writeSnapshot } from "../store/snapshot.ts";
import type { StoreView } from "../store/store.ts";
import { sendUntilKnown } from "./sending.ts";

export interface ContinuingLogParts {
  readonly host: Pick<Host, "clock" | "random" | "timers">;
  readonly engine: LogEngine;
  /** New, and never used again. */
  readonly name: string;
  /** Where it is to be kept; undefined: anywhere. */
  readonly region?: string | undefined;
  /** The last record of the log that is continued, and that log's name in the engine. */
  readonly parent: ChainLink;
  readonly parentLog: string;
  /** The payload of that log's genesis. */
  readonly parentGenesis: Uint8Array;
  /** The state at `parent`, or the part of it that goes on here. */
  readonly view: StoreView;
  /** Where the new log's first snapshot goes. */
  readonly blobs: Blobs;
  /** A snapshot that stands there already, and the slots that have changed since: only those are written again. */
  readonly earlier?: { readonly manifest: Manifest; readonly dirtySlots: ReadonlySet<number> };
  /** False: give up. */
  readonly isWanted: () => boolean;
}

/** Where a log that continues another one has its first snapshot, in the engine's blobs. */
export function firstPlace(log: string): string {
  return `${log}.first`;
}

/** Gives the new log's incarnation. Throws `unavailable` (retry safe) where it was given up, or the engine can't be reached. */
export async function beginContinuingLog(parts: ContinuingLogParts): Promise<Uint8Array> {
  const { host, engine, name, parent, view, blobs, earlier, isWanted } = parts;
  const before = { ...parent, incarnation: host.random.bytes(incarnationBytes) };
  const takeTurn = (): Promise<void> => new Promise((resolve) => host.timers.soon(resolve));
  const reused = earlier === undefined ? {} : { previous: earlier.manifest, dirtySlots: earlier.dirtySlots };
  const manifest = await writeSnapshot({ view, blobs, codeVersion: version, yield: takeTurn, ...reused });
  await publishNewest(blobs, [await blobs.put(encodeManifest({ ...manifest, position: positionOf(before) }))]);
  const { record, link } = continuingGenesis(
    parts.parentGenesis,
    positionOf(parent),
    before,
    host.clock,
    parts.parentLog,
  );
  const log = await engine.create(name, { firstSequence: link.sequence, region: parts.region });
  const fate = await sendUntilKnown(log, link.sequence, record, { timers: host.timers, isWanted });
  if (fate === "ours") return before.incarnation;
  throw new OnefoldError("unavailable", `The log ${name} could not be begun.`, { retryAfterMs: 500 });
}
