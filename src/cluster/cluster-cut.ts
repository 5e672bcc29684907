/**
 * The cut of a cluster's backup: of each shard one position of its log, such that all those logs stood there at one moment.
 *
 *     prepare, one after the other ──▶ hold, all at once ──▶ T ──▶ prove, all at once ──▶ written
 *
 * CC1 At T, when the last shard has told where it holds, every shard's log ended exactly there: up to there it was durable before T, and
 *     the record behind it was appended after T, which its owner has proven (SU1). So the cut is what was in the engine at T: what
 *     a crash of all nodes at T would have left. All that recovery does with transactions and messages under way it does with a restored cut,
 *     and nothing that anybody has seen before T is missing: nothing behind T had been shown to anybody (G3).
 * CC2 The shards of a cut hold every slot once: one whose log was not the slot's at T could not have appended to it behind T.
 * CC3 A log rests for the time between two rounds of messages, and never longer than `backupRestMs`. An attempt that fails is begun anew.
 * CC4 Shards are prepared in one order by everybody, so that two backups do not wait for each other.
 */
import { fromHex, toHex } from "../base/bytes.ts";
import { OnefoldError } from "../base/errors.ts";
import type { Limits } from "../base/limits.ts";
import type { Value } from "../base/value.ts";
import type { Host } from "../host/host.ts";
import { type BlobAddress, parseBlobAddress } from "../store/blobs.ts";
import { type CutName, cutMethods, readPoint } from "./backup-cuts.ts";
import type { ShardMap } from "./local-shards.ts";
import type { Peers } from "./peers.ts";
import type { CutPoint } from "./shard-cut.ts";
import { type ClusterIdentity, presentShards, type ShardState } from "./system-state.ts";

export interface CutParts {
  readonly host: Pick<Host, "timers" | "random">;
  readonly limits: Limits;
  readonly peers: Peers;
  readonly map: ShardMap;
}

export interface CutShard extends CutPoint {
  readonly shard: Pick<ShardState, "id" | "from" | "to" | "log">;
  /** The ownership in whose place of the engine's blobs the snapshot is. */
  readonly epoch: number;
  readonly manifest: BlobAddress;
}

export interface ClusterCut {
  readonly cluster: ClusterIdentity;
  /** In the order of their slots. */
  readonly shards: readonly CutShard[];
  /** Lets go of what is kept for it. Idempotent. */
  close(): void;
}

/** Between two looks at whether all is written. */
const lookMs = 100;

/**
 * Cuts the cluster, and has every shard's state there written into the engine, where it stays until `close`. Throws `unavailable` (retry
 * safe) where that can't be done now, `damaged` (never), and what writing a snapshot throws.
 */
export async function cutCluster(parts: CutParts): Promise<ClusterCut> {
  const { host, limits } = parts;
  for (let attempt = 1; ; attempt++) {
    try {
      return await new Attempt(parts).run();
    } catch (error) {
      if (!isPassing(error) || attempt === limits.backupCutAttemptsMax) throw error;
    }
    const pauseMs = limits.backupCutRetryMs * (0.5 + host.random.next());
    await new Promise<void>((resolve) => host.timers.after(pauseMs, resolve, { keepsAlive: true }));
  }
}

interface Asked {
  readonly shard: ShardState;
  readonly address: string;
}

class Attempt {
  readonly #parts: CutParts;
  readonly #backup: string;
  readonly #asked: Asked[] = [];
  #keeping: { cancel(): void } | undefined;
  #isClosed = false;

  constructor(parts: CutParts) {
    this.#parts = parts;
    this.#backup = toHex(parts.host.random.bytes(16));
  }

  async run(): Promise<ClusterCut> {
    const { limits, map } = this.#parts;
    try {
      const { cluster, regions } = map.state;
      if (regions !== undefined) {
        const message =
          "A cluster with regions can't be backed up yet: its backup would not say which slots are whose.";
        throw new OnefoldError("invalid-configuration", message);
      }
      const all = this.#owned();
      // CC4.
      for (const asked of all) {
        this.#asked.push(asked);
        await this.#ask(asked, cutMethods.prepare, limits.backupKeepMs / 2);
      }
      this.#keepOn();
      const points = await this.#askAll(cutMethods.hold, limits.backupRestMs);
      // CC1: this is T.
      await this.#askAll(cutMethods.prove, limits.deadlineMsDefault);
      const manifests = await this.#written();
      const shards = all.map(({ shard }, index): CutShard => {
        const { genesis, timeMs, epoch, sequence, ...texts } = readPoint(points[index], "the point");
        const hash = fromHex(texts.hash);
        const position = { incarnation: fromHex(texts.incarnation), epoch, sequence, hash, timeMs };
        return { shard, position, genesis, epoch, manifest: manifests[index]! };
      });
      return { cluster: cluster!, shards, close: () => this.#close() };
    } catch (error) {
      this.#close();
      throw error;
    }
  }

  /** Throws `unavailable` where not every slot has an owner that is there to stay. */
  #owned(): readonly Asked[] {
    const { state } = this.#parts.map;
    const shards = presentShards(state);
    if (shards.length === 0) throw new OnefoldError("not-ready", "The cluster has no shards yet.");
    return shards.map((shard) => {
      const owner = shard.owner === undefined ? undefined : state.members.get(shard.owner);
      if (owner !== undefined && shard.status === "active" && shard.movingTo === undefined) {
        return { shard, address: owner.address };
      }
      const message = `The shard ${shard.id} is ${shard.status === "active" ? "changing its owner" : shard.status}: a backup waits for it.`;
      throw new OnefoldError("unavailable", message, { retryAfterMs: 1000 });
    });
  }

  async #written(): Promise<readonly BlobAddress[]> {
    const { host, limits } = this.#parts;
    for (let waitedMs = 0; waitedMs < limits.backupPartMs; waitedMs += lookMs) {
      const told = await this.#askAll(cutMethods.keep, limits.backupRestMs);
      if (told.every((manifest) => manifest !== null)) return told.map((address) => parseBlobAddress(String(address)));
      await new Promise<void>((resolve) => host.timers.after(lookMs, resolve, { keepsAlive: true }));
    }
    throw new OnefoldError("unavailable", "The shards' snapshots were not written in time.", { retryAfterMs: 1000 });
  }

  /** In the order of the shards; throws what the first of them has thrown, once all have answered. */
  async #askAll(method: string, deadlineMs: number): Promise<readonly Value[]> {
    const outcomes = await Promise.allSettled(this.#asked.map((asked) => this.#ask(asked, method, deadlineMs)));
    const failed = outcomes.find((outcome) => outcome.status === "rejected");
    if (failed !== undefined) throw failed.reason;
    return outcomes.map((outcome) => (outcome as PromiseFulfilledResult<Value>).value);
  }

  #ask({ shard, address }: Asked, method: string, deadlineMs: number): Promise<Value> {
    const name: CutName = { backup: this.#backup, shard: shard.id, log: shard.log };
    return this.#parts.peers.call(address, method, { ...name }, { deadlineMs });
  }

  #keepOn(): void {
    const { host, limits } = this.#parts;
    this.#keeping = host.timers.after(limits.backupKeepMs / 4, () => {
      // What an owner that doesn't answer has written stays in its place; one that says no has nothing to keep any more.
      for (const asked of this.#asked) this.#tell(asked, cutMethods.keep);
      this.#keepOn();
    });
  }

  #close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#keeping?.cancel();
    for (const asked of this.#asked) this.#tell(asked, cutMethods.end);
  }

  /** Whether it arrives or not: an owner that hears nothing ends by itself. */
  #tell(asked: Asked, method: string): void {
    this.#ask(asked, method, this.#parts.limits.backupRestMs).catch((error: unknown) => {
      if (!(error instanceof OnefoldError)) throw error;
    });
  }
}

const lasting: ReadonlySet<string> = new Set(["damaged", "unsupported-version", "invalid-configuration"]);

/** Another attempt may succeed. */
function isPassing(error: unknown): boolean {
  return error instanceof OnefoldError && !lasting.has(error.code);
}
