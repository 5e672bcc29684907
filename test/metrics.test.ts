import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, before, describe, test } from "node:test";
import { bank } from "../examples/bank/bank.ts";
import { parsePrometheusText, type ParsedFamily } from "../src/gateway/prometheus-text.fixture.ts";
import { type Served, serve } from "../src/runtime/serve.ts";

/** Of the process; the others `docs/metrics.md` names one by one. */
const ofProcess = [
  "process_cpu_seconds_total",
  "process_resident_memory_bytes",
  "process_start_time_seconds",
  "nodejs_eventloop_lag_p99_seconds",
  "nodejs_heap_size_used_bytes",
];

describe("the metrics of a real node", () => {
  let directory: string;
  let served: Served;

  before(async () => {
    directory = await mkdtemp(path.join(tmpdir(), "onefold-metrics-"));
    served = await serve({
      system: bank,
      dataDirectory: directory,
      hostname: "127.0.0.1",
      port: 0,
      trace: () => undefined,
    });
  });
  after(async () => {
    await served.close({ noticeMs: 0 });
    await rm(directory, { recursive: true });
  });

  async function scrape(): Promise<{ text: string; families: ReadonlyMap<string, ParsedFamily> }> {
    const response = await fetch(`${served.url}/metrics`);
    assert.equal(response.status, 200);
    const text = await response.text();
    return { text, families: parsePrometheusText(text) };
  }

  async function post(at: string, body: unknown): Promise<number> {
    const response = await fetch(served.url + at, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(body),
    });
    await response.arrayBuffer();
    return response.status;
  }

  test("are those that the documentation names, no more and no less, by the conventions", async () => {
    const { families } = await scrape();
    const documentation = await readFile(new URL("../docs/metrics.md", import.meta.url), "utf8");
    const [, table = ""] = /## What there is([\s\S]*?)\n## /.exec(documentation) ?? [];
    // A rename is seen by everybody who has an alert on the old name.
    const documented = new Set([...table.matchAll(/`(onefold_[a-z_]+[a-z])[{`]/g)].map((match) => match[1]!));
    assert.ok(documented.size > 30);
    const shown = [...families.keys()].filter((name) => name.startsWith("onefold_"));
    assert.deepEqual(
      shown.filter((name) => !documented.has(name)),
      [],
      "not in docs/metrics.md",
    );
    assert.deepEqual(
      [...documented, ...ofProcess].filter((name) => !families.has(name)),
      [],
      "not at /metrics",
    );
  });

  test("count calls by operation and result, appends and requests; never by id", async () => {
    const before = (await scrape()).families;
    assert.equal(await post("/v1/entities/account/alice-with-a-secret-name/deposit", { cents: 500 }), 200);
    assert.equal(await post("/v1/entities/account/bob/withdraw", { cents: 500 }), 422);
    assert.equal(await post("/v1/entities/account/bob/withdraw", { cents: -5 }), 422);
    assert.equal(
      await post("/v1/transactions/transfer", { from: "alice-with-a-secret-name", to: "bob", cents: 1 }),
      200,
    );
    assert.equal((await fetch(`${served.url}/v1/entities/account/bob/balance`)).status, 200);
    assert.equal((await fetch(`${served.url}/v1/entities/account/bob`)).status, 200);
    const { text, families } = await scrape();
    const grown = (family: string, labels = ""): number =>
      (families.get(family)!.samples.get(family + labels) ?? 0) -
      (before.get(family)!.samples.get(family + labels) ?? 0);
    const calls = (action: string, operation: string, result: string, kind = "account"): number =>
      grown(
        "onefold_calls_total",
        `{action="${action}",${kind === "" ? "" : `kind="${kind}",`}${operation === "" ? "" : `operation="${operation}",`}result="${result}"}`,
      );
    assert.equal(calls("command", "deposit", "done"), 1);
    assert.equal(calls("command", "withdraw", "refused"), 1);
    assert.equal(calls("command", "withdraw", "invalid-input"), 1);
    assert.equal(calls("transaction", "transfer", "done", ""), 1);
    assert.equal(calls("query", "balance", "done"), 1);
    assert.equal(calls("state", "", "done"), 1);
    assert.equal(grown("onefold_log_appends_total", '{outcome="appended"}'), 2);
    assert.equal(grown("onefold_log_sequence"), 2);
    const counted = families.get("onefold_disk_sync_duration_seconds")!.samples;
    assert.ok(counted.get("onefold_disk_sync_duration_seconds_count")! >= 2);
    assert.ok(grown("onefold_disk_written_bytes_total") >= 1024);
    assert.equal(families.get("onefold_ready")!.samples.get("onefold_ready"), 1);
    assert.ok(families.get("onefold_disk_free_bytes")!.samples.get("onefold_disk_free_bytes")! > 0);
    assert.doesNotMatch(text, /secret-name/);
  });

  test("pass promtool's check where it is installed", async (context) => {
    const { text } = await scrape();
    const checked = spawnSync("promtool", ["check", "metrics"], { input: text, encoding: "utf8" });
    if (checked.error !== undefined) return context.skip("promtool is not installed; the strict parser has read it");
    assert.equal(checked.stdout + checked.stderr, "");
    assert.equal(checked.status, 0);
  });
});
