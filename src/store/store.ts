/**
 * The store: the fold of the log, materialised as ordered key-value pairs, so that a restart need not replay the whole
 * log. A cache that happens to be on disk: always rebuildable from snapshot + log, never trusted without its checksums.
 *
 * S1  `apply` is atomic: its writes and its position stand together or not at all, also after a crash.
 * S2  What a read returns has been applied by a resolved `apply`; `apply` resolves only once it is durable.
 * S3  Every value's checksum covers its key: a damaged or misplaced value throws `damaged`, it is never returned.
 * S4  `open` never crashes the process on a damaged file: it throws `damaged`, and the caller rebuilds.
 *
 * Keys are byte strings of 1–1,900 bytes, ordered by bytes. Values are byte strings of 0–1 MiB.
 */
import type { LogPosition } from "../log/log.ts";

/** A put, or a removal where `value` is null. */
export interface Write {
  readonly key: Uint8Array;
  readonly value: Uint8Array | null;
}

export interface RangeOptions {
  /** Inclusive. Bounds may be longer than keys. */
  readonly from: Uint8Array;
  /** Exclusive. */
  readonly to: Uint8Array;
  readonly reverse?: boolean;
  readonly limit?: number;
}

export interface Entry {
  readonly key: Uint8Array;
  readonly value: Uint8Array;
}

export interface StoreReader {
  /** The log position whose fold this is; null for an empty store. */
  readonly position: LogPosition | null;
  /** A copy that the caller owns. Throws `OnefoldError("damaged")`. */
  get(key: Uint8Array): Uint8Array | undefined;
  /** In order of keys (or against it). The result is a snapshot: later `apply`s do not show in it. */
  range(options: RangeOptions): Iterable<Entry>;
}

/** A consistent view that later `apply`s do not change. Must be closed soon: it holds back the reuse of space. */
export interface StoreView extends StoreReader {
  close(): void;
}

export interface Store extends StoreReader {
  /** One at a time. Later writes of one key win. Throws `DiskError` `full` (nothing applied) or `failed`. */
  apply(writes: readonly Write[], position: LogPosition): Promise<void>;
  view(): StoreView;
  /** Idempotent. */
  close(): Promise<void>;
}

/** Opens stores of one place. `destroy` then `open` gives an empty one. */
export interface StoreEngine {
  open(): Promise<Store>;
  destroy(): Promise<void>;
}
