/** What a shard is made of. */
import type { OnefoldError } from "../base/errors.ts";
import type { Limits } from "../base/limits.ts";
import type { Host } from "../host/host.ts";
import type { Log } from "../log/log.ts";
import type { Past } from "../log/past.ts";
import type { Store } from "../store/store.ts";
import type { Core } from "./core.ts";
import type { SystemDefinition } from "./definition.ts";
import type { Neighbours } from "./neighbours.ts";
import type { TransactionRunner } from "./transaction-runner.ts";

export interface ShardOptions {
  readonly host: Host;
  readonly limits: Limits;
  readonly system: SystemDefinition;
  readonly log: Log;
  /** Brought up to the log's end by the caller. */
  readonly store: Store;
  /** Log time of the log's last record. */
  readonly lastTimeMs: number;
  /** Signs session tokens; the same for all lives of the log's incarnation. */
  readonly secret: Uint8Array;
  /** 16 bytes: whose sessions these are. By default the log's incarnation. */
  readonly sessionsOf?: Uint8Array;
  /** See `Committer`, M5. By default the log is this node's alone, and what is durable may be told. */
  readonly mayTellDurable?: () => boolean;
  readonly cacheBytes?: number;
  /** What stood before the log's first record, for its history. By default nothing. */
  readonly past?: Past;
  /** The system's other shards. Without them all slots are this one's. */
  readonly neighbours?: Neighbours;
  /** Names of entities that none of the user's code is to run for. None by default. */
  readonly quarantined?: ReadonlySet<string>;
  readonly transactions: (core: Core) => TransactionRunner;
  /** The shard has stopped for good; `isDamage` tells that its store must be rebuilt. */
  readonly onStopped: (error: OnefoldError, facts: { readonly isDamage: boolean }) => void;
}
