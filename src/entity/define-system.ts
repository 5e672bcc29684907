/**
 * The builders of transactions and of the system as a whole. See `define.ts` for what all builders promise (D1, D2).
 *
 * D3  Kinds and transactions of a system share one space of names, because clients see both as methods of one object; the
 *     key that a part stands under is its own name, so that URLs, messages and the client agree.
 */
import { checkValue } from "../base/value.ts";
import type {
  EntityDefinition,
  SystemDefinition,
  SystemHandle,
  SystemOptions,
  TransactionDefinition,
} from "./definition.ts";
import {
  checkDocumentation,
  checkFunction,
  checkName,
  checkRegions,
  checkSchema,
  invalidDefinition,
} from "./definition-check.ts";
import type {
  AnySchema,
  CallDocumentation,
  Checked,
  EntityCaller,
  EntityReference,
  Returns,
  SchemaInput,
  SchemaOutput,
  SystemParts,
  TypedTransaction,
} from "./definition-types.ts";
import { validate } from "./validate.ts";

/** A transaction that can be part of a system. */
export interface Transaction<Name extends string, Input, Output>
  extends TypedTransaction<{ name: Name; input: Input; output: Output }> {}

/** A transaction that has no body yet. `Input` is what callers pass, `Parsed` what the schema makes of it. */
export interface TransactionBody<Name extends string, Input, Parsed> {
  /**
   * The body: asynchronous, atomic, isolated. `tx(account, id)` has the entity's commands and queries as methods. It may
   * run more than once before it takes hold (when it loses against another), so it must have no effect but through `tx`.
   * A caught `Refused` undoes that command alone; anything thrown undoes everything.
   */
  run<Output, O extends AnySchema = AnySchema>(
    run: (tx: EntityCaller, input: Parsed) => Promise<Output & Checked<Output>>,
    documentation?: CallDocumentation<O> & Returns<NoInfer<O>, NoInfer<Output>>,
  ): Transaction<Name, Input, Output>;
}

/** A transaction that has neither home nor body yet. */
export interface TransactionStart<Name extends string, Input, Parsed> extends TransactionBody<Name, Input, Parsed> {
  /** Its home, a pure function of its input: where it is coordinated and its result kept. Default: its request number's. */
  at(home: (input: Parsed) => EntityReference): TransactionBody<Name, Input, Parsed>;
}

/** Begins a transaction without input. Throws `invalid-definition` (retry never), as all builders do. */
export function transaction<const Name extends string>(name: Name): TransactionStart<Name, undefined, undefined>;
/** Begins a transaction. */
export function transaction<const Name extends string, S extends AnySchema>(
  name: Name,
  input: S,
): TransactionStart<Name, SchemaInput<S>, SchemaOutput<S>>;
export function transaction(name: string, input?: AnySchema): unknown {
  const where = `Transaction "${name}"`;
  checkName(name, "Transaction");
  if (input !== undefined) checkSchema(input, where);
  const body = (at: TransactionDefinition["at"]) => ({
    run(run: TransactionDefinition["run"], documented?: unknown) {
      checkFunction(run, where);
      const documentation = checkDocumentation(documented, where);
      return Object.freeze({ definition: Object.freeze({ name, input, at, run, documentation }) });
    },
  });
  return {
    ...body(undefined),
    at(home: NonNullable<TransactionDefinition["at"]>) {
      checkFunction(home, `${where}, its home`);
      return body(home);
    },
  };
}

/** A system with the types of its parts: what `connect<typeof bank>` and the in-process client take their methods from. */
export interface System<Parts = unknown> extends SystemHandle {
  readonly parts: Parts;
}

/**
 * Puts a system together. Every key of `parts` is the name of the entity or transaction under it.
 * Throws `invalid-definition` (retry never): for a key that is not the part's name, a duplicate, or an initial state that is
 * no value or that its own schema refuses.
 */
export function system<Parts extends SystemParts<Parts>>(
  name: string,
  parts: Parts,
  options: SystemOptions = {},
): System<Parts> {
  checkName(name, "System");
  const entities = new Map<string, EntityDefinition>();
  const transactions = new Map<string, TransactionDefinition>();
  for (const [key, part] of Object.entries<{ readonly definition: EntityDefinition | TransactionDefinition }>(parts)) {
    const definition: EntityDefinition | TransactionDefinition | undefined = part?.definition;
    if (definition === undefined)
      throw invalidDefinition(
        `"${key}" of system ${name} is neither an entity with a state nor a transaction with a body (.run)`,
      );
    if (definition.name !== key)
      throw invalidDefinition(
        `"${key}" of system ${name} holds ${definition.name}: the key must be the name, so that URLs and clients agree`,
      );
    if ("commands" in definition) {
      checkInitial(definition);
      entities.set(key, definition);
    } else transactions.set(key, definition);
  }
  checkRegions([...entities.values()]);
  const definition: SystemDefinition = Object.freeze({ name, entities, transactions, options });
  return Object.freeze({ definition, parts });
}

function checkInitial(definition: EntityDefinition): void {
  const what = `the initial state of ${definition.name}`;
  try {
    const initial: unknown = definition.initial();
    checkValue(initial, { what });
    if (typeof initial !== "object" || initial === null || Array.isArray(initial))
      throw new TypeError(`${what} must be an object with named fields`);
    validate(definition.state, initial, { what, code: "invalid-state" });
  } catch (cause) {
    throw invalidDefinition(cause instanceof Error ? cause.message : `${what} could not be made`, cause);
  }
}
