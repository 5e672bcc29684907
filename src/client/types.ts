/**
 * How the remote client shows a system: every part as a method, typed by its definition alone. What is the client's own begins
 * with `$`, which no name of a system's can: nothing that is ever added here can hide a command, or be hidden by one.
 */
import type { System } from "../entity/define-system.ts";
import type { Call, EntityTypes, InputArguments, TransactionTypes, TypesOf } from "../entity/definition-types.ts";
import type { CallOptions } from "./call.ts";
import type { Change, WatchOptions } from "./subscription.ts";

/** The parameters of a call: its input, which need not be given where it may be undefined, then its options. */
export type CallArguments<Input> = [...input: InputArguments<Input>, options?: CallOptions];

type CallMethod<C> =
  C extends Call<infer Input, infer Output> ? (...parameters: CallArguments<Input>) => Promise<Output> : never;

/** What a subscription gives: its values, or with their positions. Each iteration is a subscription of its own. */
export interface Watch<T> extends AsyncIterable<T> {
  /** The same with the position of each value. */
  readonly changes: AsyncIterable<Change<T>>;
}

/** An entity's raw state, for the scope `inspect`. */
export interface EntityState<State> {
  readonly state: State;
  /** Starts at 1; one more for each life after a deletion. */
  readonly generation: number;
  /** Commands that changed this generation. */
  readonly version: number;
  readonly schemaVersion: number;
}

/** One thing that happened to an entity. */
export interface HistoryEntry<State> {
  readonly sequence: number;
  readonly timeMs: number;
  readonly generation: number;
  readonly version: number;
  readonly command: string;
  readonly by: "call" | "transaction" | "message" | "timer" | "admin";
  readonly subject: string;
  /** Where the command changed the root state: the state after it; null if it deleted the entity. */
  readonly state?: State | null;
  readonly itemCount: number;
}

export interface HistoryPage<State> {
  /** Newest first. */
  readonly items: readonly HistoryEntry<State>[];
  /** For the next page; absent on the last. */
  readonly cursor?: string;
  /** True where older history has been trimmed from the log. */
  readonly trimmed: boolean;
}

export interface IdPage {
  /** In the order of their UTF-8 bytes. */
  readonly ids: readonly string[];
  /** For the next page; absent on the last. */
  readonly cursor?: string;
}

export interface PageOptions extends Pick<CallOptions, "deadlineMs" | "signal"> {
  readonly limit?: number;
  /** As the page before gave it. */
  readonly cursor?: string;
}

export interface ListOptions extends PageOptions {
  readonly prefix?: string;
}

type InputOf<C> = C extends Call<infer Input> ? Input : never;
type OutputOf<C> = C extends Call<unknown, infer Output> ? Output : never;

/** What the client can do with an entity of any kind. */
export interface EntityOperations<T extends EntityTypes> {
  /** The query's present result, then the next whenever it has changed. */
  $watch<Name extends keyof T["queries"] & string>(
    query: Name,
    ...parameters: [...input: InputArguments<InputOf<T["queries"][Name]>>, options?: WatchOptions]
  ): Watch<OutputOf<T["queries"][Name]>>;
  /** The raw state, then the next whenever it has changed; undefined while there is no such entity. Scope `inspect`. */
  $watchState(options?: WatchOptions): Watch<EntityState<T["state"]> | undefined>;
  /** The raw state; undefined where there is no such entity. Scope `inspect`. */
  $state(options?: CallOptions): Promise<EntityState<T["state"]> | undefined>;
  /** What happened to it, newest first. Scope `inspect`. */
  $history(options?: PageOptions): Promise<HistoryPage<T["state"]>>;
  /** Ends the entity. `not-found` where there is none. Scope `admin`. */
  $delete(options?: CallOptions): Promise<void>;
}

/** One entity: its commands and queries, and what can be done with any. */
export type RemoteEntity<T extends EntityTypes> = {
  readonly [Name in keyof (T["commands"] & T["queries"])]: CallMethod<(T["commands"] & T["queries"])[Name]>;
} & EntityOperations<T>;

type RemotePart<T> = T extends EntityTypes
  ? (id: string) => RemoteEntity<T>
  : T extends TransactionTypes
    ? T["input"] extends string
      ? TextNeedsTransaction
      : CallMethod<T>
    : never;

/** In a compiler's message: a transaction whose input is text looks like an entity of that id to the client. */
export interface TextNeedsTransaction {
  readonly "a transaction whose input is text is run by client.$transaction(name, input)": never;
}

type EntityNames<Parts> = {
  [Name in keyof Parts]: TypesOf<Parts[Name]> extends EntityTypes ? Name : never;
}[keyof Parts];

type TransactionNames<Parts> = Exclude<keyof Parts, EntityNames<Parts>>;

/** What the client can do with any system. */
export interface ClientOperations<Parts> {
  /** Ids of a kind, in order. Scope `inspect`. */
  $list<Kind extends EntityNames<Parts> & string>(kind: Kind, options?: ListOptions): Promise<IdPage>;
  /** Runs a transaction by its name. */
  $transaction<Name extends TransactionNames<Parts> & string>(
    name: Name,
    ...parameters: CallArguments<InputOf<TypesOf<Parts[Name]>>>
  ): Promise<OutputOf<TypesOf<Parts[Name]>>>;
  /** Ends it: calls and subscriptions that are open end with `not-ready`. Idempotent. */
  $close(): void;
}

/** `client.account("alice").deposit({ cents: 5 })`, `client.transfer({ ... })` of the system `S`. */
export type RemoteClient<S> =
  S extends System<infer Parts>
    ? { readonly [Name in keyof Parts]: RemotePart<TypesOf<Parts[Name]>> } & ClientOperations<Parts>
    : never;
