/**
 * `npm run bench`: what Onefold does on this machine, in process, each workload against the bare loop that is its limit.
 *
 *   --json              one JSON line for each result
 *   --only a,b          only these workloads
 *   --concurrency 1,64  only these; default 1,64,512
 *   --seconds N         for each measurement; default 3
 *   --data DIR          where the log goes; default: a folder for temporary files, removed afterwards
 *   --memory            instead: a million entities, their memory, and the restart on them and a 1 GB log
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import type { Trace } from "../src/host/host.ts";
import { inProcessClient } from "../src/runtime/in-process-client.ts";
import { openNode } from "../src/runtime/node.ts";
import { bareAppendP50Ms, bareAppendRate, bareReadRate } from "./bare.ts";
import { closedLoop, type Measured } from "./harness.ts";
import { measureMemory } from "./memory.ts";
import { benchSystem } from "./system.ts";
import { type Workload, workloads } from "./workloads.ts";

const { values: options } = parseArgs({
  options: {
    json: { type: "boolean", default: false },
    only: { type: "string" },
    concurrency: { type: "string", default: "1,64,512" },
    seconds: { type: "string", default: "3" },
    data: { type: "string" },
    memory: { type: "boolean", default: false },
  },
});

const quiet: Trace = (level, message, fields) => {
  if (level === "error") console.error(message, fields);
};

const developer = { tenant: "default", subject: "developer", scopes: ["*"] } as const;

interface Line extends Measured {
  readonly workload: string;
  readonly concurrency: number;
  /** Against the bare loop in this same run. */
  readonly limitRatio: number;
  /** At concurrency 1: p50 against one bare synced append of the same size. */
  readonly appendRatio: number | undefined;
}

function print(line: Line): void {
  if (options.json) {
    console.log(
      JSON.stringify({
        workload: line.workload,
        transport: "in-process",
        engine: "segment",
        concurrency: line.concurrency,
        operations_per_second: Math.round(line.operationsPerSecond),
        p50_ms: round(line.p50Ms),
        p99_ms: round(line.p99Ms),
        p999_ms: round(line.p999Ms),
        limit_ratio: round(line.limitRatio),
        ...(line.appendRatio === undefined ? {} : { p50_to_bare_append: round(line.appendRatio) }),
      }),
    );
    return;
  }
  const cells = [
    line.workload.padEnd(9),
    String(line.concurrency).padStart(5),
    Math.round(line.operationsPerSecond).toLocaleString("en").padStart(12),
    ...[line.p50Ms, line.p99Ms, line.p999Ms].map((ms) => ms.toFixed(3).padStart(9)),
    line.limitRatio.toFixed(2).padStart(8),
    (line.appendRatio === undefined ? "" : line.appendRatio.toFixed(2)).padStart(9),
  ];
  console.log(cells.join(" "));
}

const round = (value: number) => Math.round(value * 1000) / 1000;

async function measure(workload: Workload, concurrencies: readonly number[], directory: string): Promise<void> {
  const node = await openNode({ system: benchSystem, dataDirectory: directory, trace: quiet });
  const client = inProcessClient(benchSystem, node.service, developer);
  const seconds = Number(options.seconds);
  try {
    for (const concurrency of concurrencies) {
      await workload.prepare(client);
      const operation = (index: number) => workload.operation(client, index);
      let warmed = 0;
      // One series of indexes over both loops, so that the check knows how many there were.
      const warm = await closedLoop({ concurrency, seconds: seconds / 3, operation });
      warmed = warm.operations;
      const fromSequence = node.service.health().sequence + 1;
      const measured = await closedLoop({ concurrency, seconds, operation: (index) => operation(warmed + index) });
      await workload.check(client, warmed + measured.operations);
      const { log } = node.embedded;
      const { end } = log;
      const appended = end !== null && end.sequence > fromSequence + 1;
      const limit = appended
        ? await bareAppendRate(log, fromSequence, node.host.disk)
        : await bareReadRate(concurrency, seconds / 3);
      let appendRatio: number | undefined;
      if (concurrency === 1 && appended) {
        const record = await log.read(fromSequence + 1);
        appendRatio = measured.p50Ms / (await bareAppendP50Ms(node.host.disk, record!.bytes.length, seconds / 3));
      }
      print({
        workload: workload.name,
        concurrency,
        ...measured,
        limitRatio: measured.operationsPerSecond / limit,
        appendRatio,
      });
    }
  } finally {
    await node.close();
  }
}

async function main(): Promise<void> {
  const directory = options.data ?? (await mkdtemp(join(tmpdir(), "onefold-bench-")));
  try {
    if (options.memory) return await measureMemory(directory, { json: options.json });
    if (!options.json) {
      console.log("workload  conc.   operations/s    p50 ms    p99 ms  p99.9 ms    limit p50/append");
    }
    const only = options.only?.split(",");
    const concurrencies = options.concurrency.split(",").map(Number);
    for (const workload of workloads) {
      if (only !== undefined && !only.includes(workload.name)) continue;
      await measure(workload, concurrencies, join(directory, workload.name));
    }
  } finally {
    if (options.data === undefined) await rm(directory, { recursive: true, force: true });
  }
}

await main();
