/**
 * What a system is made of, as plain data: the builders in `define.ts` make it from a user's code, with full inference;
 * the executor, the gateway and the documentation read it. Names are checked when the system is put together.
 */
import type { StandardSchemaV1 } from "@standard-schema/spec";
import type { Region } from "../base/regions.ts";
import type { Value } from "../base/value.ts";
import type { Principal } from "./service.ts";

export type Schema<T = unknown> = StandardSchemaV1<unknown, T>;

/** An ordered keyed collection of an entity, as a command sees it. Keys order by their UTF-8 bytes; ≤ 512 bytes each. */
export interface Collection<Item = Value> {
  get(key: string): Item | undefined;
  has(key: string): boolean;
  set(key: string, item: Item): void;
  /** True if it was there. */
  delete(key: string): boolean;
  /** Items with `from` ≤ key < `to`, lazily, in order or `reverse`, at most `limit`. Later changes do not show in it. */
  range(options?: {
    readonly from?: string;
    readonly to?: string;
    readonly reverse?: boolean;
    readonly limit?: number;
  }): Iterable<readonly [key: string, item: Item]>;
}

/** The same without the writes: what a query sees. */
export type ReadonlyCollection<Item = Value> = Pick<Collection<Item>, "get" | "has" | "range">;

/** Minimal handle on an entity definition; `define.ts` gives it its types. */
export interface EntityHandle {
  readonly definition: EntityDefinition;
}

/** One of these for every command that runs; invalid once the command has returned. */
export interface CommandContext<Collections = Readonly<Record<string, Collection>>> {
  readonly id: string;
  readonly tenant: string;
  /** Log time, ms since the Unix epoch: the same for everything in a batch, never goes back. */
  readonly now: number;
  readonly caller: Principal;
  readonly collections: Collections;
  /** Uniform in [0, 1). */
  random(): number;
  /** A new unique id: 22 characters of URL-safe base64, 128 random bits. */
  newId(): string;
  /** Sends a command to another entity (or this one), once, after this command is durable, in order per pair of slots. */
  send(entity: EntityHandle, id: string, command: string, input?: unknown): void;
  /** Runs a command of this entity once, `delayMs` from `now` or later. The same `key` replaces an earlier timer. */
  after(delayMs: number, command: string, input?: unknown, options?: { readonly key?: string }): void;
  cancelTimer(key: string): void;
  /** Ends this entity after the command: state, collections and timers. Its id may start a new generation. */
  delete(): void;
}

export interface QueryContext<Collections = Readonly<Record<string, ReadonlyCollection>>> {
  readonly id: string;
  readonly tenant: string;
  /** Log time of the state that is read. */
  readonly now: number;
  readonly caller: Principal;
  readonly collections: Collections;
}

// `never` parameters and `unknown` results: the executor calls these with what the schemas have checked.
export type CommandBody = (state: never, input: never, context: never) => unknown;
export type QueryBody = (state: never, input: never, context: never) => unknown;

/**
 * What callers are told about a command, query or transaction besides its input: the source of OpenAPI. The compiler holds
 * the output's schema against what the function returns; nothing of it is checked when a call runs.
 */
export interface Documentation {
  /** What it does, for a person who calls it. CommonMark. */
  readonly description: string | undefined;
  /** What it gives; undefined: anything. */
  readonly output: Schema | undefined;
  /** Every refusal that a caller has to expect, by its code, with the schema of its details; undefined: any refusal. */
  readonly refusals: ReadonlyMap<string, Schema | "no details"> | undefined;
}

export interface CommandDefinition {
  readonly name: string;
  /** Absent: the command takes no input. */
  readonly input: Schema | undefined;
  readonly run: CommandBody;
  readonly documentation?: Documentation | undefined;
}

export interface QueryDefinition {
  readonly name: string;
  readonly input: Schema | undefined;
  readonly run: QueryBody;
  readonly documentation?: Documentation | undefined;
}

export interface CollectionDefinition {
  readonly name: string;
  readonly item: Schema;
}

export interface EntityDefinition {
  readonly name: string;
  readonly state: Schema;
  /** A fresh state of an entity that has none yet. */
  readonly initial: () => Value;
  /** The version of the state's schema; 1 unless migrations were given. */
  readonly schemaVersion: number;
  /** `migrations[i]` turns a state of version i + 1 into one of version i + 2. Fields that it doesn't know, it keeps. */
  readonly migrations: readonly ((state: never) => Value)[];
  readonly collections: ReadonlyMap<string, CollectionDefinition>;
  readonly commands: ReadonlyMap<string, CommandDefinition>;
  readonly queries: ReadonlyMap<string, QueryDefinition>;
  /** Entities of one affinity share a slot. Default: the kind and the id. A pure function, for ever. */
  readonly affinity: ((id: string) => string) | undefined;
  /** Where all its entities are, on a cluster; undefined: anywhere. Part of the keys: for ever. */
  readonly region: Region | undefined;
}

export interface TransactionDefinition {
  readonly name: string;
  readonly input: Schema | undefined;
  /** The transaction's home: a pure function of its input. Absent: its request number decides. */
  readonly at: ((input: never) => { readonly entity: EntityHandle; readonly id: string }) | undefined;
  readonly run: (tx: never, input: never) => Promise<unknown>;
  readonly documentation?: Documentation | undefined;
}

/** What a request brings, for `authenticate`. Header names are lower-case. */
export interface RequestFacts {
  readonly headers: Readonly<Record<string, string | undefined>>;
  readonly remoteAddress: string | undefined;
  readonly secure: boolean;
}

export interface Operation {
  readonly action:
    | "command"
    | "query"
    | "transaction"
    | "state"
    | "list"
    | "history"
    | "changes"
    | "dead-letters"
    | "delete"
    /** All that the node holds, of all tenants. */
    | "backup"
    /** The system moves to a cluster. */
    | "promote"
    /** A change of the cluster itself. */
    | "operate";
  /** Absent for transactions, backups and operating, and for changes and dead letters of all kinds. */
  readonly kind?: string;
  /** Absent for lists, dead letters, transactions, backups and moves, and for changes of more than one entity. */
  readonly id?: string;
  /** The command's, query's or transaction's name. */
  readonly name?: string;
}

export interface SystemOptions {
  /** Turns a request into a principal, or null for none (401). Absent: only loopback is served, to the developer. */
  readonly authenticate?: (request: RequestFacts) => Principal | null | Promise<Principal | null>;
  /** Whether the principal may do it; the scopes of raw access (`inspect`, `admin`) are checked besides. Default: yes. */
  readonly authorize?: (principal: Principal, operation: Operation) => boolean | Promise<boolean>;
}

export interface SystemDefinition {
  readonly name: string;
  readonly entities: ReadonlyMap<string, EntityDefinition>;
  readonly transactions: ReadonlyMap<string, TransactionDefinition>;
  readonly options: SystemOptions;
}

/** A typed system, as `system(...)` returns it. */
export interface SystemHandle {
  readonly definition: SystemDefinition;
}
