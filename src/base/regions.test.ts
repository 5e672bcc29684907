import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { slotOf, slotOfEntity } from "./ids.ts";
import { limits } from "./limits.ts";
import { collidingRegions, cutByRegions, type Region, regionOf, regionOfRange } from "./regions.ts";

describe("a region", () => {
  // These numbers are part of the format: a change of any of them would move entities.
  test("has the slots that the format says, for ever", () => {
    assert.deepEqual(regionOf("eu"), { name: "eu", from: 448, to: 512 });
    assert.deepEqual(regionOf("us"), { name: "us", from: 896, to: 960 });
    assert.deepEqual(regionOf("eu-central-1"), { name: "eu-central-1", from: 1216, to: 1280 });
  });

  test("has all entities of a kind that is pinned to it, spread over its slots", () => {
    const region = regionOf("eu");
    const pinned = { name: "account", affinity: undefined, region };
    const counts = new Map<number, number>();
    for (let index = 0; index < 6400; index++) {
      const slot = slotOfEntity(pinned, `a${index}`, "default");
      counts.set(slot, (counts.get(slot) ?? 0) + 1);
    }
    assert.equal(counts.size, limits.regionSlotCount);
    for (const [slot, count] of counts) {
      assert.equal(region.from <= slot && slot < region.to, true, `slot ${slot}`);
      assert.equal(count > 50 && count < 160, true, `${count} of about 100`);
    }
    assert.equal(slotOfEntity({ ...pinned, region: undefined }, "x", "t"), slotOf("account", "x", "t"));
  });

  test("keeps the entities of one affinity in one slot", () => {
    const region = regionOf("us");
    const customer = (id: string): string => id.split("/")[0]!;
    const slot = slotOfEntity({ name: "order", affinity: customer, region }, "c7/1", "default");
    assert.equal(slotOfEntity({ name: "cart", affinity: customer, region }, "c7/2", "default"), slot);
  });

  test("has a lower-case name that a server of the engine can have for a tag", () => {
    for (const name of ["", "EU", "eu_west", "1eu", "eu west", "eu:west", "x".repeat(33), 5, undefined]) {
      assert.throws(() => regionOf(name), { code: "invalid-definition" }, String(name));
    }
  });

  test("may have the slots of another name, which is found out", () => {
    const names = Array.from({ length: 100 }, (_, index) => `r${index}`);
    const regions = names.map(regionOf);
    const [one, other] = collidingRegions(regions)!;
    assert.equal(one.from, other.from);
    assert.notEqual(one.name, other.name);
    assert.equal(collidingRegions(["eu", "us", "eu"].map(regionOf)), undefined);
  });
});

describe("a range of slots", () => {
  const regions: readonly Region[] = [
    { name: "a", from: 64, to: 128 },
    { name: "b", from: 128, to: 192 },
    { name: "c", from: 960, to: 1024 },
  ];
  const cases: readonly [from: number, to: number, cuts: string, region: string | undefined][] = [
    [0, 64, "0-64", undefined],
    [0, 256, "0-64 64-128 128-192 192-256", undefined],
    [64, 128, "64-128", "a"],
    [80, 96, "80-96", "a"],
    [96, 160, "96-128 128-160", undefined],
    [900, 1100, "900-960 960-1024 1024-1100", undefined],
    [1024, 4096, "1024-4096", undefined],
  ];
  for (const [from, to, cuts, name] of cases) {
    test(`${from} to ${to} is cut into ${cuts}`, () => {
      const parts = cutByRegions({ from, to }, regions);
      assert.equal(parts.map((part) => `${part.from}-${part.to}`).join(" "), cuts);
      assert.equal(regionOfRange(regions, { from, to })?.name, name);
    });
  }
});
