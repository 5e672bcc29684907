/** What the body of a transaction calls with: `tx(account, id).withdraw(input)`. Every call is a step of the transaction. */
import { OnefoldError } from "../base/errors.ts";
import { parseId } from "../base/ids.ts";
import { cloneValue, type Value } from "../base/value.ts";
import type { Core } from "../entity/core.ts";
import type { EntityDefinition, EntityHandle } from "../entity/definition.ts";
import { Step, type StepTarget } from "./step.ts";
import type { Transaction } from "./transaction.ts";

type Methods = Readonly<Record<string, (input?: unknown) => Promise<unknown>>>;

/** What the body of one attempt calls with; a step lives from its call to its answer. */
interface Caller {
  readonly core: Core;
  readonly transaction: Transaction;
  readonly steps: Set<Step>;
}

/** `tx` of a transaction's body: `tx(account, id).withdraw(input)`. */
export function callerOf(core: Core, transaction: Transaction, steps: Set<Step>) {
  const caller: Caller = { core, transaction, steps };
  return (entity: EntityHandle, id: string): Methods => {
    const { definition } = entity;
    if (core.definitionOf(definition.name) !== definition) {
      throw new OnefoldError(
        "unknown-kind",
        `The system has no entity kind ${definition.name}; add it to system(...).`,
      );
    }
    return new (callsOf(definition))(caller, parseId(id)) as unknown as Methods;
  };
}

type Calls = new (caller: Caller, id: string) => object;

/** A kind's methods are made once, on a prototype. */
const callsOfKinds = new WeakMap<EntityDefinition, Calls>();

function callsOf(definition: EntityDefinition): Calls {
  const known = callsOfKinds.get(definition);
  if (known !== undefined) return known;
  class EntityCalls {
    // Private, because any other property could hide a command of the same name.
    readonly #caller: Caller;
    readonly #id: string;

    constructor(caller: Caller, id: string) {
      this.#caller = caller;
      this.#id = id;
    }

    static method(target: StepTarget): (this: EntityCalls, input?: unknown) => Promise<unknown> {
      return function (this: EntityCalls, input?: unknown) {
        return call(this.#caller, definition, this.#id, target, input);
      };
    }
  }
  const methods = EntityCalls.prototype as unknown as Record<string, unknown>;
  for (const command of definition.commands.values()) {
    methods[command.name] = EntityCalls.method({ type: "command", command });
  }
  for (const query of definition.queries.values()) {
    methods[query.name] = EntityCalls.method({ type: "query", query });
  }
  callsOfKinds.set(definition, EntityCalls);
  return EntityCalls;
}

function call(
  { core, transaction, steps }: Caller,
  definition: EntityDefinition,
  id: string,
  target: StepTarget,
  input: unknown,
): Promise<unknown> {
  return new Promise((resolve, reject) => {
    transaction.assertOpen();
    const step = new Step({
      transaction,
      definition,
      id,
      target,
      // The body may go on with what it passed while the step waits for its lock.
      input: cloneValue(input as Value | undefined),
      resolve,
      reject,
      ended: (ended) => steps.delete(ended),
    });
    steps.add(step);
    core.executor.resubmit(step);
  });
}
