import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { describe, test } from "node:test";
import { diskSuite } from "../host/disk.suite.ts";
import { type Disk, DiskError, type Guard, type Host, type TurnHandlers } from "../host/host.ts";
import { nodeClock } from "../host/node/clock.ts";
import { NodeDisk } from "../host/node/disk.ts";
import type { DistributionSample, Metric, Sample } from "../metrics/metric.ts";
import { meteredHost } from "./metered-host.ts";

/** A host of which only what is measured is there. */
function hostOf(parts: { readonly disk?: Disk; readonly guard?: Guard }): Host {
  const unused = () => assert.fail("not used here");
  const guard: Guard = { turns: unused, call: unused, own: unused, noteCalls: unused };
  return { clock: nodeClock, guard, trace: () => undefined, ...parts } as unknown as Host;
}

async function numbersOf(metrics: readonly Metric[], name: string): Promise<readonly (readonly [string, number])[]> {
  const metric = metrics.find((each) => each.name === name) ?? assert.fail(name);
  assert.notEqual(metric.type, "histogram");
  const samples = (await metric.read()) as readonly Sample[];
  return samples.map(({ labels = {}, value }) => [Object.values(labels).join(" "), value]);
}

function syncsOf(metrics: readonly Metric[]): number {
  const metric = metrics.find(({ name }) => name === "onefold_disk_sync_duration_seconds")!;
  return (metric.read() as readonly DistributionSample[])[0]!.histogram.count;
}

diskSuite("measured", async () => {
  const directory = await mkdtemp(path.join(tmpdir(), "onefold-metered-"));
  const { disk } = meteredHost(hostOf({ disk: new NodeDisk(directory) })).host;
  return { disk, run: (body) => body(), close: () => rm(directory, { recursive: true }) };
});

describe("a measured host", () => {
  test("counts what is written, each sync, and what the disk refuses", async () => {
    const directory = await mkdtemp(path.join(tmpdir(), "onefold-metered-"));
    try {
      const { host, metrics } = meteredHost(hostOf({ disk: new NodeDisk(directory) }));
      const file = await host.disk.open("a", { create: "new" });
      await file.write(0, new Uint8Array(100));
      assert.equal(syncsOf(metrics), 0);
      await file.sync();
      await file.writeDurable(100, new Uint8Array(28));
      await file.close();
      assert.equal(syncsOf(metrics), 2);
      assert.deepEqual(await numbersOf(metrics, "onefold_disk_written_bytes_total"), [["", 128]]);
      const [[, freeBytes]] = (await numbersOf(metrics, "onefold_disk_free_bytes")) as [[string, number]];
      assert.ok(freeBytes > 0);
    } finally {
      await rm(directory, { recursive: true });
    }
  });

  test("counts a full and a failed disk, and lets the refusal through", async () => {
    const codes = ["full", "failed", "failed", "not-found"] as const;
    let next = 0;
    const disk = {
      remove: () => {
        const code = codes[next++]!;
        return Promise.reject(new DiskError(code, code));
      },
    } as unknown as Disk;
    const { host, metrics } = meteredHost(hostOf({ disk }));
    for (const code of codes) await assert.rejects(host.disk.remove("a"), { code });
    // What is not there is no trouble of the disk's.
    assert.deepEqual(await numbersOf(metrics, "onefold_disk_errors_total"), [
      ["full", 1],
      ["failed", 2],
    ]);
  });

  test("counts the watchdog's stops by reason, and passes them on", async () => {
    let handlers: TurnHandlers | undefined;
    const guard: Guard = {
      turns: (given) => {
        handlers = given;
        return { soon: () => given.run() };
      },
      call: (_limitMs, userCode) => userCode(),
      own: (code) => code(),
      noteCalls: () => ({ end: () => false }),
    };
    const { host, metrics } = meteredHost(hostOf({ guard }));
    const seen: string[] = [];
    const turns = host.guard.turns({ run: () => seen.push("run"), stopped: (reason) => seen.push(reason) });
    turns.soon();
    handlers!.stopped("time");
    handlers!.stopped("memory");
    handlers!.stopped("time");
    assert.equal(
      host.guard.call(1, () => host.guard.own(() => 7)),
      7,
    );
    assert.deepEqual(seen, ["run", "time", "memory", "time"]);
    assert.deepEqual(await numbersOf(metrics, "onefold_watchdog_stops_total"), [
      ["time", 2],
      ["memory", 1],
    ]);
  });

  test("counts the lines of the log by level", async () => {
    const { host, metrics } = meteredHost(hostOf({}));
    for (const level of ["warn", "error", "warn"] as const) host.trace(level, "A line.");
    const lines = new Map(await numbersOf(metrics, "onefold_trace_lines_total"));
    assert.deepEqual([lines.get("error"), lines.get("warn"), lines.get("info")], [1, 2, 0]);
  });
});
