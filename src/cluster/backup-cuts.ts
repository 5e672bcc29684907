/**
 * What the node that makes a backup asks of the owners of shards: `backup.prepare`, `backup.hold`, `backup.prove`, `backup.keep`,
 * `backup.end`, each of one backup and one shard. What they do is in `shard-cut.ts`.
 *
 * BC1 A backup that was ended here is not begun by a request that comes, or gets its turn, later.
 */
import { toHex } from "../base/bytes.ts";
import { OnefoldError } from "../base/errors.ts";
import type { Value } from "../base/value.ts";
import type { Peers } from "./peers.ts";
import type { CutPoint, ShardCut } from "./shard-cut.ts";
import type { ShardSnapshots } from "./shard-snapshots.ts";
import { hexOf, object, ShapeFault, text, whole } from "./value-shape.ts";

export interface CutName {
  /** 16 random bytes as hex: of this attempt to back the cluster up. */
  readonly backup: string;
  readonly shard: string;
  readonly log: string;
}

/** The part that a shard has in a cut, as its owner tells it. Hashes and incarnation as hex. */
export interface ToldPoint {
  readonly incarnation: string;
  readonly epoch: number;
  readonly sequence: number;
  readonly hash: string;
  readonly timeMs: number;
  readonly genesis: Uint8Array;
}

export const cutMethods = {
  prepare: "backup.prepare",
  hold: "backup.hold",
  prove: "backup.prove",
  keep: "backup.keep",
  end: "backup.end",
} as const;

const readName = object<CutName>({ backup: hexOf(16), shard: text, log: text });

export const readPoint = object<ToldPoint>({
  incarnation: hexOf(16),
  epoch: whole,
  sequence: whole,
  hash: hexOf(32),
  timeMs: whole,
  genesis: (value, what) => {
    if (value instanceof Uint8Array) return value;
    throw new ShapeFault(`${what} is not bytes`);
  },
});

/** Ended names that are remembered, the newest: a request that is still under way is not older than that. */
const endedMax = 4096;

/** `snapshotsOf` gives those of a shard that this node owns, in this log. */
export function handleCuts(
  peers: Peers,
  snapshotsOf: (shard: string, log: string) => ShardSnapshots | undefined,
): void {
  const cuts = new Map<string, ShardCut>();
  const ended = new Set<string>();
  const named = (body: Value): CutName & { readonly key: string } => {
    const name = readName(body, "the cut");
    return { ...name, key: `${name.backup} ${name.shard}` };
  };
  const cutOf = (body: Value): ShardCut => {
    const cut = cuts.get(named(body).key);
    if (cut === undefined) throw notHere();
    cut.touch();
    return cut;
  };
  const forget = (key: string): void => {
    cuts.get(key)?.end();
    cuts.delete(key);
  };
  peers.handle(cutMethods.prepare, async (body) => {
    const { key, shard, log } = named(body);
    const snapshots = snapshotsOf(shard, log);
    if (snapshots === undefined || cuts.has(key)) throw notHere();
    for (const [other, cut] of cuts) if (cut.isOver) cuts.delete(other);
    const cut = await snapshots.cut();
    if (!ended.has(key)) {
      cuts.set(key, cut);
      return null;
    }
    // BC1.
    cut.end();
    throw notHere();
  });
  peers.handle(cutMethods.hold, async (body) => toldPoint(await cutOf(body).hold()));
  peers.handle(cutMethods.prove, async (body) => {
    await cutOf(body).prove();
    return null;
  });
  peers.handle(cutMethods.keep, async (body) => cutOf(body).snapshot ?? null);
  peers.handle(cutMethods.end, async (body) => {
    const { key } = named(body);
    ended.add(key);
    if (ended.size > endedMax) ended.delete(ended.values().next().value!);
    forget(key);
    return null;
  });
}

function toldPoint({ position, genesis }: CutPoint): Value {
  const { incarnation, epoch, sequence, hash, timeMs } = position;
  return { incarnation: toHex(incarnation), epoch, sequence, hash: toHex(hash), timeMs, genesis };
}

function notHere(): OnefoldError {
  return new OnefoldError("unavailable", "This node has no such cut of the shard.", { retryAfterMs: 500 });
}
