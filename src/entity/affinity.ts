/** The slot of an entity, for whoever may run the user's code that decides it. */
import { slotOfEntity } from "../base/ids.ts";
import type { EntityDefinition } from "./definition.ts";
import { entityName } from "./keys.ts";
import { callUserCode, type Surroundings } from "./run-command.ts";

/**
 * An affinity is the user's code: where the kind has one, only inside a turn of the guard, and the turn may end here. Throws what
 * `failureOf` makes of what that code threw.
 */
export function guardedSlotOf(
  surroundings: Pick<Surroundings, "guard" | "limits">,
  definition: EntityDefinition,
  { id, tenant }: { readonly id: string; readonly tenant: string },
): number {
  if (definition.affinity === undefined) return slotOfEntity(definition, id, tenant);
  const find = () => slotOfEntity(definition, id, tenant);
  return callUserCode(surroundings, `the affinity of ${definition.name}`, find, {
    entity: entityName(tenant, definition.name, id),
    what: "affinity",
  });
}
