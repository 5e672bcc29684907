import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { parseOptions } from "./options.ts";

describe("the benchmark's options", () => {
  test("measure everything by default, against nothing", () => {
    const options = parseOptions([]);
    assert.deepEqual(options.transports, ["in-process", "websocket", "http"]);
    assert.deepEqual(options.concurrencies, [1, 64, 512]);
    assert.deepEqual(options.against, []);
    assert.deepEqual(options.workloads, [
      "counter",
      "hot",
      "transfer",
      "read",
      "book",
      "ycsb-a",
      "ycsb-b",
      "ycsb-c",
      "ycsb-f",
      "smallbank",
    ]);
    assert.equal(options.seconds, 3);
    assert.equal(options.sizes.rows, 100_000);
    assert.equal(options.sizes.customers, 10_000);
  });

  test("choose", () => {
    const options = parseOptions([
      "--only=read,ycsb-c",
      "--transport=http",
      "--concurrency=7,8",
      "--against=postgres,redis",
      "--seconds=0.5",
      "--report=none",
    ]);
    assert.deepEqual(options.workloads, ["read", "ycsb-c"]);
    assert.deepEqual(options.transports, ["http"]);
    assert.deepEqual(options.concurrencies, [7, 8]);
    assert.deepEqual(options.against, ["redis", "postgres"]);
    assert.equal(options.seconds, 0.5);
    assert.equal(options.report, null);
  });

  test("take a cluster, which is never in process", () => {
    const options = parseOptions(["--engine=nats", "--nodes=5", "--shards=8"]);
    assert.equal(options.engine, "nats");
    assert.equal(options.nodeCount, 5);
    assert.equal(options.shardCount, 8);
    assert.deepEqual(options.transports, ["websocket", "http"]);
    const { engine, nodeCount, shardCount } = parseOptions(["--engine=nats"]);
    assert.deepEqual({ engine, nodeCount, shardCount }, { engine: "nats", nodeCount: 3, shardCount: undefined });
  });

  for (const args of [
    ["--only=cuonter"],
    ["--transport=tcp"],
    ["--against=mysql"],
    ["--concurrency=0"],
    ["--concurrency=1.5"],
    ["--concurrency=1,,2"],
    ["--concurrency=4096"],
    ["--seconds=-1"],
    ["--seconds=soon"],
    ["--engine=lmdb"],
    ["--engine=nats,segment"],
    ["--nodes=3"],
    ["--engine=nats", "--nodes=10"],
    ["--engine=nats", "--shards=6"],
    ["--engine=nats", "--transport=in-process"],
    ["--fast"],
    ["counter"],
  ]) {
    test(`are refused where they make no sense: ${args}`, () => {
      assert.throws(() => parseOptions(args), TypeError);
    });
  }
});
