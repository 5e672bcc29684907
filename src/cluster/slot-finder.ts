/** Where calls belong: the slot of an entity, the home of a transaction. The same on every node (`transaction/home.ts`). */
import { OnefoldError } from "../base/errors.ts";
import { parseId, slotOfEntity } from "../base/ids.ts";
import { guardedSlotOf } from "../entity/affinity.ts";
import { didYouMean } from "../entity/core.ts";
import type { EntityDefinition, SystemDefinition, TransactionDefinition } from "../entity/definition.ts";
import { idempotencyDigest } from "../entity/requests.ts";
import { callUserCode } from "../entity/run-command.ts";
import type { CallOptions, EntityAddress, Principal } from "../entity/service.ts";
import type { BinaryString } from "../entity/keys.ts";
import { checkInput, homeId, type HomeRequest, homeSlot } from "../transaction/home.ts";
import { UserLookups, type UserLookupsParts } from "./user-lookups.ts";

export class SlotFinder {
  readonly #system: SystemDefinition;
  readonly #parts: UserLookupsParts;
  readonly #lookups: UserLookups;

  constructor(system: SystemDefinition, parts: UserLookupsParts) {
    this.#system = system;
    this.#parts = parts;
    this.#lookups = new UserLookups(parts);
  }

  /** Throws `unknown-kind` with a hint. */
  definition(kind: string): EntityDefinition {
    const definition = this.#system.entities.get(kind);
    if (definition !== undefined) return definition;
    const hint = didYouMean(kind, this.#system.entities.keys());
    throw new OnefoldError("unknown-kind", `${this.#system.name} has no kind '${kind}'${hint}.`);
  }

  /** Throws `unknown-kind`, `invalid-id`, and as a promise what an affinity comes to. */
  ofEntity({ kind, id }: EntityAddress, tenant: string): number | Promise<number> {
    const definition = this.definition(kind);
    const parsed = parseId(id);
    if (definition.affinity === undefined) return slotOfEntity(definition, parsed, tenant);
    return this.#lookups.find(`the affinity of ${kind}`, () =>
      guardedSlotOf(this.#parts, definition, { id: parsed, tenant }),
    );
  }

  /**
   * The slot of the transaction's home; undefined where any will do. `sessionId` names the session of a request that has one.
   * Rejects with `unknown-transaction`, with `invalid-input`, and with what the user's code comes to.
   */
  async ofHome(
    name: string,
    input: unknown,
    options: CallOptions,
    sessionId: BinaryString | undefined,
  ): Promise<number | undefined> {
    const definition = this.#system.transactions.get(name);
    if (definition === undefined) {
      const hint = didYouMean(name, this.#system.transactions.keys());
      throw new OnefoldError("unknown-transaction", `${this.#system.name} has no transaction '${name}'${hint}.`);
    }
    const { principal } = options;
    const request = homeRequest(name, options, sessionId);
    if (request?.type === "idempotency" || (request !== undefined && definition.at === undefined)) {
      return homeSlot(definition, principal, request, undefined);
    }
    if (definition.at === undefined) return undefined;
    const ofEntity = await this.#slotOfHomeEntity(definition, input, principal);
    return request === undefined ? ofEntity : homeSlot(definition, principal, request, ofEntity);
  }

  #slotOfHomeEntity(definition: TransactionDefinition, input: unknown, { tenant }: Principal): Promise<number> {
    const what = `transaction ${definition.name}`;
    // One bracket around all of it: an affinity would be a call of user code inside of another.
    const find = (): number => {
      const { at } = checkInput(definition, input, { findsHome: true });
      return slotOfEntity(at!.definition, homeId(at!), tenant);
    };
    return this.#lookups.find(`the check of ${what}'s input`, () => callUserCode(this.#parts, what, find));
  }
}

function homeRequest(
  name: string,
  { principal, session, idempotencyKey }: CallOptions,
  sessionId: BinaryString | undefined,
): HomeRequest | undefined {
  if (session !== undefined && sessionId !== undefined) {
    return { type: "session", session: sessionId, number: session.number };
  }
  if (idempotencyKey === undefined) return undefined;
  return { type: "idempotency", digest: idempotencyDigest(principal, [name], idempotencyKey) };
}
