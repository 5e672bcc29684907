/** What a command or query sees of an entity: the shard's own state of it, or a transaction's private version. */
import type { ItemOverlay } from "./item-overlay.ts";
import type { LiveItems } from "./live-items.ts";
import type { LiveEntity } from "./working-set.ts";

/** An entity as the next command of somebody sees it: the shard's own view, or a transaction's. */
export interface EntityView {
  readonly live: LiveEntity;
  readonly generation: number;
  readonly version: number;
  readonly schemaVersion: number;
  /** Null: no life now; the next command begins generation + 1. */
  readonly state: Uint8Array | null;
  /** Decoded `state`; taken by a command while it runs and given back if it succeeds. */
  draft: object | undefined;
  /** The view's own changes over what the shard knows; undefined for none. */
  ownItems(collection: string): ItemOverlay | undefined;
  /** What the shard knows of a collection; undefined where the view begins a new life, which has no items yet. */
  sharedItems(collection: string): LiveItems | undefined;
  /** Due times by key. */
  timers(): ReadonlyMap<string, number>;
}
