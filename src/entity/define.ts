/**
 * The builders that users write entities with, typed from end to end. Each step returns a new builder and leaves the one
 * it came from as it was. What they make is plain data (`definition.ts`).
 *
 * D1  A definition that a builder returned is complete and consistent; every mistake in it throws `invalid-definition`
 *     where it is written, or in `system` where only the whole shows it.
 * D2  Commands and queries of an entity share one space of names, because callers see both as methods of one object.
 */
import { parseId } from "../base/ids.ts";
import type { Value } from "../base/value.ts";
import type { CommandBody, Documentation, EntityDefinition, QueryBody, Schema } from "./definition.ts";
import {
  checkDocumentation,
  checkFunction,
  checkName,
  checkRegion,
  checkSchema,
  checkSynchronous,
  invalidDefinition,
  isSchema,
} from "./definition-check.ts";
import type {
  AnySchema,
  Call,
  CallDocumentation,
  Checked,
  CheckedState,
  DeepReadonly,
  EntityCommandContext,
  EntityQueryContext,
  EntityReference,
  FreeName,
  Migration,
  MigrationChain,
  Returns,
  SchemaInput,
  SchemaOutput,
  StateVersion,
  TypedEntity,
} from "./definition-types.ts";
import { keepUnknownFields } from "./migration.ts";

/** An entity that has a state already; more commands, queries and collections can be added. */
export interface Entity<Name extends string, State, Collections, Commands, Queries>
  extends TypedEntity<{
    name: Name;
    state: State;
    collections: Collections & object;
    commands: Commands & object;
    queries: Queries & object;
  }> {
  /** Refers to one entity of the kind. Throws `invalid-id`. */
  (id: string): EntityReference;

  /** Adds an ordered keyed collection; a command costs the items that it touches, not all that there are. */
  collection<const Item extends string, S extends AnySchema>(
    name: Item & FreeName<Item, keyof Collections>,
    item: S & Checked<SchemaInput<S>>,
  ): Entity<Name, State, Collections & Record<Item, SchemaInput<S>>, Commands, Queries>;

  /**
   * Adds a command without input. It changes `state` in place; what it returns goes to the caller. If it throws, nothing
   * of it has happened; `Refused` is how it says no.
   */
  command<const Command extends string, Output, O extends AnySchema = AnySchema>(
    name: Command & FreeName<Command, keyof Commands | keyof Queries>,
    run: (
      state: State,
      input: undefined,
      context: EntityCommandContext<Collections, Commands & Record<Command, Call<undefined>>>,
    ) => Output & Checked<Output>,
    documentation?: CallDocumentation<O> & Returns<NoInfer<O>, NoInfer<Output>>,
  ): Entity<Name, State, Collections, Commands & Record<Command, Call<undefined, Output>>, Queries>;
  /** Adds a command. `run` receives what the schema made of the caller's input. */
  command<const Command extends string, S extends AnySchema, Output, O extends AnySchema = AnySchema>(
    name: Command & FreeName<Command, keyof Commands | keyof Queries>,
    input: S & Checked<SchemaInput<S>>,
    run: (
      state: State,
      input: SchemaOutput<S>,
      context: EntityCommandContext<Collections, Commands & Record<Command, Call<SchemaInput<S>>>>,
    ) => Output & Checked<Output>,
    documentation?: CallDocumentation<O> & Returns<NoInfer<O>, NoInfer<Output>>,
  ): Entity<Name, State, Collections, Commands & Record<Command, Call<SchemaInput<S>, Output>>, Queries>;

  /** Adds a query without input: it reads, and can't change anything. */
  query<const Query extends string, Output, O extends AnySchema = AnySchema>(
    name: Query & FreeName<Query, keyof Commands | keyof Queries>,
    run: (
      state: DeepReadonly<State>,
      input: undefined,
      context: EntityQueryContext<Collections>,
    ) => Output & Checked<Output>,
    documentation?: CallDocumentation<O> & Returns<NoInfer<O>, NoInfer<Output>>,
  ): Entity<Name, State, Collections, Commands, Queries & Record<Query, Call<undefined, Output>>>;
  /** Adds a query. `run` receives what the schema made of the caller's input. */
  query<const Query extends string, S extends AnySchema, Output, O extends AnySchema = AnySchema>(
    name: Query & FreeName<Query, keyof Commands | keyof Queries>,
    input: S & Checked<SchemaInput<S>>,
    run: (
      state: DeepReadonly<State>,
      input: SchemaOutput<S>,
      context: EntityQueryContext<Collections>,
    ) => Output & Checked<Output>,
    documentation?: CallDocumentation<O> & Returns<NoInfer<O>, NoInfer<Output>>,
  ): Entity<Name, State, Collections, Commands, Queries & Record<Query, Call<SchemaInput<S>, Output>>>;

  /**
   * Entities of one affinity, of this kind or of others, share a slot, so that transactions over them stay in one log.
   * `affinity` must be a pure function of the id, for ever: an entity whose affinity changed would not be found again.
   */
  affinity(affinity: (id: string) => string): Entity<Name, State, Collections, Commands, Queries>;

  /**
   * Pins the kind to a region: on a cluster, all that is kept of its entities is on nodes and servers of the engine with this label, and
   * they are unavailable rather than anywhere else. On one machine it has no effect. It is part of the keys: for ever.
   */
  region(name: string): Entity<Name, State, Collections, Commands, Queries>;
}

/** An entity that has a name and nothing else yet. */
export interface EntityStart<Name extends string> {
  /**
   * The root state: its schema, which checks what commands leave and never replaces it, and a fresh one for an entity that
   * has none yet. With `version`, one migration for each step from version 1.
   */
  state<S extends AnySchema, const Steps extends readonly Migration[] = readonly []>(
    schema: S & CheckedState<SchemaInput<S>>,
    initial: () => SchemaInput<S>,
    version?: StateVersion<Steps & MigrationChain<NoInfer<Steps>, SchemaInput<NoInfer<S>>>>,
  ): Entity<Name, SchemaInput<S>, unknown, unknown, unknown>;
}

/**
 * Begins an entity kind. Its name is part of every key and every URL: it can't be changed once there are entities.
 * All builders throw `invalid-definition` (retry never).
 */
export function entity<const Name extends string>(name: Name): EntityStart<Name> {
  checkName(name, "Entity");
  const start = {
    state(schema: Schema, initial: () => Value, version: StateVersion = { version: 1, migrations: [] }) {
      const where = `The state of ${name}`;
      checkSchema(schema, where);
      checkSynchronous(initial, `${where}, its initial value`);
      checkVersion(version, where);
      return build({
        name,
        state: schema,
        initial,
        schemaVersion: version.version,
        migrations: version.migrations.map(keepUnknownFields),
        collections: new Map(),
        commands: new Map(),
        queries: new Map(),
        affinity: undefined,
        region: undefined,
      });
    },
  };
  // The one place where the typed face meets the untyped machinery; the type tests hold them together.
  return start as unknown as EntityStart<Name>;
}

/** The builder's methods as they are at run time, where types are gone. */
interface UntypedEntity {
  (id: string): EntityReference;
  readonly definition: EntityDefinition;
  collection(name: string, item: Schema): UntypedEntity;
  command(name: string, ...rest: readonly unknown[]): UntypedEntity;
  query(name: string, ...rest: readonly unknown[]): UntypedEntity;
  affinity(affinity: (id: string) => string): UntypedEntity;
  region(name: string): UntypedEntity;
}

function build(definition: EntityDefinition): UntypedEntity {
  const of = ` of ${definition.name}`;
  const refer = (id: string): EntityReference => ({ entity: handle, id: parseId(id) });
  const handle: UntypedEntity = Object.freeze(
    Object.assign(refer, {
      definition: Object.freeze(definition),
      collection(name: string, item: Schema) {
        checkName(name, "Collection", of);
        if (definition.collections.has(name)) throw invalidDefinition(`Collection "${name}"${of} is defined twice`);
        checkSchema(item, `Collection "${name}"${of}`);
        return build({ ...definition, collections: withEntry(definition.collections, name, { name, item }) });
      },
      command(name: string, ...rest: readonly unknown[]) {
        const { input, run, documentation } = checkCall(definition, "Command", name, rest);
        const command = { name, input, run: run as CommandBody, documentation };
        return build({ ...definition, commands: withEntry(definition.commands, name, command) });
      },
      query(name: string, ...rest: readonly unknown[]) {
        const { input, run, documentation } = checkCall(definition, "Query", name, rest);
        const query = { name, input, run: run as QueryBody, documentation };
        return build({ ...definition, queries: withEntry(definition.queries, name, query) });
      },
      affinity(affinity: (id: string) => string) {
        checkFunction(affinity, `The affinity${of}`);
        if (definition.affinity !== undefined) throw invalidDefinition(`The affinity${of} is defined twice`);
        return build({ ...definition, affinity });
      },
      region(name: string) {
        if (definition.region !== undefined) throw invalidDefinition(`The region${of} is defined twice`);
        return build({ ...definition, region: checkRegion(name, of) });
      },
    }),
  );
  return handle;
}

/** `rest` is (run) or (schema, run), and perhaps the documentation. */
function checkCall(
  definition: EntityDefinition,
  what: "Command" | "Query",
  name: string,
  rest: readonly unknown[],
): {
  readonly input: Schema | undefined;
  readonly run: unknown;
  readonly documentation: Documentation | undefined;
} {
  const of = ` of ${definition.name}`;
  checkName(name, what, of);
  if (definition.commands.has(name) || definition.queries.has(name))
    throw invalidDefinition(`${what} "${name}"${of}: another command or query of the entity has this name`);
  const where = `${what} "${name}"${of}`;
  // A schema may be a function, too.
  const hasNoInput = rest.length === 1 || (typeof rest[0] === "function" && !isSchema(rest[0]));
  const [input, run, documented] = hasNoInput ? [undefined, ...rest] : rest;
  if (input !== undefined) checkSchema(input, where);
  checkSynchronous(run, where);
  return { input: input as Schema | undefined, run, documentation: checkDocumentation(documented, where) };
}

function checkVersion(version: StateVersion, where: string): void {
  if (!Number.isSafeInteger(version.version) || version.version < 1)
    throw invalidDefinition(`${where}: its version must be a whole number from 1 on`);
  if (version.migrations.length !== version.version - 1)
    throw invalidDefinition(
      `${where}: version ${version.version} needs ${version.version - 1} migrations, one for each step from version 1, and has ${version.migrations.length}`,
    );
  version.migrations.forEach((migration, index) => {
    checkSynchronous(migration, `${where}, its migration from version ${index + 1} to ${index + 2}`);
  });
}

function withEntry<T>(map: ReadonlyMap<string, T>, name: string, entry: T): ReadonlyMap<string, T> {
  return new Map([...map, [name, entry]]);
}
