/**
 * What a system's code says of regions, held against what the cluster knows: a kind's region is part of its keys, so a node whose code
 * says another one would look for entities where they are not, and keep new ones where they must not be.
 */
import { OnefoldError } from "../base/errors.ts";
import { limits } from "../base/limits.ts";
import { collidingRegions, isRegionName, regionOf } from "../base/regions.ts";
import type { EntityDefinition, SystemDefinition } from "../entity/definition.ts";
import { contradiction } from "./regions-fold.ts";
import type { SystemLog } from "./system-log.ts";
import { fitsRegions } from "./system-records.ts";
import type { RegionsState, SystemState } from "./system-state.ts";

/** Each kind with the name of the region that it is pinned to, `""` for none; in the order of their names. */
function kindsOf({ entities }: SystemDefinition): RegionsState["kinds"] {
  const kinds = [...entities.values()].map(({ name, region }): [string, string] => [name, region?.name ?? ""]);
  return Object.fromEntries(kinds.sort(([a], [b]) => (a < b ? -1 : 1)));
}

/**
 * The regions that a cluster of this system is founded with: those that its kinds are pinned to, and those that are named besides.
 * Undefined where there are none. Throws `invalid-configuration` (retry never) for names that can't be, or too many.
 */
export function regionsToFound(
  system: SystemDefinition,
  { named, shardCount }: { readonly named: readonly string[]; readonly shardCount: number },
): RegionsState | undefined {
  const kinds = kindsOf(system);
  const names = [...new Set([...Object.values(kinds), ...named])].filter((name) => name !== "").sort();
  if (names.length === 0) return undefined;
  const wrong = names.find((name) => !isRegionName(name));
  if (wrong !== undefined) throw invalid(`'${wrong}' can't be a region's name: lower-case letters, digits and '-'.`);
  const list = names.map(regionOf);
  const colliding = collidingRegions(list);
  if (colliding !== undefined) {
    const [one, other] = colliding;
    throw invalid(
      `The regions '${one.name}' and '${other.name}' would have the same slots: call one of them otherwise.`,
    );
  }
  if (shardCount >= limits.shardsMax) {
    throw invalid(`A cluster with regions has fewer than ${limits.shardsMax} shards when it is founded.`);
  }
  const regions = { list, kinds };
  if (fitsRegions(regions)) return regions;
  throw invalid(
    `A cluster has up to ${limits.regionsMax} regions, and with regions up to ${limits.kindsWithRegionsMax} kinds.`,
  );
}

/**
 * At return the cluster knows the system's kinds as its code has them; in a cluster without regions there is nothing to know. Throws
 * `invalid-configuration` (retry never) where they contradict what it knows, or name a region that it was not founded with; `unavailable`
 * (retry safe) where the system log can't be written.
 */
export async function declareKinds(
  log: SystemLog,
  system: SystemDefinition,
  { deadlineMs }: { readonly deadlineMs: number },
): Promise<void> {
  assertKinds(log.state, system);
  const kinds = kindsOf(system);
  const isNew = ({ regions }: SystemState): boolean =>
    regions !== undefined && Object.keys(kinds).some((kind) => !Object.hasOwn(regions.kinds, kind));
  if (!isNew(log.state)) return;
  const outcome = await log.propose((state) => (isNew(state) ? [{ type: "kinds-declared", kinds }] : undefined), {
    deadlineMs,
  });
  // Another node's code may have been first with another word.
  assertKinds(log.state, system);
  if (outcome.kind === "unknown") {
    throw new OnefoldError("unavailable", "The cluster's system log can't be reached.", { retryAfterMs: 1000 });
  }
  if (isNew(log.state)) {
    throw invalid(
      `A cluster with regions has up to ${limits.kindsWithRegionsMax} kinds, those included that it had once.`,
    );
  }
}

function assertKinds({ regions }: SystemState, system: SystemDefinition): void {
  const kinds = kindsOf(system);
  const found =
    regions === undefined
      ? firstPinned(system.entities)
      : // What it says of the kind that is in the way.
        contradiction(regions, kinds);
  if (found === undefined) return;
  const { kind, known } = found;
  const region = kinds[kind]!;
  const wanted = region === "" ? "is not pinned" : `is pinned to the region '${region}'`;
  if (known !== undefined) {
    const stands = known === "" ? "is not pinned there" : `is pinned to '${known}' there`;
    throw invalid(
      `${kind} ${wanted} in this node's code, and the cluster has entities of it from before: it ${stands}. A kind's region is for ever: take the change back, and move what is to be elsewhere into a kind of another name.`,
    );
  }
  throw invalid(
    `${kind} ${wanted}, and the cluster was not founded with that region. Regions are decided when a cluster is founded: by the kinds that are pinned then, and by --regions.`,
  );
}

function firstPinned(
  entities: ReadonlyMap<string, EntityDefinition>,
): { readonly kind: string; readonly known: undefined } | undefined {
  for (const { name, region } of entities.values()) if (region !== undefined) return { kind: name, known: undefined };
  return undefined;
}

function invalid(message: string): OnefoldError {
  return new OnefoldError("invalid-configuration", message);
}
