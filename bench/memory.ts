/**
 * `npm run bench -- --memory`: a million entities of about 100 bytes at the default cache budget, what they cost in memory,
 * and how long a restart takes on them and a log of a gigabyte. The restart happens in a process of its own.
 */
import { spawn } from "node:child_process";
import { readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { limitHeapGrowth } from "../src/host/node/heap.ts";
import { inProcessClient } from "../src/runtime/in-process-client.ts";
import { openNode } from "../src/runtime/node.ts";
import { benchSystem } from "./system.ts";

const entityCount = 1_000_000;
const logBytes = 1024 ** 3;
const developer = { tenant: "default", subject: "developer", scopes: ["*"] } as const;
const text = "x".repeat(90);
const id = (index: number) => `record-${index}`;

/** Now, and the most that it has ever been (`peakMb`). */
async function resident(): Promise<{
  readonly totalMb: number;
  readonly peakMb: number;
  readonly anonymousMb: number;
  readonly fileMb: number;
}> {
  const status = await readFile("/proc/self/status", "utf8");
  const field = (name: string) => Number(new RegExp(`${name}:\\s+(\\d+) kB`).exec(status)?.[1] ?? 0) / 1024;
  return {
    totalMb: Math.round(field("VmRSS")),
    peakMb: Math.round(field("VmHWM")),
    anonymousMb: Math.round(field("RssAnon")),
    fileMb: Math.round(field("RssFile")),
  };
}

async function directoryBytes(directory: string): Promise<number> {
  let total = 0;
  for (const name of await readdir(directory)) total += (await stat(join(directory, name))).size;
  return total;
}

function report(json: boolean, facts: Readonly<Record<string, unknown>>): void {
  console.log(
    json
      ? JSON.stringify(facts)
      : Object.entries(facts)
          .map(([name, value]) => `${name}=${value}`)
          .join("  "),
  );
}

export async function measureMemory(directory: string, { json }: { readonly json: boolean }): Promise<void> {
  const quiet = () => undefined;
  // As the program `onefold` does.
  limitHeapGrowth();
  // No snapshots, so that nothing is trimmed and the log gets as long as it should.
  const node = await openNode({
    system: benchSystem,
    dataDirectory: directory,
    trace: quiet,
    snapshotBytes: Number.POSITIVE_INFINITY,
  });
  const client = inProcessClient(benchSystem, node.service, developer);
  const began = performance.now();
  let written = 0;
  const writer = async (first: number, step: number, count: number) => {
    for (let index = first; index < count; index += step) {
      await client.record(id(index % entityCount)).write({ text: `${text}${index}` });
      written++;
    }
  };
  const writers = (from: number, count: number) =>
    Promise.all(Array.from({ length: 512 }, (_, first) => writer(from + first, 512, count)));
  await writers(0, entityCount);
  report(json, {
    step: "loaded",
    entities: entityCount,
    seconds: Math.round(performance.now() - began) / 1000,
    ...(await resident()),
  });
  for (let from = entityCount; (await directoryBytes(join(directory, "log"))) < logBytes; from += 200_000) {
    await writers(from, from + 200_000);
  }
  report(json, {
    step: "written",
    writes: written,
    logMb: Math.round((await directoryBytes(join(directory, "log"))) / 1024 ** 2),
    ...(await resident()),
  });
  await node.close();
  for (const how of ["clean stop", "kill -9"] as const) {
    await inProcess(directory, json, how);
  }
}

/** Runs this file as a program of its own: `restart` opens, reads some, reports, and ends as it is told. */
async function inProcess(directory: string, json: boolean, how: string): Promise<void> {
  const child = spawn(process.execPath, [fileURLToPath(import.meta.url), directory, String(json), how], {
    stdio: "inherit",
  });
  await new Promise<void>((resolve) => child.once("exit", () => resolve()));
}

async function restart(directory: string, json: boolean, how: string): Promise<void> {
  const began = performance.now();
  limitHeapGrowth();
  const node = await openNode({ system: benchSystem, dataDirectory: directory, trace: () => undefined });
  const readySeconds = Math.round(performance.now() - began) / 1000;
  report(json, { step: "ready", after: how, seconds: readySeconds, ...(await resident()) });
  const client = inProcessClient(benchSystem, node.service, developer);
  const reader = async (first: number) => {
    for (let index = first; index < 200_000; index += 64) {
      const value = await client.record(id((index * 7919) % entityCount)).read();
      if (!value.startsWith(text)) throw new Error(`wrong record: ${value}`);
    }
  };
  await Promise.all(Array.from({ length: 64 }, (_, first) => reader(first)));
  report(json, {
    step: "read 200,000 at random",
    ...(await resident()),
    cachedEntities: node.embedded.shard.cache.entities,
  });
  if (how === "clean stop") {
    for (let index = 0; index < 20_000; index += 512) {
      await Promise.all(Array.from({ length: 512 }, (_, i) => client.record(id(index + i)).write({ text })));
    }
    process.kill(process.pid, "SIGKILL");
  }
  await node.close();
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [directory, json, how] = process.argv.slice(2);
  await restart(directory!, json === "true", how!);
}
