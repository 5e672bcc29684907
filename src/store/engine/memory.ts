/**
 * The simulated store: entries in memory, durable in the sense of the simulation. What `crash` leaves behind is the last
 * durable `apply`, and perhaps the one under way; what a fault damages is found by the same checksums as on a real disk.
 *
 * D1  `crash` keeps every resolved apply; the one under way is kept whole or not at all, as `random` decides (S1).
 * D2  A store handed out before a crash, or closed, throws when used: nobody reads from the dead.
 * D3  A damaged value stays in place and throws `damaged` on read (S3); a damaged file throws `damaged` on `open` (S4).
 * D4  After a `failed` apply the store refuses every later one until it is opened again.
 */
import { assert } from "../../base/assert.ts";
import { OnefoldError } from "../../base/errors.ts";
import type { Random, Timers } from "../../host/host.ts";
import { DiskError } from "../../host/host.ts";
import type { LogPosition } from "../../log/log.ts";
import { openValue, sealValue } from "../checked-value.ts";
import { assertWrites, keyEnd } from "../key.ts";
import type { Entry, RangeOptions, Store, StoreEngine, StoreReader, StoreView, Write } from "../store.ts";
import { OrderedMap } from "./ordered-map.ts";

export interface MemoryStoreOptions {
  readonly timers: Timers;
  /** Decides what a crash keeps and which value a fault hits. */
  readonly random: Random;
  /** How long the next apply takes until it is durable; default: the next turn. */
  readonly applyDelayMs?: () => number;
}

/** A store engine with faults to order. All of them are for tests; none happens by itself. */
export interface MemoryStoreEngine extends StoreEngine {
  /** The process dies: open stores are dead, an apply under way never settles and is durable in whole or not at all (D1). */
  crash(): void;
  /** The next apply fails: `full` changes nothing; `failed` may or may not have become durable (D4). Undefined: it doesn't. */
  failNextApply(code: "full" | "failed" | undefined): void;
  /** What is durable now; for checkers. */
  durableView(): StoreReader;
  /** Flips one bit in one stored value; false if there is none. */
  damageValue(): boolean;
  /** The next `open` throws `damaged`, until `destroy`. */
  damageFile(): void;
  /** The file is gone: the next `open` gives an empty store. */
  lose(): void;
}

interface Image {
  readonly entries: OrderedMap;
  readonly position: LogPosition | null;
}

const emptyImage: Image = { entries: OrderedMap.empty, position: null };

/** Costs nothing until opened. One store may be open at a time. */
export function memoryStore(options: MemoryStoreOptions): MemoryStoreEngine {
  return new MemoryEngine(options);
}

class MemoryEngine implements MemoryStoreEngine {
  readonly options: MemoryStoreOptions;
  durable: Image = emptyImage;
  nextFault: "full" | "failed" | undefined;
  #fileDamaged = false;
  #store: MemoryStore | undefined;

  constructor(options: MemoryStoreOptions) {
    this.options = options;
  }

  async open(): Promise<Store> {
    assert(this.#store === undefined || this.#store.dead, "a store is opened once at a time");
    if (this.#fileDamaged) {
      throw new OnefoldError("damaged", "The store's file is damaged. It must be rebuilt from a snapshot and the log.");
    }
    this.#store = new MemoryStore(this);
    return this.#store;
  }

  async destroy(): Promise<void> {
    assert(this.#store === undefined || this.#store.dead, "a store is closed before it is destroyed");
    this.durable = emptyImage;
    this.#fileDamaged = false;
  }

  crash(): void {
    const pending = this.#store?.die();
    if (pending !== undefined && this.options.random.next() < 0.5) this.durable = pending;
    this.nextFault = undefined;
  }

  failNextApply(code: "full" | "failed" | undefined): void {
    this.nextFault = code;
  }

  durableView(): StoreReader {
    return new ImageReader(this.durable, () => undefined);
  }

  damageValue(): boolean {
    const { entries, position } = this.durable;
    if (entries.size === 0) return false;
    let index = Math.floor(this.options.random.next() * entries.size);
    for (const { key, value } of entries.range({ from: new Uint8Array(0), to: keyEnd })) {
      if (index-- > 0) continue;
      const flipped = value.slice();
      const bit = Math.floor(this.options.random.next() * flipped.length * 8);
      flipped[bit >> 3] = flipped[bit >> 3]! ^ (1 << (bit & 7));
      this.durable = { entries: entries.with([{ key, value: flipped }]), position };
      if (this.#store !== undefined && !this.#store.dead) this.#store.replaceImage(this.durable);
      return true;
    }
    return false;
  }

  damageFile(): void {
    this.#fileDamaged = true;
  }

  lose(): void {
    assert(this.#store === undefined || this.#store.dead, "a file is lost between two lives of a store");
    this.durable = emptyImage;
  }
}

/** Reads of one image; `alive` throws where they are no longer allowed. */
class ImageReader implements StoreReader {
  protected image: Image;
  protected readonly alive: () => void;

  constructor(image: Image, alive: () => void) {
    this.image = image;
    this.alive = alive;
  }

  get position(): LogPosition | null {
    this.alive();
    return this.image.position;
  }

  get(key: Uint8Array): Uint8Array | undefined {
    this.alive();
    const sealed = this.image.entries.get(key);
    return sealed === undefined ? undefined : openValue(key, sealed);
  }

  *range(options: RangeOptions): IterableIterator<Entry> {
    this.alive();
    for (const { key, value } of this.image.entries.range(options)) {
      this.alive();
      yield { key: key.slice(), value: openValue(key, value) };
    }
  }
}

class MemoryView extends ImageReader implements StoreView {
  readonly #close: () => void;

  constructor(image: Image, alive: () => void, close: () => void) {
    super(image, alive);
    this.#close = close;
  }

  close(): void {
    this.#close();
  }
}

class MemoryStore extends ImageReader implements Store {
  readonly #engine: MemoryEngine;
  #state: "open" | "closed" | "crashed" = "open";
  #failed: DiskError | undefined;
  #pending: { readonly image: Image; readonly done: Promise<void> } | undefined;

  constructor(engine: MemoryEngine) {
    super(engine.durable, () => assert(this.#state === "open", "the store is no longer open"));
    this.#engine = engine;
  }

  get dead(): boolean {
    return this.#state !== "open";
  }

  replaceImage(image: Image): void {
    this.image = image;
  }

  async apply(writes: readonly Write[], position: LogPosition): Promise<void> {
    this.alive();
    assert(this.#pending === undefined, "one apply at a time");
    assertWrites(writes);
    if (this.#failed !== undefined) throw this.#failed;
    const sealed = writes.map(({ key, value }) => {
      const ownKey = key.slice();
      return { key: ownKey, value: value === null ? null : sealValue(ownKey, value) };
    });
    const fault = this.#engine.nextFault;
    this.#engine.nextFault = undefined;
    const { promise, resolve, reject } = deferred();
    const next: Image = { entries: this.image.entries.with(sealed), position };
    const settle = (): void => {
      // A crash leaves the promise unsettled for ever, as the death of a process does.
      if (this.#state === "crashed") return;
      this.#pending = undefined;
      if (fault === "full") {
        reject(new DiskError("full", "The disk is full; nothing was applied."));
      } else if (fault === "failed") {
        if (this.#engine.options.random.next() < 0.5) this.#engine.durable = next;
        this.#failed = new DiskError("failed", "The store could not be written; it must be opened again.");
        reject(this.#failed);
      } else {
        this.#engine.durable = next;
        this.image = next;
        resolve();
      }
    };
    this.#pending = { image: fault === "full" ? this.image : next, done: promise };
    const delayMs = this.#engine.options.applyDelayMs?.() ?? 0;
    if (delayMs > 0) this.#engine.options.timers.after(delayMs, settle);
    else this.#engine.options.timers.soon(settle);
    return promise;
  }

  view(): StoreView {
    this.alive();
    let open = true;
    const alive = (): void => {
      this.alive();
      assert(open, "the view is no longer open");
    };
    return new MemoryView(this.image, alive, () => {
      open = false;
    });
  }

  async close(): Promise<void> {
    if (this.#state !== "open") return;
    // The outcome of an apply under way is its caller's; closing only waits for it.
    await this.#pending?.done.then(
      () => undefined,
      () => undefined,
    );
    if (this.#state === "open") this.#state = "closed";
  }

  /** What an apply under way would have made, if there is one. */
  die(): Image | undefined {
    if (this.#state !== "open") return undefined;
    this.#state = "crashed";
    return this.#pending?.image;
  }
}

function deferred(): { promise: Promise<void>; resolve: () => void; reject: (error: Error) => void } {
  let resolve!: () => void;
  let reject!: (error: Error) => void;
  const promise = new Promise<void>((res, rej) => {
    resolve = res;
    reject = rej;
  });
  return { promise, resolve, reject };
}
