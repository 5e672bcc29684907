/**
 * The copies of shards' logs that are on this node's disk, whether a host works on them or not: how far each reaches. A copy outlives
 * the role that it was made for, because it may be the only one that has what its owner acknowledged last (G8).
 *
 * KC1 What a copy is said to reach it has, verified; a damaged one is said to reach nothing.
 * KC2 While a host works on a copy, the host knows better: it tells of the end when it lets go.
 */
import { OnefoldError } from "../base/errors.ts";
import type { Disk, Random, Trace } from "../host/host.ts";
import { type CopyReach, reachOf } from "./copy-reach.ts";
import { openSegmentLog } from "../log/engine/segment/engine.ts";

export interface KeptCopiesParts {
  readonly disk: Disk;
  readonly random: Random;
  readonly trace: Trace;
  readonly segmentBytes: number;
}

const root = "shards";

/** Where the copy of a log is. */
export function copyDirectory(log: string): string {
  return `${root}/${log}`;
}

export class KeptCopies {
  readonly #parts: KeptCopiesParts;
  readonly #reaches = new Map<string, CopyReach | null>();

  private constructor(parts: KeptCopiesParts) {
    this.#parts = parts;
  }

  /** Looks at what is on the disk. Before any host works on it. Throws `DiskError`, `unsupported-version`. */
  static async open(parts: KeptCopiesParts): Promise<KeptCopies> {
    const kept = new KeptCopies(parts);
    for (const log of await parts.disk.list(root)) kept.#reaches.set(log, await kept.#look(log));
    return kept;
  }

  has(log: string): boolean {
    return this.#reaches.has(log);
  }

  /** Null for one that holds nothing, or is not here. */
  reach(log: string): CopyReach | null {
    return this.#reaches.get(log) ?? null;
  }

  note(log: string, reach: CopyReach | null): void {
    this.#reaches.set(log, reach);
  }

  /** Logs of all copies here. */
  get logs(): readonly string[] {
    return [...this.#reaches.keys()];
  }

  /** Gives a copy up. The caller vouches that nothing of it is needed, and that nobody works on it. Throws `DiskError`. */
  async remove(log: string): Promise<void> {
    const { disk } = this.#parts;
    const directory = copyDirectory(log);
    for (const name of await disk.list(directory)) await disk.remove(`${directory}/${name}`);
    await disk.syncDirectory(directory);
    this.#reaches.delete(log);
  }

  async #look(log: string): Promise<CopyReach | null> {
    const { disk, trace } = this.#parts;
    const directory = copyDirectory(log);
    if ((await disk.list(directory)).length === 0) return null;
    try {
      const copy = await openSegmentLog({ ...this.#parts, directory, reserveBytes: 0, verifyFromSequence: 2 ** 52 });
      const reach = await reachOf(copy);
      await copy.close();
      return reach;
    } catch (error) {
      if (!(error instanceof OnefoldError) || error.code !== "damaged") throw error;
      trace("warn", "A copy of a shard's log on this node is damaged, and is not counted on. Check the disk.", {
        directory,
        error,
      });
      return null;
    }
  }
}
