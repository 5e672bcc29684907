import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { ResultLine } from "../result.ts";
import { quickSizes } from "../workload/workload.ts";
import { reportHtml } from "./report.ts";

const line: ResultLine = {
  workload: "counter",
  transport: "http",
  engine: "segment",
  concurrency: 64,
  operations_per_second: 12_345,
  p50_ms: 1.5,
  p99_ms: 20,
  p999_ms: 30,
  limit_ratio: 0.75,
  p50_to_bare_append: null,
  plain_stream_throughput_ratio: null,
  counter_throughput_ratio: null,
  load_cpu: 0.5,
  redis_throughput_ratio: null,
  redis_p50_ratio: null,
  postgres_throughput_ratio: null,
  postgres_p50_ratio: null,
};

const facts = {
  startedAt: new Date("2026-11-23T12:00:00Z"),
  machine: {
    processor: "A <fast> one",
    processors: 2,
    memoryGiB: 24,
    system: "linux",
    node: "v20",
    commit: undefined,
  },
  opponents: ["Redis 7"],
  options: { seconds: 3, isQuick: false, sizes: quickSizes },
  notes: ["A & B are not equal."],
};

describe("the report", () => {
  const html = reportHtml(
    [
      { ...line, engine: "redis", transport: "resp", operations_per_second: 54_321, p999_ms: 0.0003 },
      line,
      { ...line, concurrency: 1, p50_ms: 0, p99_ms: 0, p999_ms: 0 },
    ],
    facts,
  );

  test("shows every result in a picture and in a table, Onefold first", () => {
    assert.equal(html.match(/<svg/g)?.length, 2);
    assert.equal(html.match(/<tr>/g)?.length, 4);
    for (const text of ["12,345", "54,321", "64 callers at once", "1 caller", "Redis 7"]) {
      assert.ok(html.includes(text), text);
    }
    assert.ok(html.indexOf("Onefold, HTTP") < html.indexOf(">Redis<"));
    assert.ok(!/NaN|Infinity|undefined/.test(html), "no figure is missing");
  });

  test("needs nothing from elsewhere and runs no script", () => {
    assert.ok(!/<script|<link|@import|url\(|src=|https?:\/\//i.test(html));
  });

  test("shows text as text", () => {
    assert.ok(html.includes("A &lt;fast&gt; one"));
    assert.ok(html.includes("A &amp; B are not equal."));
  });

  test("leaves out columns in which nothing was measured", () => {
    assert.ok(html.includes("of its limit"));
    assert.ok(!html.includes("× PostgreSQL"));
  });
});
