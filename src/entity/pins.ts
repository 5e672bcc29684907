/** Whether a store's entities are where a system's code looks for them: a kind's region is part of its keys, for ever. */
import { OnefoldError } from "../base/errors.ts";
import { slotOf } from "../base/ids.ts";
import type { StoreReader } from "../store/store.ts";
import type { EntityDefinition, SystemDefinition } from "./definition.ts";
import { decodeListing } from "./fold.ts";
import { afterPrefix, bytesOfBinary, binaryOfBytes, keys, parseEntityName } from "./keys.ts";

/** Of so many pairs of tenant and kind one entity is looked at: whoever pins a kind otherwise has moved all of its entities. */
const pairsMax = 1024;

/**
 * Throws `invalid-configuration` (retry never) where the store has entities of a kind that is pinned now and was not, or the other way
 * round, or to another region. A kind with an affinity that was pinned and is not any more is not found out: its code would have to run.
 */
export function assertPins(store: StoreReader, system: SystemDefinition): void {
  const table = keys.table("listing");
  const to = bytesOfBinary(afterPrefix(table));
  let from = table;
  for (let pairs = 0; pairs < pairsMax; pairs++) {
    const [first] = store.range({ from: bytesOfBinary(from), to, limit: 1 });
    if (first === undefined) return;
    const { tenant, kind, id } = parseEntityName(binaryOfBytes(first.key).slice(table.length));
    const definition = system.entities.get(kind);
    if (definition !== undefined && isElsewhere(definition, { tenant, id, slot: decodeListing(first.value) })) {
      throw moved(definition);
    }
    from = afterPrefix(keys.listingOfKind(tenant, kind));
  }
}

/** What no later code can change without moving what is there. */
function isElsewhere(
  { name, region, affinity }: EntityDefinition,
  { tenant, id, slot }: { readonly tenant: string; readonly id: string; readonly slot: number },
): boolean {
  if (region !== undefined) return slot < region.from || slot >= region.to;
  return affinity === undefined && slot !== slotOf(name, id, tenant);
}

function moved({ name, region }: EntityDefinition): OnefoldError {
  const now = region === undefined ? "is not pinned to that region" : `is pinned to the region ${region.name}`;
  return new OnefoldError(
    "invalid-configuration",
    `There are entities of ${name} in other slots than its code says, which ${now} now. A kind's region is for ever: take the change back, and move what is to be elsewhere into a kind of another name.`,
    { details: { kind: name } },
  );
}
