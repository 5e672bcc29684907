/** Reading one state of an LMDB store: every value is verified before it is handed out (S3). */
import type { LogPosition } from "../../log/log.ts";
import { openValue, openValueInPlace } from "../checked-value.ts";
import type { Entry, RangeOptions, StoreReader, StoreView } from "../store.ts";
import type { Handles } from "./lmdb-environment.ts";
import type { StoreState } from "./lmdb-state.ts";

/** Reads through one read transaction, which it shares with others. */
export class SnapshotReader implements StoreReader {
  protected handles: Handles;
  protected state: StoreState;
  protected readonly alive: () => void;

  constructor(handles: Handles, state: StoreState, alive: () => void) {
    this.handles = handles;
    this.state = state;
    this.alive = alive;
  }

  get position(): LogPosition | null {
    this.alive();
    return this.state.position;
  }

  get(key: Uint8Array): Uint8Array | undefined {
    this.alive();
    const sealed = this.handles.getFast(key);
    return sealed === undefined ? undefined : openValue(key, sealed, sealed.length);
  }

  *range(options: RangeOptions): IterableIterator<Entry> {
    this.alive();
    for (const { key, value } of this.handles.range(options)) {
      yield { key: new Uint8Array(key.buffer, key.byteOffset, key.length), value: openValueInPlace(key, value) };
      this.alive();
    }
  }
}

/** `close` is the store's: it knows what else holds the transaction. */
export class LmdbView extends SnapshotReader implements StoreView {
  readonly #close: () => void;

  constructor(handles: Handles, state: StoreState, alive: () => void, close: () => void) {
    super(handles, state, alive);
    this.#close = close;
  }

  close(): void {
    this.#close();
  }
}
