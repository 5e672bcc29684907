/**
 * Regions, and the slots that are theirs: a kind that is pinned to a region has all its entities in the region's slots, and those are in
 * shards that never leave the region.
 *
 * RG1 A region's slots follow from its name alone: one of 64 blocks of 64 slots. So a key's slot is the same on one machine and on a
 *     cluster, and another region never moves what is there.
 * RG2 Two regions of one system never share a block (`define-system.ts` refuses them).
 */
import { OnefoldError } from "./errors.ts";
import { slotOfParts } from "./ids.ts";
import { limits } from "./limits.ts";

/** Slots from ≤ slot < to. */
export interface SlotRange {
  readonly from: number;
  readonly to: number;
}

export interface Region extends SlotRange {
  readonly name: string;
}

const pattern = /^[a-z][a-z0-9-]{0,31}$/;

export function isRegionName(name: unknown): name is string {
  return typeof name === "string" && pattern.test(name);
}

/** The region of this name. Throws `invalid-definition` (retry never) for what can't be one: it is also a tag of the engine's servers. */
export function regionOf(name: unknown): Region {
  if (!isRegionName(name)) {
    throw new OnefoldError(
      "invalid-definition",
      `A region's name is a lower-case letter followed by up to 31 lower-case letters, digits and "-", such as "eu-west".`,
    );
  }
  const from = slotOfParts(["region", name]) & ~(limits.regionSlotCount - 1);
  return { name, from, to: from + limits.regionSlotCount };
}

/** Of these regions the one that has all of the range's slots; undefined where none has. */
export function regionOfRange(regions: readonly Region[], { from, to }: SlotRange): Region | undefined {
  return regions.find((region) => region.from <= from && to <= region.to);
}

/** The first two whose slots are the same; undefined where all differ. */
export function collidingRegions(regions: readonly Region[]): readonly [Region, Region] | undefined {
  for (const [index, region] of regions.entries()) {
    const other = regions.slice(0, index).find(({ name, from }) => name !== region.name && from === region.from);
    if (other !== undefined) return [other, region];
  }
  return undefined;
}

/**
 * The range cut where a region's slots begin and end, so that each part is all of one region or of none; ascending. One part where nothing
 * is to be cut.
 */
export function cutByRegions({ from, to }: SlotRange, regions: readonly Region[]): readonly SlotRange[] {
  const cuts = regions.flatMap((region) => [region.from, region.to]).filter((cut) => from < cut && cut < to);
  const bounds = [from, ...new Set(cuts.sort((a, b) => a - b)), to];
  return bounds.slice(1).map((end, index) => ({ from: bounds[index]!, to: end }));
}
