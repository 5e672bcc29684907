/**
 * The store on LMDB (lmdb-js 3.5), one data file per store. LMDB is fast and atomic, but it trusts its file: a truncated or
 * flipped one can end the process or give wrong bytes in silence. So the file is checked here before LMDB sees it.
 *
 * B1  Reads come from a read transaction that is taken over when an apply has resolved, never sooner (S2). LMDB would show
 *     a commit some microseconds before its promise resolves, and by default (overlapping sync) even before it is synced.
 * B2  An apply is one LMDB transaction that holds its writes and the state record: position, number of entries, and the sum
 *     of their checksums (S1). The sum tells a missing entry, which no checksum of a value can.
 * B3  Before LMDB opens the file, all of it has been walked with plain reads (`lmdb-file.ts`) and its entries add up to the
 *     state record. A marker file stands while LMDB opens it: found at the next open, that crash was the file's doing (S4).
 * B4  After a failed commit that is not a lack of space nothing more is written: what it left behind is unknown. A write
 *     that the disk cuts short looks to LMDB like a failed one (EIO), so the space is looked at before.
 * B5  The map keeps what was touched resident, so beyond a bound it is exchanged for a new one: the environment is closed
 *     and opened again within one turn of the microtask queue of its own, when no view, no range and no apply is open.
 *     Nobody reads in between, and the file is as LMDB has just left it.
 *
 * `flushed` of lmdb-js is never used: it does not reject. The caller holds the directory's lock: one process at a time.
 */
import { assert } from "../../base/assert.ts";
import { OnefoldError } from "../../base/errors.ts";
import type { Trace } from "../../host/host.ts";
import { DiskError } from "../../host/host.ts";
import type { LogPosition } from "../../log/log.ts";
import { checkedValueOverheadBytes, readChecksum, sealValueInto } from "../checked-value.ts";
import { assertWrites } from "../key.ts";
import { equalPositions } from "../position.ts";
import type { Entry, RangeOptions, Store, StoreEngine, StoreView, Write } from "../store.ts";
import { type Handles, LmdbEnvironment, unreadable } from "./lmdb-environment.ts";
import { LmdbFiles } from "./lmdb-files.ts";
import { LmdbView, SnapshotReader } from "./lmdb-reader.ts";
import { MapResidency, type ResidencyOptions } from "./lmdb-residency.ts";
import { addChecksum, emptyState, encodeState, type StoreState, stateKey, subtractChecksum } from "./lmdb-state.ts";
import { sortedLastWins } from "./ordered-map.ts";

export interface LmdbStoreOptions {
  /** Of this store alone; made if absent. Its parent must exist. */
  readonly directory: string;
  readonly trace: Trace;
  /**
   * Address space for the file's map; it costs no memory. A file that outgrows it is mapped anew, which doubles the resident
   * memory while both maps stand, so it is large from the start: 64 GiB.
   */
  readonly mapBytes?: number;
  /**
   * How much of the file may stay resident (B5), where the platform tells (Linux): default 40 MiB. What one apply touches may
   * come on top, and all of the file while a view or a range is open.
   */
  readonly residency?: Partial<ResidencyOptions>;
  /** Free space where the store is; default: what the file system says. */
  readonly freeBytes?: () => Promise<number>;
}

const mapBytesDefault = 64 * 1024 ** 3;
/** What an apply may need besides its writes: pages of the tree above them, the list of free pages. */
const pageBytesPerWrite = 4096;
const roomSpareBytes = 1024 * 1024;

/**
 * `open` throws `OnefoldError` `damaged` for a file that must not be served, `DiskError` where the disk refuses. It reads the
 * whole file: some 0.5 s for a million entries. One store may be open at a time.
 */
export function lmdbStore(options: LmdbStoreOptions): StoreEngine {
  const files = new LmdbFiles(options.directory);
  let open: LmdbStore | undefined;
  return {
    async open() {
      assert(open === undefined || open.closed, "a store is opened once at a time");
      const found = await files.check();
      await files.markOpening();
      const map = () => LmdbEnvironment.open(files.dataPath, options.mapBytes ?? mapBytesDefault);
      const environment = map();
      try {
        const state = environment.readState();
        // The marker stays where this throws: the next open says `damaged` too, until `destroy`.
        assertSameState(state, found ?? emptyState);
        await files.unmarkOpening();
        options.trace("debug", "The store's file was checked and opened.", {
          entries: state.entryCount,
          sequence: state.position?.sequence ?? null,
        });
        open = new LmdbStore({
          environment,
          state,
          mapAgain: () => {
            files.checkAgain();
            return map();
          },
          residency: new MapResidency(options.residency),
          freeBytes: options.freeBytes ?? (() => files.freeBytes()),
        });
      } catch (error) {
        await environment.close();
        throw error;
      }
      return open;
    },
    async destroy() {
      assert(open === undefined || open.closed, "a store is closed before it is destroyed");
      await files.remove();
    },
  };
}

function assertSameState(a: StoreState, b: StoreState): void {
  const samePosition =
    a.position === null ? b.position === null : b.position !== null && equalPositions(a.position, b.position);
  if (samePosition && a.entryCount === b.entryCount && a.checksumSum === b.checksumSum) return;
  throw new OnefoldError(
    "damaged",
    "The store's file shows LMDB another state than it was checked to hold. Rebuild it.",
  );
}

/** A turn of the event loop in which nothing else has run before, and whose microtask queue is empty. */
function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** Stands between two maps, where nobody reads; and for good where the second could not be made: `cause` says why. */
function unmapped(cause: DiskError): Handles {
  const fail = (): never => {
    throw unreadable(cause);
  };
  return { getFast: fail, range: fail, retain: fail, release: () => undefined };
}

const betweenMaps = unmapped(new DiskError("failed", "The store's file is not mapped."));

interface LmdbStoreParts {
  readonly environment: LmdbEnvironment;
  readonly state: StoreState;
  /** Opens the same file again. Throws as LMDB does, and `damaged`. */
  readonly mapAgain: () => LmdbEnvironment;
  readonly residency: MapResidency;
  readonly freeBytes: () => Promise<number>;
}

class LmdbStore extends SnapshotReader implements Store {
  #environment: LmdbEnvironment;
  readonly #mapAgain: () => LmdbEnvironment;
  readonly #residency: MapResidency;
  readonly #freeBytes: () => Promise<number>;
  #closing: Promise<void> | undefined;
  #applying: Promise<void> | undefined;
  #failed: DiskError | undefined;
  #openViews = 0;
  /** One that the watchdog stops in the middle never ends; then the map stays as it is, which is safe. */
  #openRanges = 0;
  #isMapLarge = false;
  #exchanging: Promise<void> | undefined;

  constructor({ environment, state, mapAgain, residency, freeBytes }: LmdbStoreParts) {
    super(environment.takeSnapshot(), state, () => assert(this.#closing === undefined, "the store is no longer open"));
    this.#environment = environment;
    this.#mapAgain = mapAgain;
    this.#residency = residency;
    this.#freeBytes = freeBytes;
  }

  get closed(): boolean {
    return this.#closing !== undefined;
  }

  async apply(writes: readonly Write[], position: LogPosition): Promise<void> {
    this.alive();
    assert(this.#applying === undefined, "one apply at a time");
    assertWrites(writes);
    if (this.#failed !== undefined) throw this.#failed;
    // Started synchronously: all bytes of the caller are copied before this returns its promise.
    this.#applying = this.#apply(writes, position);
    try {
      await this.#applying;
    } finally {
      this.#applying = undefined;
    }
  }

  async #apply(writes: readonly Write[], position: LogPosition): Promise<void> {
    // In order of keys, so that neighbours are written while their page is at hand.
    const sorted = sortedLastWins(writes);
    let bytes = 0;
    for (const { key, value } of sorted) {
      bytes += key.length + (value === null ? 0 : value.length + checkedValueOverheadBytes);
    }
    // One allocation for all: lmdb-js looks up the address of every buffer that it is given.
    const arena = new Uint8Array(bytes);
    let offset = 0;
    let { entryCount, checksumSum } = this.state;
    const sealed = sorted.map((write) => {
      arena.set(write.key, offset);
      const key = arena.subarray(offset, offset + write.key.length);
      offset += key.length;
      const old = this.handles.getFast(key);
      if (old !== undefined) {
        entryCount--;
        checksumSum = subtractChecksum(checksumSum, readChecksum(old, old.length));
      }
      if (write.value === null) return { key, value: null };
      entryCount++;
      checksumSum = addChecksum(checksumSum, sealValueInto(arena, offset, key, write.value));
      const begin = offset;
      offset += write.value.length + checkedValueOverheadBytes;
      return { key, value: arena.subarray(begin, offset) };
    });
    const state = { position, entryCount, checksumSum };
    const roomBytes = bytes + sorted.length * pageBytesPerWrite + roomSpareBytes;
    if ((await this.#freeBytes()) < roomBytes) {
      throw new DiskError("full", "There is too little room on the store's disk; nothing was applied.");
    }
    try {
      await this.#environment.write(sealed, { key: stateKey, value: encodeState(state) });
    } catch (error) {
      if (!(error instanceof DiskError && error.code === "full")) {
        this.#failed =
          error instanceof DiskError ? error : new DiskError("failed", "The store failed.", { cause: error });
      }
      throw this.#failed ?? error;
    }
    this.#touched(sorted.length);
    // As a part of the apply: under load there is no moment between two of them.
    if (this.#isMapLarge) {
      await nextTurn();
      if (await this.#exchangeMap(state)) return;
    }
    const next = this.#environment.takeSnapshot();
    this.handles.release();
    this.handles = next;
    this.state = state;
  }

  override get(key: Uint8Array): Uint8Array | undefined {
    const value = super.get(key);
    this.#touched();
    return value;
  }

  override *range(options: RangeOptions): IterableIterator<Entry> {
    this.#openRanges++;
    try {
      for (const entry of super.range(options)) {
        yield entry;
        this.#touched();
      }
    } finally {
      this.#openRanges--;
    }
  }

  #touched(count?: number): void {
    if (!this.#residency.touch(count)) return;
    this.#isMapLarge = true;
    if (this.#applying !== undefined || this.#exchanging !== undefined || this.#failed !== undefined) return;
    // It never rejects; `close` waits for it.
    this.#exchanging = this.#exchangeSoon().finally(() => {
      this.#exchanging = undefined;
    });
  }

  async #exchangeSoon(): Promise<void> {
    await nextTurn();
    // An apply that has begun meanwhile does it when it ends.
    if (!this.#isMapLarge || this.#applying !== undefined || this.#closing !== undefined) return;
    try {
      await this.#exchangeMap(this.state);
    } catch (error) {
      assert(error === this.#failed, "an exchange that fails has said so");
    }
  }

  /**
   * B5. Begins in a turn of its own, so that until the new map stands nothing else runs. Shows `state` then, the last that was
   * committed; false where it had to be put off, and the next look will tell again. Throws `DiskError`, and has failed then.
   */
  async #exchangeMap(state: StoreState): Promise<boolean> {
    this.#isMapLarge = false;
    if (this.#openViews > 0 || this.#openRanges > 0) return false;
    this.handles.release();
    this.handles = betweenMaps;
    try {
      await this.#environment.close(() => {
        this.#environment = this.#mapAgain();
        assertSameState(this.#environment.readState(), state);
        this.handles = this.#environment.takeSnapshot();
        this.state = state;
        this.#residency.restart();
      });
      return true;
    } catch (error) {
      this.#failed = new DiskError("failed", "The store's file could not be mapped again.", { cause: error });
      // Reads say `damaged`: who reads has nothing to go on from, and a store that is rebuilt has a map again.
      this.handles = unmapped(this.#failed);
      throw this.#failed;
    }
  }

  view(): StoreView {
    this.alive();
    const handles = this.handles;
    handles.retain();
    this.#openViews++;
    let open = true;
    const alive = (): void => {
      this.alive();
      assert(open, "the view is no longer open");
    };
    return new LmdbView(handles, this.state, alive, () => {
      if (!open) return;
      open = false;
      this.#openViews--;
      if (this.#closing === undefined) handles.release();
    });
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    // The outcome of an apply under way is its caller's; closing only waits for it.
    await this.#applying?.then(
      () => undefined,
      () => undefined,
    );
    await this.#exchanging;
    await this.#environment.close();
  }
}
