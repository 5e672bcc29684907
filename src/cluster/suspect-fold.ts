/**
 * Entities that end processes, as the whole cluster counts them (G10, hazard 18). On many machines a command that exhausts the heap would
 * otherwise end one owner after the other, each once: its caller asks again, wherever the shard has gone.
 *
 * SU1 A death is told by the node that starts again after it, before it owns anything, and counted once (`runtime/member-quarantine.ts`).
 * SU2 After `suspectDeathsMax` deaths, wherever, none farther than `suspectMs` from the next, the entity is in quarantine on every node, until
 *     an operator lifts that.
 * SU3 Suspects are bounded (SF7); beyond that those go whose last death is the oldest.
 */
import { limits } from "../base/limits.ts";
import { encodeUtf8 } from "../base/bytes.ts";
import { slotOfEntity } from "../base/ids.ts";
import type { SystemDefinition } from "../entity/definition.ts";
import type { BinaryString } from "../entity/keys.ts";
import { isInQuarantine, nameOf, type Suspect, withDeaths } from "../entity/suspects.ts";
import type { EntityParts } from "./system-records.ts";
import type { ShardState, SystemState } from "./system-state.ts";

const bounds = { ...limits, suspectsMax: limits.clusterSuspectsMax };

export function suspect(state: SystemState, told: Suspect): SystemState {
  const { tenant, kind, id, what } = told;
  const isWithinBounds =
    [tenant, kind, what].every((text) => encodeUtf8(text).length <= limits.nameBytesMax) &&
    encodeUtf8(id).length <= limits.idBytesMax;
  return isWithinBounds ? withSuspects(state, withDeaths(state.suspects, told, bounds)) : state;
}

export function clear(state: SystemState, entity: EntityParts): SystemState {
  const known = state.suspects.get(nameOf(entity));
  return known === undefined || isInQuarantine(known, bounds) ? state : lift(state, entity);
}

export function lift(state: SystemState, entity: EntityParts): SystemState {
  const left = new Map(state.suspects);
  return left.delete(nameOf(entity)) ? withSuspects(state, left) : state;
}

function withSuspects(state: SystemState, suspects: SystemState["suspects"]): SystemState {
  return suspects === state.suspects ? state : { ...state, suspects };
}

/** Of all shards. */
export function quarantinedEntities({ suspects }: Pick<SystemState, "suspects">): readonly Suspect[] {
  return [...suspects.values()].filter((each) => isInQuarantine(each, bounds));
}

/**
 * Names of entities in quarantine that may be the shard's. Of a kind with an affinity function all are taken for that: the function is user
 * code, and not to be run for this.
 */
export function quarantinedIn(
  state: SystemState,
  { entities }: Pick<SystemDefinition, "entities">,
  { from, to }: Pick<ShardState, "from" | "to">,
): ReadonlySet<BinaryString> {
  const names = new Set<BinaryString>();
  for (const each of quarantinedEntities(state)) {
    const definition = entities.get(each.kind);
    if (definition === undefined) continue;
    const slot = definition.affinity === undefined ? slotOfEntity(definition, each.id, each.tenant) : from;
    if (from <= slot && slot < to) names.add(nameOf(each));
  }
  return names;
}
