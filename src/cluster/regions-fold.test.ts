import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { limits } from "../base/limits.ts";
import { regionOf } from "../base/regions.ts";
import { nextCut } from "./regions-fold.ts";
import { encodeSystemRecords, fitsRegions, type SystemRecord } from "./system-records.ts";
import { founding, foundingRegions, joining, stateAfter } from "./system.fixture.ts";
import { emptySystemState, presentShards, regionOfShard, type SystemState } from "./system-state.ts";

const placed = (state: SystemState): string =>
  presentShards(state)
    .map((shard) => `${shard.id}:${shard.from}-${shard.to}${regionOfShard(state, shard) ?? ""}`)
    .join(" ");

describe("a cluster that is founded with regions", () => {
  const cases: readonly [shardCount: number, regions: readonly string[], map: string][] = [
    [1, ["eu"], "0:0-448 1:448-512eu 2:512-4096"],
    [
      4,
      ["eu", "us"],
      "0:0-448 1:448-464eu 2:464-480eu 3:480-496eu 4:496-512eu 5:512-896 6:896-912us 7:912-928us 8:928-944us 9:944-960us 10:960-1024 11:1024-2048 12:2048-3072 13:3072-4096",
    ],
    [2, ["eu-central"], "0:0-32eu-central 1:32-64eu-central 2:64-2048 3:2048-4096"],
  ];
  for (const [shardCount, regions, map] of cases) {
    test(`of ${shardCount} shards and ${regions.join(", ")} has shards of one region or of none`, () => {
      assert.equal(placed(stateAfter([founding({ shardCount }), foundingRegions(regions)])), map);
    });
  }

  test("has each slot once, whatever its numbers of shards and regions, and no more shards than fit", () => {
    for (let shardCount = 1; shardCount < limits.shardsMax; shardCount *= 2) {
      const names = ["eu", "us", "ap", "sa", "af", "de", "fr", "ch"];
      const state = stateAfter([founding({ shardCount }), foundingRegions(names)]);
      let next = 0;
      for (const shard of presentShards(state)) {
        assert.equal(shard.from, next);
        assert.equal(nextCut(state, shard), undefined);
        next = shard.to;
      }
      assert.equal(next, limits.slotCount);
      assert.equal(state.shards.size <= limits.shardsWithRegionsMax, true, `${state.shards.size}`);
      for (const name of names) {
        const own = presentShards(state).filter((shard) => regionOfShard(state, shard) === name);
        assert.equal(own.length, Math.min(4, shardCount), `${name} of ${shardCount}`);
      }
    }
  });

  test("has them from its founding, before anybody joins, once (RF1)", () => {
    const without = stateAfter([founding()]);
    assert.deepEqual(stateAfter([foundingRegions(["eu"])]), { ...emptySystemState, sequence: 1 }, "no cluster yet");
    const late = stateAfter([joining("a")], without);
    assert.equal(stateAfter([foundingRegions(["eu"])], late).regions, undefined);
    const founded = stateAfter([foundingRegions(["eu"])], without);
    assert.deepEqual(stateAfter([foundingRegions(["us"])], founded).regions, founded.regions);
  });

  test("takes kinds that it has not had, and never another word on one that it has", () => {
    const founded = stateAfter([founding(), foundingRegions(["eu", "us"], { account: "eu", note: "" })]);
    const kindsAfter = (kinds: Readonly<Record<string, string>>): unknown =>
      stateAfter([{ type: "kinds-declared", kinds }], founded).regions!.kinds;
    assert.deepEqual(kindsAfter({ order: "us" }), { account: "eu", note: "", order: "us" });
    const stands = founded.regions!.kinds;
    for (const kinds of [{ account: "us" }, { account: "" }, { note: "eu" }, { order: "ap" }]) {
      assert.deepEqual(kindsAfter({ another: "", ...kinds }), stands, JSON.stringify(kinds));
    }
  });

  test("has room for the most that it takes (SF7)", () => {
    const list = Array.from({ length: limits.regionsMax }, (_, index) => {
      return { ...regionOf(`r${"x".repeat(30)}${index}`), from: 4032, to: 4096 };
    });
    const kinds = Object.fromEntries(
      Array.from({ length: limits.kindsWithRegionsMax }, (_, index) => {
        return [`k${String(index).padStart(limits.nameBytesMax - 1, "0")}`, list[0]!.name];
      }),
    );
    const record: SystemRecord = { type: "regions-founded", regions: { list, kinds } };
    assert.equal(fitsRegions(record.regions), true);
    assert.equal(encodeSystemRecords([record]).length <= limits.regionsBytesMax + 64, true);
    assert.equal(fitsRegions({ list, kinds: { ...kinds, more: "" } }), false);
    assert.equal(fitsRegions({ list: [...list, regionOf("eu")], kinds }), false);
  });
});
