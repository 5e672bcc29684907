/**
 * How fast the engine on NATS is here, bare: appends one after the other and several under way, reading, following. Servers of its own on
 * loopback, which end with it: `node --conditions=onefold-source --import tsx scripts/engine-speed.ts [1|3] [bytes of a record]`.
 *
 * What it doesn't measure: machines apart from each other, and more than one log.
 */
import assert from "node:assert/strict";
import { TestServers } from "../src/log/engine/nats/servers.fixture.ts";
import type { EngineLog } from "../src/log/engine-log.ts";

const warmupCount = 300;
const serialCount = 2_000;
const pipelinedCount = 8_000;
const depths = [4, 16, 64, 256];
const readBytes = 1024 * 1024;

async function append(log: EngineLog, sequence: number, bytes: Uint8Array): Promise<void> {
  const outcome = await log.append(sequence, bytes);
  assert.equal(outcome.kind, "appended", `record ${sequence}; the machine is too busy to measure on`);
}

function perSecond(count: number, startMs: number): string {
  return `${Math.round((count * 1000) / (performance.now() - startMs))} a second`;
}

async function measure(log: EngineLog, bytes: Uint8Array): Promise<void> {
  let next = 1;
  while (next <= warmupCount) await append(log, next++, bytes);
  const times: number[] = [];
  for (let index = 0; index < serialCount; index++) {
    const startMs = performance.now();
    await append(log, next++, bytes);
    times.push(performance.now() - startMs);
  }
  times.sort((a, b) => a - b);
  const quantile = (part: number): string => `${times[Math.floor(part * serialCount)]!.toFixed(2)} ms`;
  console.log(`append, one after the other: p50 ${quantile(0.5)}, p99 ${quantile(0.99)}`);
  for (const depth of depths) {
    const [first, startMs] = [next, performance.now()];
    const lane = async (): Promise<void> => {
      while (next < first + pipelinedCount) await append(log, next++, bytes);
    };
    await Promise.all(Array.from({ length: depth }, lane));
    console.log(`append, ${depth} under way: ${perSecond(pipelinedCount, startMs)}`);
  }
  const last = next - 1;
  let startMs = performance.now();
  for (let sequence = 1; sequence <= last; ) {
    const records = await log.readMany(sequence, readBytes);
    assert.notEqual(records.length, 0);
    sequence += records.length;
  }
  console.log(`readMany: ${perSecond(last, startMs)}`);
  startMs = performance.now();
  await new Promise<void>((resolve, reject) => {
    log.tail(1, { record: (sequence) => sequence === last && resolve(), ended: reject });
  });
  console.log(`tail: ${perSecond(last, startMs)}`);
}

const [servers = "3", bytes = "500"] = process.argv.slice(2);
const serverCount = servers === "1" ? 1 : 3;
const cluster = await TestServers.start({ serverCount });
try {
  console.log(`${serverCount} servers, records of ${Number(bytes)} bytes`);
  const engine = await cluster.connect();
  await measure(await engine.create("speed", { firstSequence: 1 }), new Uint8Array(Number(bytes)));
} finally {
  await cluster.dispose();
}
