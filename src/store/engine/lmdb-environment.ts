/**
 * One open LMDB environment behind lmdb-js, with the two databases of a store: its entries, and its state record. The only
 * file that calls lmdb-js; its errors become `DiskError` and `OnefoldError` here, by code.
 */
import { type Database, open, type RootDatabase, type Transaction } from "lmdb";
import { OnefoldError } from "../../base/errors.ts";
import { DiskError } from "../../host/host.ts";
import { boundedBound } from "../key.ts";
import type { Entry, RangeOptions, Write } from "../store.ts";
import { decodeState, emptyState, type StoreState, stateKey } from "./lmdb-state.ts";

/** The names under which LMDB's main database knows the two. Part of the format. */
export const entriesName = "entries";
export const stateName = "state";

type Bytes = Database<Uint8Array, Uint8Array>;

/**
 * One read transaction, shared by whoever retains it; holds back the reuse of pages until the last has released it. Reads throw
 * `damaged` and nothing else.
 */
export interface Handles {
  /** As stored, sealed, in a buffer that the next read overwrites; only its `length` is right, views of it are not. */
  getFast(key: Uint8Array): Uint8Array | undefined;
  /** As stored, sealed; each entry owns its bytes. */
  range(options: RangeOptions): Iterable<Entry>;
  retain(): void;
  release(): void;
}

export class LmdbEnvironment {
  readonly #root: RootDatabase<Uint8Array, Uint8Array>;
  readonly #entries: Bytes;
  readonly #state: Bytes;
  #isClosed = false;

  private constructor(root: RootDatabase<Uint8Array, Uint8Array>) {
    this.#root = root;
    this.#entries = root.openDB({ name: entriesName, keyEncoding: "binary", encoding: "binary" });
    this.#state = root.openDB({ name: stateName, keyEncoding: "binary", encoding: "binary" });
  }

  /** Opens or makes the file at `path`, which has been checked. Throws `damaged`, or `DiskError`. */
  static open(path: string, mapBytes: number): LmdbEnvironment {
    return translating(() => {
      const root = open<Uint8Array, Uint8Array>({
        path,
        noSubdir: true,
        keyEncoding: "binary",
        encoding: "binary",
        overlappingSync: false,
        cache: false,
        mapSize: mapBytes,
        maxDbs: 4,
      });
      return new LmdbEnvironment(root);
    });
  }

  readState(): StoreState {
    return translating(() => {
      const sealed = this.#state.getBinary(stateKey);
      return sealed === undefined ? emptyState : decodeState(sealed);
    });
  }

  /** A read transaction on the last commit. */
  takeSnapshot(): Handles {
    const entries = this.#entries;
    this.#root.resetReadTxn();
    const transaction = entries.useReadTransaction() as Transaction & { use(): void };
    const options = { transaction };
    return {
      getFast: (key) => {
        try {
          // lmdb-js takes the options, its types do not say so.
          const get = entries.getBinaryFast as (key: Uint8Array, o: object) => Uint8Array | undefined;
          return get.call(entries, key, options);
        } catch (error) {
          throw unreadable(error);
        }
      },
      range: (range) => rangeOf(entries, range, transaction),
      retain: () => transaction.use(),
      release: () => transaction.done(),
    };
  }

  /** One durable transaction. Throws `DiskError`: `full` means that nothing was written. */
  async write(
    writes: readonly Write[],
    state: { readonly key: Uint8Array; readonly value: Uint8Array },
  ): Promise<void> {
    try {
      await this.#root.batch(() => {
        for (const { key, value } of writes) {
          // One promise stands for the whole batch; those of its parts are the same one, or never reject.
          if (value === null) void this.#entries.remove(key);
          else void this.#entries.put(key, value);
        }
        void this.#state.put(state.key, state.value);
      });
    } catch (error) {
      throw translate(await commitCause(error));
    }
  }

  /**
   * Every read transaction ends with it; on return nothing of the file is mapped. `then` runs in the same turn as the end,
   * so that nothing comes between: the promise rejects with what it throws. Once no write is under way, all of it takes a few
   * turns of the microtask queue and no turn of the event loop. Once only: later calls do nothing.
   */
  async close(then?: () => void): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    // lmdb-js aborts its current read transaction at once; one that somebody retains must not be it.
    this.#root.resetReadTxn();
    // lmdb-js calls it right after LMDB's own close; its types do not say so.
    await (this.#root.close as (then?: () => void) => Promise<void>).call(this.#root, then);
  }
}

function* rangeOf(entries: Bytes, options: RangeOptions, transaction: Transaction): IterableIterator<Entry> {
  const { reverse = false, limit } = options;
  const from = boundedBound(options.from);
  const to = boundedBound(options.to);
  if (Buffer.compare(from, to) >= 0 || limit === 0) return;
  // LMDB's ranges begin inclusively and end exclusively in their own direction, and know no empty key.
  const begin = from.length === 0 ? Uint8Array.of(0) : from;
  const bounds = reverse
    ? { start: to, end: begin, reverse, exclusiveStart: true, inclusiveEnd: true }
    : { start: begin, end: to };
  const iterator = entries
    .getRange({ ...bounds, transaction, ...(limit === undefined ? {} : { limit }) })
    [Symbol.iterator]();
  for (;;) {
    const next = nextOf(iterator);
    if (next.done === true) return;
    let isLeft = true;
    try {
      yield next.value;
      isLeft = false;
    } finally {
      if (isLeft) iterator.return?.();
    }
  }
}

function nextOf(iterator: Iterator<Entry>): IteratorResult<Entry> {
  try {
    return iterator.next();
  } catch (error) {
    throw unreadable(error);
  }
}

/** Whatever keeps a store from being read, that store is of no use, and another can be made from the log. */
export function unreadable(cause: unknown): OnefoldError {
  return new OnefoldError("damaged", "The store's file could not be read. It must be rebuilt.", { cause });
}

/** What lmdb-js hides behind 'Commit failed': the error is in a promise that rejects with it. */
async function commitCause(error: unknown): Promise<unknown> {
  if (!(error instanceof Error) || !("commitError" in error)) return error;
  try {
    await error.commitError;
    return error;
  } catch (cause) {
    return cause;
  }
}

function translating<T>(body: () => T): T {
  try {
    return body();
  } catch (error) {
    throw translate(error);
  }
}

/** LMDB's own codes, from lmdb.h. */
const mapFull = -30792;
const damagedCodes: ReadonlySet<unknown> = new Set([
  -30797, // MDB_PAGE_NOTFOUND
  -30796, // MDB_CORRUPTED
  -30795, // MDB_PANIC
  -30794, // MDB_VERSION_MISMATCH
  -30793, // MDB_INVALID
]);
/** ENOSPC, EFBIG and EDQUOT of Linux and macOS. */
const fullCodes: ReadonlySet<unknown> = new Set([mapFull, 28, 27, 122, 69]);

function translate(error: unknown): Error {
  if (error instanceof OnefoldError || error instanceof DiskError) return error;
  const code = error instanceof Error && "code" in error ? error.code : undefined;
  if (fullCodes.has(code)) {
    return new DiskError("full", "There is no room for the store; nothing was applied.", { cause: error });
  }
  if (damagedCodes.has(code)) {
    return new OnefoldError("damaged", "LMDB finds the store's file damaged. It must be rebuilt.", { cause: error });
  }
  return new DiskError("failed", "LMDB could not read or write the store's file.", { cause: error });
}
