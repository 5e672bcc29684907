import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { laxitiesOfRegions, type ServerFacts } from "./server-facts.ts";

const names = ["e1", "e2", "e3", "e4", "e5", "e6"];
const server = (name: string, tag: string, members = names): ServerFacts => {
  return { name, version: "2.15.1", syncsAlways: true, tags: [tag, `zone:${name}`], members, knowsLeader: true };
};
const eu = ["e1", "e2", "e3"].map((name) => server(name, "region:eu"));
const us = ["e4", "e5", "e6"].map((name) => server(name, "region:us"));
const needed = { regions: ["eu", "us"], replicaCount: 3 };

describe("the start gate, of regions", () => {
  test("passes servers enough in each", () => {
    assert.deepEqual(laxitiesOfRegions([...eu, ...us], needed), []);
    assert.deepEqual(laxitiesOfRegions([], { regions: [], replicaCount: 3 }), []);
  });

  test("names a region that has too few, and the tag that it counts", () => {
    const [laxity, ...others] = laxitiesOfRegions([...eu, ...us.slice(0, 2), server("e6", "region:eu")], needed);
    assert.match(
      laxity!,
      /The region us has 2 servers of the engine \(server_tags: "region:us"\); its logs are to be on 3/,
    );
    assert.deepEqual(others, []);
  });

  test("does not hold against a region that one of its servers is down", () => {
    assert.deepEqual(laxitiesOfRegions([...eu, ...us.slice(1)], needed), []);
  });
});
