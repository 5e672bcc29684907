import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { loadBetween, operationName } from "./load.ts";
import { growth, parseScrape, quantile, total } from "./scrape.ts";

const nothing = parseScrape("", 0);

describe("a scrape", () => {
  test("is read as the format says: labels with escapes, infinities, comments left out", () => {
    const scrape = parseScrape(
      [
        "# HELP a What it is.",
        "# TYPE a counter",
        'a{x="1",y="a \\"b\\" \\\\ \\n {c}, d=e"} 3.5',
        'a{x="2"} 1e3 1700000000000',
        "b +Inf",
        "c NaN",
        "",
        "not a sample",
      ].join("\n"),
      7,
    );
    assert.equal(scrape.atMs, 7);
    assert.deepEqual(scrape.samples.get("a"), [
      { labels: { x: "1", y: 'a "b" \\ \n {c}, d=e' }, value: 3.5 },
      { labels: { x: "2" }, value: 1000 },
    ]);
    assert.equal(total(scrape, "b"), Number.POSITIVE_INFINITY);
    assert.ok(Number.isNaN(total(scrape, "c")));
    assert.deepEqual(
      [total(scrape, "a"), total(scrape, "a", { x: "2" }), total(scrape, "none")],
      [1003.5, 1000, undefined],
    );
    assert.deepEqual([...scrape.samples.keys()], ["a", "b", "c"]);
  });

  test("tells how a counter grew, from nothing when its process began anew", () => {
    const [before, now] = [parseScrape("a 10", 0), parseScrape("a 25", 1)];
    assert.deepEqual([growth(before, now, "a"), growth(now, before, "a"), growth(nothing, now, "a")], [15, 10, 25]);
  });

  test("estimates quantiles of what was counted in between", () => {
    const histogram = (counts: readonly number[]): string =>
      ["1", "2", "4", "+Inf"].map((le, i) => `h_bucket{le="${le}"} ${counts[i]}`).join("\n");
    const before = parseScrape(histogram([100, 100, 100, 100]), 0);
    const now = parseScrape(histogram([100, 150, 200, 200]), 1);
    const of = (q: number): number | undefined => quantile(before, now, { name: "h", quantile: q });
    assert.deepEqual([of(0.25), of(0.5), of(0.75), of(1)], [1.5, 2, 3, 4]);
    const beyond = parseScrape(histogram([100, 100, 100, 101]), 1);
    assert.equal(
      quantile(before, beyond, { name: "h", quantile: 0.5 }),
      4,
      "the greatest bound stands for what exceeds all",
    );
    assert.equal(quantile(before, before, { name: "h", quantile: 0.5 }), undefined);
  });
});

describe("a load", () => {
  test("is what happened between two scrapes, operation by operation, the busiest first", () => {
    const lines = (deposits: number, refused: number, failed: number): string =>
      [
        'onefold_build_info{version="1",system="bank"} 1',
        "onefold_ready 1",
        "onefold_queued_calls 3",
        `onefold_calls_total{action="command",kind="account",operation="deposit",result="done"} ${deposits}`,
        `onefold_calls_total{action="command",kind="account",operation="deposit",result="refused"} ${refused}`,
        `onefold_calls_total{action="command",kind="account",operation="deposit",result="overloaded"} ${failed}`,
        'onefold_calls_total{action="transaction",operation="transfer",result="done"} 5',
        'onefold_calls_total{action="state",kind="account",result="done"} 0',
        `onefold_call_duration_seconds_bucket{action="command",kind="account",operation="deposit",le="0.001"} ${deposits}`,
        `onefold_call_duration_seconds_bucket{action="command",kind="account",operation="deposit",le="+Inf"} ${deposits}`,
        `onefold_log_append_duration_seconds_count ${deposits / 10}`,
        "process_start_time_seconds 1000",
      ].join("\n");
    const load = loadBetween(parseScrape(lines(100, 0, 0), 0), parseScrape(lines(300, 20, 10), 2000), 1060);
    assert.deepEqual(
      [load.system, load.isReady, load.queuedCalls, load.operationsPerSecond, load.appendsPerSecond, load.upSeconds],
      ["bank", true, 3, 115, 10, 60],
    );
    assert.deepEqual(
      load.operations.map(operationName),
      ["account.deposit", "transfer"],
      "what was never called is left out",
    );
    const [deposit, transfer] = load.operations;
    assert.deepEqual([deposit!.perSecond, deposit!.refusedPerSecond, deposit!.failedPerSecond], [115, 10, 5]);
    assert.ok(Math.abs(deposit!.p50Ms! - 0.5) < 1e-9);
    assert.deepEqual([transfer!.perSecond, transfer!.p50Ms], [0, undefined]);
    assert.equal(operationName({ action: "state", kind: "account" }), "account (state)");
  });

  test("of a node that tells nothing has no numbers, and no errors", () => {
    const load = loadBetween(nothing, parseScrape("", 1000), 0);
    assert.deepEqual([load.isReady, load.operationsPerSecond, load.p50Ms, load.operations], [false, 0, undefined, []]);
  });

  test("takes one pass over a system of thousands of operations", () => {
    const lines = Array.from({ length: 5000 }, (_, i) => {
      const labels = `action="command",kind="k${i}",operation="o"`;
      return `onefold_calls_total{${labels},result="done"} 1\nonefold_call_duration_seconds_bucket{${labels},le="+Inf"} 1`;
    }).join("\n");
    const scrape = parseScrape(lines, 0);
    const begun = process.cpuUsage();
    assert.equal(loadBetween(scrape, parseScrape(lines, 1), 0).operations.length, 5000);
    const { user } = process.cpuUsage(begun);
    // Looking each operation up among all of them takes more than ten times as long.
    assert.ok(user < 2_000_000, `${user / 1000} ms of processor time`);
  });
});
