/** What the body of a transaction calls with: `tx(account, id).withdraw(input)`. Every call is a step of the transaction. */
import { OnefoldError } from "../base/errors.ts";
import { parseId } from "../base/ids.ts";
import { cloneValue, type Value } from "../base/value.ts";
import type { EntityDefinition, EntityHandle } from "../entity/definition.ts";
import { Step, type StepTarget } from "./step.ts";
import type { Transaction } from "./transaction.ts";

type Methods = Readonly<Record<string, (input?: unknown) => Promise<unknown>>>;

/** `tx` of a transaction's body: `tx(account, id).withdraw(input)`. */
export function callerOf(transaction: Transaction) {
  const { core } = transaction;
  return (entity: EntityHandle, id: string): Methods => {
    const { definition } = entity;
    if (core.definitionOf(definition.name) !== definition) {
      throw new OnefoldError(
        "unknown-kind",
        `The system has no entity kind ${definition.name}; add it to system(...).`,
      );
    }
    return new (callsOf(definition))(transaction, parseId(id)) as unknown as Methods;
  };
}

type Calls = new (transaction: Transaction, id: string) => object;

/** A kind's methods are made once, on a prototype. */
const callsOfKinds = new WeakMap<EntityDefinition, Calls>();

function callsOf(definition: EntityDefinition): Calls {
  const known = callsOfKinds.get(definition);
  if (known !== undefined) return known;
  class EntityCalls {
    // Private, because any other property could hide a command of the same name.
    readonly #transaction: Transaction;
    readonly #id: string;

    constructor(transaction: Transaction, id: string) {
      this.#transaction = transaction;
      this.#id = id;
    }

    static method(target: StepTarget): (this: EntityCalls, input?: unknown) => Promise<unknown> {
      return function (this: EntityCalls, input?: unknown) {
        return call(this.#transaction, definition, this.#id, target, input);
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
  transaction: Transaction,
  definition: EntityDefinition,
  id: string,
  target: StepTarget,
  input: unknown,
): Promise<unknown> {
  let step: Step;
  try {
    transaction.assertOpen();
    // The body may go on with what it passed while the step waits for its lock.
    step = new Step(transaction, { definition, id, target, input: cloneValue(input as Value | undefined) });
  } catch (error) {
    return Promise.reject(error);
  }
  transaction.stepBegan(step);
  transaction.core.executor.resubmit(step);
  return step.answer;
}
