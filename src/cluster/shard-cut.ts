/**
 * One shard's part in the cut of a cluster's backup, at its owner: its log rests for a moment, its state there is kept, and written as a
 * snapshot once the log goes on.
 *
 *     prepared ──hold──▶ holding ──▶ held ──prove──▶ proving ──▶ writing ──▶ kept ──▶ over
 *        └──────────────────┴─────────┴── end, nobody asks in time ──┴──────────┴─────▶ over
 *
 * SU1 From `hold`'s answer to the beginning of `prove` nothing is appended to the shard's log by this owner; `prove` resolves only if nobody
 *     else has either: it is the next record's append, begun after it was asked for, that succeeded (M6).
 * SU2 The log rests no longer than `restMs`: then it goes on, and `prove` fails.
 * SU3 The snapshot is of the state at exactly the position that `hold` told.
 * SU4 What nobody asks about for `keepMs` is over.
 */
import { OnefoldError } from "../base/errors.ts";
import { readGenesisPayload } from "../entity/genesis.ts";
import type { Shard } from "../entity/shard.ts";
import type { Timers } from "../host/host.ts";
import type { ChainLink } from "../log/chain.ts";
import type { BlobAddress } from "../store/blobs.ts";
import type { Store, StoreView } from "../store/store.ts";

/** A snapshot that stays where it is until `release`, which is idempotent. */
export interface KeptSnapshot {
  readonly manifest: BlobAddress;
  release(): void;
}

export interface CutPoint {
  /** The log's end, with a log time that is not before its record's. */
  readonly position: ChainLink;
  /** The payload of the log's genesis. */
  readonly genesis: Uint8Array;
}

export interface ShardCutParts {
  readonly shard: Shard;
  readonly store: Store;
  readonly timers: Timers;
  readonly restMs: number;
  readonly keepMs: number;
  /** Writes a snapshot of `view`, in which these slots have changed since the last one, and closes it. */
  readonly write: (view: StoreView, dirtySlots: ReadonlySet<number>) => Promise<KeptSnapshot>;
  /** Another snapshot may be written. Called once. */
  readonly onOver: () => void;
}

interface Kept {
  readonly view: StoreView;
  readonly dirtySlots: ReadonlySet<number>;
}

type State =
  | { readonly kind: "prepared" | "holding" | "writing" | "over" }
  | { readonly kind: "held" | "proving"; readonly kept: Kept }
  | { readonly kind: "kept"; readonly snapshot: KeptSnapshot }
  | { readonly kind: "failed"; readonly error: unknown };

export class ShardCut {
  readonly #parts: ShardCutParts;
  #state: State = { kind: "prepared" };
  #rest: { cancel(): void } | undefined;
  #keep: { cancel(): void } | undefined;
  #isWanted = true;
  #hasLeft = false;

  constructor(parts: ShardCutParts) {
    this.#parts = parts;
    this.touch();
  }

  get isOver(): boolean {
    return !this.#isWanted;
  }

  /** Somebody still wants it (SU4). */
  touch(): void {
    this.#keep?.cancel();
    if (this.#isWanted) this.#keep = this.#parts.timers.after(this.#parts.keepMs, () => this.end());
  }

  /** SU1. Throws `unavailable` (retry safe) where the log doesn't come to rest in time; then it is over. */
  async hold(): Promise<CutPoint> {
    const { shard, store, timers, restMs } = this.#parts;
    this.#assertIn("prepared");
    this.#state = { kind: "holding" };
    try {
      this.#rest = timers.after(restMs, () => this.end());
      const position = await shard.rest.begin();
      await shard.applier.flush();
      if (!this.#isWanted) throw over();
      const dirtySlots = shard.applier.takeDirtySlots();
      const view = store.view();
      this.#state = { kind: "held", kept: { view, dirtySlots } };
      if (view.position?.sequence === position.sequence) {
        return { position: { ...position, timeMs: shard.rest.timeMs }, genesis: readGenesisPayload(store) };
      }
      throw new OnefoldError("unavailable", "The store is not at the log's end.", { retryAfterMs: 500 });
    } catch (error) {
      // SU2: also where it was called off while the log came to rest.
      shard.rest.end();
      this.end();
      this.#leave();
      throw error;
    }
  }

  /** SU1. Then the snapshot is written, and `snapshot` tells what has come of it. Throws `unavailable`, `not-owner`, `stopped`. */
  async prove(): Promise<void> {
    const { shard } = this.#parts;
    const { kept } = this.#assertIn("held");
    this.#rest?.cancel();
    this.#state = { kind: "proving", kept };
    try {
      await shard.rest.prove();
    } catch (error) {
      this.#letGo(kept);
      this.end();
      this.#leave();
      throw error;
    }
    this.#state = { kind: "writing" };
    // Its outcome is kept in the state; whoever wants it asks for it.
    void this.#write(kept);
  }

  /** Undefined while it is being written. Throws what writing it has thrown, and `unavailable` where it is over. */
  get snapshot(): BlobAddress | undefined {
    if (this.#state.kind === "failed") throw this.#state.error;
    if (!this.#isWanted) throw over();
    return this.#state.kind === "kept" ? this.#state.snapshot.manifest : undefined;
  }

  /** Idempotent. What is being written is finished, and kept no longer. */
  end(): void {
    this.#isWanted = false;
    this.#rest?.cancel();
    this.#keep?.cancel();
    const state = this.#state;
    switch (state.kind) {
      case "prepared":
        this.#state = { kind: "over" };
        return this.#leave();
      case "holding":
        // SU2. `hold` finds it out.
        return this.#parts.shard.rest.end();
      case "held":
        this.#state = { kind: "over" };
        this.#parts.shard.rest.end();
        this.#letGo(state.kept);
        return this.#leave();
      case "kept":
        this.#state = { kind: "over" };
        return state.snapshot.release();
      case "proving":
      case "writing":
      case "failed":
      case "over":
    }
  }

  async #write({ view, dirtySlots }: Kept): Promise<void> {
    try {
      const snapshot = await this.#parts.write(view, dirtySlots);
      this.#state = { kind: "kept", snapshot };
      if (!this.#isWanted) this.end();
    } catch (error) {
      this.#state = { kind: "failed", error };
    } finally {
      this.#leave();
    }
  }

  #letGo({ view, dirtySlots }: Kept): void {
    view.close();
    this.#parts.shard.applier.returnDirtySlots(dirtySlots);
  }

  #leave(): void {
    if (this.#hasLeft) return;
    this.#hasLeft = true;
    this.#parts.onOver();
  }

  #assertIn<K extends State["kind"]>(kind: K): Extract<State, { readonly kind: K }> {
    if (this.#state.kind !== kind || !this.#isWanted) throw over();
    return this.#state as Extract<State, { readonly kind: K }>;
  }
}

function over(): OnefoldError {
  return new OnefoldError("unavailable", "This cut of the shard is over. Begin another one.", { retryAfterMs: 500 });
}
