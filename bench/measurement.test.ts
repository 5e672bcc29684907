import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { serve } from "../src/runtime/serve.ts";
import type { Measurement } from "./measurement.ts";
import { startBareHttp } from "./subject/bare-http.ts";
import { startBareSocket } from "./subject/bare-socket.ts";
import { openHttp } from "./subject/http.ts";
import { errorsOnly, openInProcess } from "./subject/in-process.ts";
import { openSocket } from "./subject/socket.ts";
import { benchSystem } from "./system.ts";
import { measureMoment } from "./workload/workload.fixture.ts";

const moment = { seconds: 0.03, limitSeconds: 0.03, concurrencies: [16] };

describe("every workload runs and its check holds", async () => {
  const directory = await mkdtemp(join(tmpdir(), "onefold-bench-test-"));
  after(() => rm(directory, { recursive: true, force: true }));

  const served = (name: string) =>
    serve({
      system: benchSystem,
      dataDirectory: join(directory, name),
      hostname: "127.0.0.1",
      port: 0,
      trace: errorsOnly,
    });

  test("in process, against the bare log", async () => {
    const subject = await openInProcess(join(directory, "in-process"));
    const results = await measureMoment(subject, { ...moment, concurrencies: [1, 16] });
    assertPlausible(results);
    // Where one caller only writes, there is an append to hold it against.
    const withAppend = results.filter(({ limit }) => limit?.appendP50Ms !== undefined);
    assert.deepEqual(
      withAppend.map(({ workload, concurrency }) => `${workload} at ${concurrency}`),
      ["counter at 1", "hot at 1", "transfer at 1", "book at 1"],
    );
    await subject.close();
  });

  test("over HTTP, against a bare server", async () => {
    const node = await served("http");
    const subject = openHttp({ port: node.port, startBareHttp });
    assertPlausible(await measureMoment(subject, moment));
    await subject.close();
    await node.close({ noticeMs: 0 });
  });

  test("over a WebSocket, against a bare echo", async () => {
    const node = await served("socket");
    const subject = openSocket({ port: node.port, startBareSocket });
    assertPlausible(await measureMoment(subject, moment));
    await subject.close();
    await node.close({ noticeMs: 0 });
  });
});

function assertPlausible(results: readonly Measurement[]): void {
  for (const { workload, concurrency, measured, limit } of results) {
    const what = `${workload} at ${concurrency}`;
    assert.ok(measured.operations >= concurrency, what);
    assert.ok(measured.operationsPerSecond > 0 && Number.isFinite(measured.operationsPerSecond), what);
    assert.ok(0 < measured.p50Ms && measured.p50Ms <= measured.p99Ms && measured.p99Ms <= measured.p999Ms, what);
    assert.ok(limit !== undefined && limit.operationsPerSecond! > 0, what);
    assert.ok(Number.isFinite(limit.operationsPerSecond), what);
  }
}
