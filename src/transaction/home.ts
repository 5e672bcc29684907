/**
 * A transaction's home: the slot where its outcome is kept and where it is decided. A pure function of the request, so that its
 * repetitions find it.
 */
import { OnefoldError } from "../base/errors.ts";
import { parseId, slotOfParts } from "../base/ids.ts";
import type { Core } from "../entity/core.ts";
import type { TransactionDefinition } from "../entity/definition.ts";
import type { RequestIdentity } from "../entity/requests.ts";
import type { TransactionRequest } from "../entity/transaction-runner.ts";
import { validate } from "../entity/validate.ts";

/** What a definition's `.at` gives. */
export type Home = ReturnType<NonNullable<TransactionDefinition["at"]>>;

/**
 * The home's slot. Calls the affinity function of `at`'s kind, which is the user's code. Throws `not-owner` (retry safe) with
 * `details.slot` where it is another shard's.
 */
export function homeSlot(
  core: Core,
  { definition, caller, request }: TransactionRequest,
  at: Home | undefined,
): number {
  const id = at && parseId(at.id);
  // Nothing is kept, and nobody asks where it is decided.
  if (request === undefined && core.neighbours === undefined) return 0;
  const ofEntity = at && core.slotOf(at.entity.definition, caller.tenant, id!);
  const slot =
    request === undefined ? (ofEntity ?? ownSlot(core)) : slotOfRequest(definition, caller.tenant, request, ofEntity);
  if (core.isOwn(slot)) return slot;
  throw new OnefoldError("not-owner", "The transaction's home is at another shard.", { details: { slot } });
}

/** Where the outcome of a request is kept that may be repeated. `ofEntity`: the slot of what the transaction's `.at` gives. */
export function slotOfRequest(
  definition: Pick<TransactionDefinition, "name">,
  tenant: string,
  request: RequestIdentity,
  ofEntity: number | undefined,
): number {
  // Where the outcome is kept must not depend on the input if another input under the same key is to be noticed.
  if (request.type === "idempotency") return slotOfParts([tenant, definition.name, request.digest]);
  // Without a home of its own: where its request's number leads.
  return ofEntity ?? slotOfParts([tenant, definition.name, request.session, `${request.number}`]);
}

/** For a transaction that is the same wherever it runs: any slot of this shard. */
function ownSlot({ neighbours, host, limits }: Core): number {
  if (neighbours === undefined) return 0;
  const from = Math.floor(host.random.next() * limits.slotCount);
  for (let i = 0; i < limits.slotCount; i++) {
    const slot = (from + i) % limits.slotCount;
    if (neighbours.isOwn(slot)) return slot;
  }
  throw new OnefoldError("not-owner", "The shard has no slots.");
}

/** The input as the body gets it. Throws `invalid-input`. */
export function checkedInput({ name, input: schema }: TransactionDefinition, input: unknown): unknown {
  if (schema !== undefined) return validate(schema, input, { what: `the input of ${name}` });
  if (input === undefined || input === null) return undefined;
  throw new OnefoldError("invalid-input", `${name} takes no input.`, {
    details: { issues: [{ path: [], message: "no input is expected" }] },
  });
}
