/**
 * The snapshot that a cluster begins with, written to the engine before the system pauses, so that the pause writes only what has changed
 * since.
 */
import { version } from "../base/version.ts";
import type { Timers } from "../host/host.ts";
import type { Blobs } from "../store/blobs.ts";
import type { Manifest } from "../store/manifest.ts";
import { writeSnapshot } from "../store/snapshot.ts";
import type { Store } from "../store/store.ts";

export interface MovingSnapshotParts {
  readonly store: Store;
  readonly blobs: Blobs;
  readonly timers: Timers;
  /** See `Applier.watchDirtySlots`. */
  readonly watchDirtySlots: (listener: (slot: number) => void) => () => void;
}

export interface EarlierSnapshot {
  readonly manifest: Manifest;
  /** In which something may have changed since. */
  readonly dirtySlots: ReadonlySet<number>;
}

export class MovingSnapshot {
  readonly #parts: MovingSnapshotParts;
  readonly #stop: () => void;
  #dirtySlots = new Set<number>();
  #newest: Manifest | undefined;

  constructor(parts: MovingSnapshotParts) {
    this.#parts = parts;
    this.#stop = parts.watchDirtySlots((slot) => this.#dirtySlots.add(slot));
  }

  /** Writes what has changed since the last one. Throws as `writeSnapshot`. */
  async take(): Promise<void> {
    const { store, blobs, timers } = this.#parts;
    const { earlier } = this;
    // What is noted from here on may be in the view already; nothing that was noted before is missing in it.
    this.#dirtySlots = new Set();
    const view = store.view();
    const reused = earlier === undefined ? {} : { previous: earlier.manifest, dirtySlots: earlier.dirtySlots };
    const turn = (): Promise<void> => new Promise((resolve) => timers.soon(resolve));
    try {
      this.#newest = await writeSnapshot({ view, blobs, codeVersion: version, yield: turn, ...reused });
    } catch (error) {
      for (const slot of earlier?.dirtySlots ?? []) this.#dirtySlots.add(slot);
      throw error;
    } finally {
      view.close();
    }
  }

  /** These have changed, which nobody else tells of. */
  note(slots: Iterable<number>): void {
    for (const slot of slots) this.#dirtySlots.add(slot);
  }

  /** The newest one, if there is one. */
  get earlier(): EarlierSnapshot | undefined {
    return this.#newest === undefined ? undefined : { manifest: this.#newest, dirtySlots: this.#dirtySlots };
  }

  close(): void {
    this.#stop();
  }
}
