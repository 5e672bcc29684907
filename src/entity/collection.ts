/**
 * An ordered keyed collection as one running command or query sees it: its own changes over the layers below.
 *
 * C5  What it shares with others (`LiveItems`, the store) is touched by `Guard.own` alone: the watchdog never stops that.
 */
import { isWellFormed, utf8Length } from "../base/bytes.ts";
import { OnefoldError } from "../base/errors.ts";
import type { Limits } from "../base/limits.ts";
import { decodeValue, encodeValue, type Value } from "../base/value.ts";
import type { Guard } from "../host/host.ts";
import type { Collection, CollectionDefinition } from "./definition.ts";
import type { EntityView } from "./entity-view.ts";
import { type ItemOverlay, type ItemRange, rangeOfLayers, type StoredItem } from "./item-overlay.ts";
import type { LiveItems } from "./live-items.ts";
import { validate } from "./validate.ts";

export interface CollectionParts {
  readonly view: EntityView;
  readonly definition: CollectionDefinition;
  readonly limits: Limits;
  readonly guard: Guard;
  /** Where changes go; undefined for a query, which may not make any. */
  readonly changes: ItemOverlay | undefined;
  readonly assertUsable: () => void;
  /** Told of what reading threw, before user code can catch it; gives it back. */
  readonly noteFailure: (error: unknown) => unknown;
}

export class LiveCollection implements Collection<Value> {
  readonly #parts: CollectionParts;
  readonly #layers: readonly (ItemOverlay | undefined)[];
  readonly #shared: LiveItems | undefined;

  constructor(parts: CollectionParts) {
    this.#parts = parts;
    const { view, definition } = parts;
    this.#layers = [parts.changes, view.ownItems(definition.name)];
    this.#shared = view.sharedItems(definition.name);
  }

  #bytesOf(key: string): Uint8Array | undefined {
    for (const layer of this.#layers) {
      const change = layer?.get(key);
      if (change !== undefined) return change.value ?? undefined;
    }
    const shared = this.#shared;
    if (shared === undefined) return undefined;
    try {
      return this.#parts.guard.own(() => shared.get(key));
    } catch (error) {
      throw this.#parts.noteFailure(error);
    }
  }

  get(key: string): Value | undefined {
    this.#parts.assertUsable();
    const bytes = this.#bytesOf(checkKey(key, this.#parts.limits));
    return bytes === undefined ? undefined : decodeValue(bytes);
  }

  has(key: string): boolean {
    this.#parts.assertUsable();
    return this.#bytesOf(checkKey(key, this.#parts.limits)) !== undefined;
  }

  set(key: string, item: Value): void {
    const { definition, limits } = this.#parts;
    const changes = this.#writable();
    checkKey(key, limits);
    validate(definition.item, item, { what: `the item of ${definition.name}`, code: "invalid-state" });
    const value = encodeValue(item);
    if (value.length > limits.itemBytesMax) {
      throw new OnefoldError(
        "too-large",
        `An item of ${definition.name} would be ${value.length} bytes; the limit is ${limits.itemBytesMax}.`,
        { details: { bytes: value.length, bytesMax: limits.itemBytesMax } },
      );
    }
    changes.set({ key, value, sequence: 0 });
  }

  delete(key: string): boolean {
    const changes = this.#writable();
    if (!this.has(key)) return false;
    changes.set({ key, value: null, sequence: 0 });
    return true;
  }

  range(
    options: { readonly from?: string; readonly to?: string; readonly reverse?: boolean; readonly limit?: number } = {},
  ): Iterable<readonly [string, Value]> {
    this.#parts.assertUsable();
    const range: ItemRange = { from: options.from, to: options.to, reverse: options.reverse ?? false };
    return this.#decoded(rangeOfLayers(this.#layers, this.#shared?.range(range) ?? [], range), options.limit);
  }

  *#decoded(items: Iterable<StoredItem>, limit = Number.POSITIVE_INFINITY): Iterable<readonly [string, Value]> {
    let left = limit;
    const iterator = items[Symbol.iterator]();
    const next = () => iterator.next();
    while (left-- > 0) {
      const item = this.#next(next);
      if (item === undefined) return;
      yield item;
    }
  }

  #next(next: () => IteratorResult<StoredItem>): readonly [string, Value] | undefined {
    try {
      for (;;) {
        const item = this.#parts.guard.own(next);
        if (item.done) return undefined;
        const { key, value } = item.value;
        if (value === null) continue;
        this.#parts.assertUsable();
        return [key, decodeValue(value)];
      }
    } catch (error) {
      throw this.#parts.noteFailure(error);
    }
  }

  #writable(): ItemOverlay {
    this.#parts.assertUsable();
    if (this.#parts.changes === undefined) {
      throw new OnefoldError("command-failed", "A query may not change a collection; make it a command.");
    }
    return this.#parts.changes;
  }
}

function checkKey(key: string, limits: Limits): string {
  if (typeof key !== "string" || key === "" || !isWellFormed(key) || utf8Length(key) > limits.itemKeyBytesMax) {
    throw new OnefoldError(
      "invalid-value",
      `An item's key must be text of 1 to ${limits.itemKeyBytesMax} bytes of UTF-8, without lone surrogates.`,
    );
  }
  return key;
}
