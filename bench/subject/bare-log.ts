/**
 * The limit that a workload in process is held against: a bare loop that encodes the same states, packs and chains the same batches,
 * and appends the same bytes with the same syncs, and does nothing else: no calls, no promises, no checks, no memory of anything.
 * For reads: the same closed loop over a plain map.
 */
import assert from "node:assert/strict";
import { decodeValue, encodeValue, type Value } from "../../src/base/value.ts";
import { decodeBatch, type Entry } from "../../src/entity/batch.ts";
import { encodeBatch } from "../../src/entity/batch-encoder.ts";
import type { Disk } from "../../src/host/host.ts";
import type { Log } from "../../src/log/log.ts";
import { encodeRecord } from "../../src/log/record.ts";
import { closedLoop } from "../load/closed-loop.ts";

/** One batch, decoded beforehand so that the loop has it all to encode. */
interface Sample {
  readonly entries: readonly Entry[];
  readonly states: readonly Value[];
  readonly bytes: number;
}

/** At most so many batches and bytes are repeated: enough for a stable rate, little enough to keep in memory. */
const batchesMax = 4000;
const sampleBytesMax = 16 * 1024 * 1024;

async function sample(log: Log, fromSequence: number): Promise<Sample[]> {
  const samples: Sample[] = [];
  let total = 0;
  // The last ones: a snapshot may have trimmed the first.
  const from = Math.max(fromSequence, log.end!.sequence - batchesMax + 1);
  for await (const record of log.scan(from)) {
    if (total >= sampleBytesMax) break;
    const entries = decodeBatch(record.payload);
    const states = entries.flatMap(({ effects }) =>
      effects.flatMap(({ state }) => (state instanceof Uint8Array ? [decodeValue(state)] : [])),
    );
    samples.push({ entries, states, bytes: record.bytes.length });
    total += record.bytes.length;
  }
  return samples;
}

const sectorBytes = 512;
const zeros = new Uint8Array(1024 * 1024);

/** Preallocates a file as the log does, and gives a durable append to it. */
async function bareFile(disk: Disk, sizeBytes: number) {
  const file = await disk.open("bare", { create: "always" });
  for (let at = 0; at < sizeBytes; at += zeros.length) await file.write(at, zeros);
  await file.sync();
  let position = 0;
  return {
    append: async (bytes: Uint8Array) => {
      // Whole sectors, as the log writes them.
      const padded = new Uint8Array(Math.ceil(bytes.length / sectorBytes) * sectorBytes);
      padded.set(bytes);
      if (position + padded.length > sizeBytes) position = 0;
      await file.writeDurable(position, padded);
      position += padded.length;
    },
    close: async () => {
      await file.close();
      await disk.remove("bare");
    },
  };
}

const fileBytes = 16 * 1024 * 1024;
const header = {
  kind: "batch",
  readerVersion: 1,
  incarnation: new Uint8Array(16),
  epoch: 1,
  timeMs: 0,
} as const;

export interface BareAppends {
  /** Commands' and transactions' entries per second. */
  readonly entriesPerSecond: number;
  /** Of one record, on average. */
  readonly recordBytes: number;
}

/**
 * The bare loop over what the log got since `fromSequence`, for `seconds` or once over it all, whichever is shorter.
 * It must have got something.
 */
export async function measureBareAppends(options: {
  readonly log: Log;
  readonly fromSequence: number;
  readonly disk: Disk;
  readonly seconds: number;
}): Promise<BareAppends> {
  const samples = await sample(options.log, options.fromSequence);
  assert.ok(samples.length > 0, "nothing was appended");
  const file = await bareFile(options.disk, fileBytes);
  let previousHash: Uint8Array = new Uint8Array(32);
  let entryCount = 0;
  const beganMs = performance.now();
  const untilMs = beganMs + options.seconds * 1000;
  let sequence = 2;
  for (const { entries, states } of samples) {
    for (const state of states) encodeValue(state);
    const { bytes, hash } = encodeRecord({ ...header, sequence, previousHash }, encodeBatch(entries));
    await file.append(bytes);
    previousHash = hash;
    sequence++;
    entryCount += entries.length;
    if (performance.now() >= untilMs) break;
  }
  const seconds = (performance.now() - beganMs) / 1000;
  await file.close();
  const recordBytes = samples.reduce((sum, { bytes }) => sum + bytes, 0) / samples.length;
  return { entriesPerSecond: entryCount / seconds, recordBytes: Math.round(recordBytes) };
}

/** Median latency of one bare synced append of `bytes`, ms. */
export async function bareAppendP50Ms(disk: Disk, bytes: number, seconds: number): Promise<number> {
  const file = await bareFile(disk, fileBytes);
  const content = new Uint8Array(bytes).fill(7);
  const { p50Ms } = await closedLoop({ concurrency: 1, seconds, operation: () => file.append(content) });
  await file.close();
  return p50Ms;
}

/** Reads per second of the same loop over a plain map of decoded states. */
export async function bareReadRate(concurrency: number, seconds: number): Promise<number> {
  const states = new Map<string, { readonly balanceCents: number }>();
  for (let i = 0; i < 1000; i++) states.set(`read-${i}`, { balanceCents: i + 1 });
  const { operationsPerSecond } = await closedLoop({
    concurrency,
    seconds,
    operation: async (index) => states.get(`read-${index % 1000}`)!.balanceCents,
  });
  return operationsPerSecond;
}
