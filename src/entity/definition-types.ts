/**
 * The types behind the builders of `define.ts`: how a definition's names, inputs, states and results flow from where they
 * are written to where they are used. Types only; nothing here exists at run time.
 *
 * Every refusal of the type system is one of the `NotA…` types below, so that the compiler's message ends in a sentence.
 */
import type { StandardSchemaV1 } from "@standard-schema/spec";
import type { Value } from "../base/value.ts";
import type {
  Collection,
  CommandContext,
  EntityDefinition,
  EntityHandle,
  QueryContext,
  ReadonlyCollection,
  TransactionDefinition,
} from "./definition.ts";

/** Any schema that follows Standard Schema. What callers pass is its input; what a command receives is its output. */
export type AnySchema = StandardSchemaV1;
export type SchemaInput<S extends AnySchema> = StandardSchemaV1.InferInput<S>;
export type SchemaOutput<S extends AnySchema> = StandardSchemaV1.InferOutput<S>;

// ----------------------------------------------------------------------------------------------------------- refusals

/** In a compiler's message: this type is not a value (JSON, bytes, `Date` or `bigint`), and why. */
export interface NotAValue<Reason extends string> {
  readonly "not a Onefold value": Reason;
}

/** In a compiler's message: this type can't be a root state, and why. */
export interface NotAState<Reason extends string> {
  readonly "not a Onefold state": Reason;
}

/** In a compiler's message: this name can't be used here, and why. */
export interface NotAName<Reason extends string> {
  readonly "not a free name": Reason;
}

/** In a compiler's message: these migrations don't lead from one version to the next, and why. */
export interface NotAMigration<Reason extends string> {
  readonly "not a chain of migrations": Reason;
}

/** In a compiler's message: the output that was declared is not what the function returns, and why. */
export interface NotTheOutput<Reason extends string> {
  readonly "not the declared output": Reason;
}

type Leaf = null | undefined | boolean | number | string | bigint | Date | Uint8Array;

/**
 * `T` itself where it is made of values, else a type that nothing is assignable to. A mapped type rather than a
 * conditional one walks the properties, so that recursive types stay finite. What types can't tell (`unknown`, `any`)
 * passes: the check at run time has it.
 */
type Accept<T> = T extends Leaf
  ? T
  : T extends (...input: never) => unknown
    ? NotAValue<"a function can't be stored or sent">
    : T extends symbol
      ? NotAValue<"a symbol can't be stored or sent">
      : T extends PromiseLike<unknown>
        ? NotAValue<"a promise: commands and queries are synchronous; asynchronous work belongs in a transaction">
        : T extends ReadonlyMap<unknown, unknown> | ReadonlySet<unknown>
          ? NotAValue<"a Map or Set can't be stored or sent: use a plain object or an array">
          : T extends object
            ? { [K in keyof T]: Accept<T[K]> }
            : T;

/**
 * `unknown` (no objection) where `T` is made of values, else the objection. Intersected with the checked type at the place
 * where it is given. The first test decides almost every type and makes no new ones, which halves the time that a large
 * system takes to compile (`scripts/type-speed.ts`); interfaces, which have no index signature, need the second.
 */
// biome-ignore lint/suspicious/noConfusingVoidType: a command that returns nothing has the output `void`.
export type Checked<T> = [T] extends [Value | undefined | void] ? unknown : T extends Accept<T> ? unknown : Accept<T>;

/** As `Checked`, for a root state: an object with named fields. */
export type CheckedState<T> = T extends Leaf | readonly unknown[]
  ? NotAState<"a root state is an object with named fields; put anything else in one of them">
  : Checked<T>;

/** `unknown` (no objection) while `Name` is not among `Taken`. */
export type FreeName<Name extends string, Taken> = Name extends Taken
  ? NotAName<"another command or query of the entity has this name">
  : unknown;

/** `T` without any way to change it; Dates and bytes stay what they are. */
export type DeepReadonly<T> = T extends Leaf | ((...input: never) => unknown)
  ? T
  : T extends object
    ? { readonly [K in keyof T]: DeepReadonly<T[K]> }
    : T;

// ------------------------------------------------------------------------------------------------------- documentation

/**
 * What callers are told besides the input, in `/openapi.json`. The compiler holds `output` against what the function
 * returns; nothing of it is checked when a call runs, and it costs a call nothing.
 */
export interface CallDocumentation<S extends AnySchema = AnySchema> {
  /** What it does, for a person who calls it. CommonMark. */
  readonly description?: string;
  /** The schema of what it returns. */
  readonly output?: S;
  /** Every refusal that callers have to expect: its code, and the schema of its details, or null where it has none. */
  readonly refusals?: Readonly<Record<string, AnySchema | null>>;
}

/**
 * `unknown` (no objection) where what a function returns is what the schema accepts. Lists and fields are compared as
 * read-only ones: what is on its way to a caller is changed by nobody.
 */
export type Returns<S extends AnySchema, Output> = AnySchema extends S
  ? unknown
  : // The compiler also asks before it has looked into the function; then nothing is known yet.
    unknown extends Output
    ? unknown
    : DeepReadonly<Output> extends DeepReadonly<SchemaInput<S>>
      ? unknown
      : { readonly output: NotTheOutput<"the function returns something that this schema does not accept"> };

// ----------------------------------------------------------------------------------------------------------- entities

/** One command, query or transaction as its callers see it. `input` is undefined for one that takes none. */
export interface Call<Input = unknown, Output = unknown> {
  readonly input: Input;
  readonly output: Output;
}

/** What the type of an entity knows. */
export interface EntityTypes {
  readonly name: string;
  readonly state: unknown;
  /** Item types by name. */
  readonly collections: object;
  /** `Call`s by name. */
  readonly commands: object;
  readonly queries: object;
}

declare const types: unique symbol;

/** An entity's handle with its types; all that `tx`, `send` and the clients need of it. */
export interface TypedEntity<T extends EntityTypes = EntityTypes> extends EntityHandle {
  readonly definition: EntityDefinition & { readonly name: T["name"] };
  /** Exists for the compiler only. */
  readonly [types]?: T;
}

export interface EntityReference {
  readonly entity: EntityHandle;
  readonly id: string;
}

/** The parameters of a call: none need be given where the schema allows undefined or there is no schema. */
export type InputArguments<Input> = undefined extends Input ? [input?: Input] : [input: Input];

type InputOf<Calls, Name extends keyof Calls> = Calls[Name] extends Call<infer Input> ? Input : never;

/** Every command and query as a method that promises its output: how `tx` and the clients show an entity. */
export type CallMethods<Calls> = {
  readonly [Name in keyof Calls]: Calls[Name] extends Call<infer Input, infer Output>
    ? (...input: InputArguments<Input>) => Promise<Output>
    : never;
};

export interface TimerOptions {
  /** The same key replaces an earlier timer of the entity; `cancelTimer(key)` cancels it. */
  readonly key?: string;
}

/** What a command of an entity with these collections and commands (so far, its own included) receives. */
export interface EntityCommandContext<Collections, Commands>
  extends Omit<CommandContext<{ readonly [K in keyof Collections]: Collection<Collections[K]> }>, "send" | "after"> {
  /** Sends a command to another entity (or this one), once, after this command is durable, in order per pair of slots. */
  send<T extends EntityTypes, Name extends keyof T["commands"] & string>(
    entity: TypedEntity<T>,
    id: string,
    command: Name,
    ...input: InputArguments<InputOf<T["commands"], Name>>
  ): void;
  /**
   * Runs a command of this entity once, `delayMs` from `now` or later. The same `key` replaces an earlier timer. Input is
   * typed for this command and those defined before it; for later ones it is checked when the timer is set.
   */
  after<Name extends (keyof Commands & string) | (string & {})>(
    delayMs: number,
    command: Name,
    ...rest: Name extends keyof Commands
      ? [...input: InputArguments<InputOf<Commands, Name>>, options?: TimerOptions]
      : [input?: unknown, options?: TimerOptions]
  ): void;
}

export type EntityQueryContext<Collections> = QueryContext<{
  readonly [K in keyof Collections]: ReadonlyCollection<DeepReadonly<Collections[K]>>;
}>;

// ------------------------------------------------------------------------------------------------- versions of a state

/** Turns a state of one version into one of the next. Fields that it neither reads nor writes stay as they were. */
export type Migration = (state: never) => object;

/** `unknown` (no objection) where each migration takes what the one before it gives, and the last gives the state. */
export type MigrationChain<Steps extends readonly Migration[], State> = Steps extends readonly [
  infer First extends Migration,
  ...infer Rest extends readonly Migration[],
]
  ? Rest extends readonly [infer Second extends Migration, ...Migration[]]
    ? ReturnType<First> extends Parameters<Second>[0]
      ? MigrationChain<Rest, State>
      : NotAMigration<"a migration does not give what the next one takes">
    : ReturnType<First> extends State
      ? unknown
      : NotAMigration<"the last migration does not give a state of this version's schema">
  : unknown;

export interface StateVersion<Steps extends readonly Migration[] = readonly Migration[]> {
  /** One more than the number of migrations. */
  readonly version: number;
  readonly migrations: Steps;
}

// ------------------------------------------------------------------------------------------- transactions and systems

export interface TransactionTypes extends Call {
  readonly name: string;
}

export interface TypedTransaction<T extends TransactionTypes = TransactionTypes> {
  readonly definition: TransactionDefinition & { readonly name: T["name"] };
  /** Exists for the compiler only. */
  readonly [types]?: T;
}

/** Inside a transaction: the commands and queries of one entity, run as part of it. */
export type EntityCaller = <T extends EntityTypes>(
  entity: TypedEntity<T>,
  id: string,
) => CallMethods<T["commands"] & T["queries"]>;

/** What a system is put together from: entities and transactions, each under its own name. */
export type SystemParts<Parts> = {
  readonly [Name in keyof Parts]: (TypedEntity | TypedTransaction) & { readonly definition: { readonly name: Name } };
};

/** The types that an entity or a transaction carries. */
export type TypesOf<Part> = Part extends { readonly [types]?: infer T } ? Exclude<T, undefined> : never;
