/**
 * The client for code that runs in the same process as the node: tests, benchmarks, scripts. Same types and same meaning as
 * the remote one: inputs are copied, so what the caller does to them later changes nothing; outputs are the caller's own.
 */
import { cloneValue, type Value } from "../base/value.ts";
import type { Client } from "../entity/client-types.ts";
import type { EntityDefinition, SystemHandle } from "../entity/definition.ts";
import type { CallOptions, CallReply, EntityAddress, Principal, Service } from "../entity/service.ts";
import type { Settle } from "../entity/settle.ts";

/** What a client needs of a service. */
export type CallService = Pick<Service, "beginCommand" | "beginTransaction" | "query">;

interface Reply {
  readonly output: Value | undefined;
}

/** One method of the service with everything but the address and the input filled in. */
type Run = (address: EntityAddress, input: Value | undefined) => Promise<Value | undefined>;

/**
 * A client of `system` whose calls run on `service` as `principal`. Its calls fail as the service's do, with
 * `OnefoldError` or `Refused`; an input that is no value rejects with `invalid-value`.
 */
export function inProcessClient<S extends SystemHandle>(
  system: S,
  service: CallService,
  principal: Principal,
): Client<S> {
  const options: CallOptions = Object.freeze({ principal });
  const client: Record<string, unknown> = {};
  for (const [kind, definition] of system.definition.entities)
    client[kind] = entityFactory(kind, definition, service, options);
  for (const name of system.definition.transactions.keys()) {
    client[name] = (input?: Value): Promise<Value | undefined> => {
      return new Promise((resolve, reject) =>
        service.beginTransaction(name, cloneValue(input), options, new Asker(resolve, reject)),
      );
    };
  }
  return Object.freeze(client) as Client<S>;
}

const takeOutput = ({ output }: Reply): Value | undefined => output;

/** Answers the caller's promise, the only one of the call: each further one would be felt (`docs/performance.md`). */
class Asker implements Settle<CallReply> {
  readonly #resolve: (output: Value | undefined) => void;
  readonly reject: (error: Error) => void;

  constructor(resolve: (output: Value | undefined) => void, reject: (error: Error) => void) {
    this.#resolve = resolve;
    this.reject = reject;
  }

  resolve({ output }: CallReply): void {
    this.#resolve(output);
  }
}

/**
 * A kind's methods are made once, on a prototype; a call of `client.account(id)` makes one small object. They are plain functions: an
 * `async` one would make a promise of its own and let the answer wait for further turns of the microtask queue.
 */
function entityFactory(
  kind: string,
  definition: EntityDefinition,
  service: CallService,
  options: CallOptions,
): (id: string) => object {
  class EntityCalls {
    // Private, because any other property could hide a command of the same name.
    readonly #address: EntityAddress;

    constructor(id: string) {
      this.#address = { kind, id };
    }

    static method(run: Run): (this: EntityCalls, input?: Value) => Promise<Value | undefined> {
      return function (this: EntityCalls, input?: Value) {
        try {
          return run(this.#address, cloneValue(input));
        } catch (error) {
          return Promise.reject(error);
        }
      };
    }
  }
  const methods = EntityCalls.prototype as unknown as Record<string, unknown>;
  for (const name of definition.commands.keys())
    methods[name] = EntityCalls.method(
      (address, input) =>
        new Promise((resolve, reject) =>
          service.beginCommand(address, name, input, options, new Asker(resolve, reject)),
        ),
    );
  for (const name of definition.queries.keys())
    methods[name] = EntityCalls.method((address, input) =>
      service.query(address, name, input, options).then(takeOutput),
    );
  Object.freeze(methods);
  return (id) => new EntityCalls(id);
}
