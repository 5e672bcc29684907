/** What the tests of snapshots share: a simulated disk with blobs on it, stores in memory, and states to snapshot. */
import type { Timers } from "../host/host.ts";
import { SeededRandom } from "../base/random.ts";
import { SimulatedDisk } from "../sim/disk.ts";
import { Scheduler } from "../sim/scheduler.ts";
import { type MemoryStoreEngine, memoryStore } from "./engine/memory.ts";
import type { Write } from "./store.ts";

export const realTimers: Timers = {
  after(delayMs, callback) {
    const timer = setTimeout(callback, delayMs);
    return { cancel: () => clearTimeout(timer) };
  },
  soon(callback) {
    setImmediate(callback);
  },
};

/** Gives a turn without leaving the simulation. */
export async function turn(): Promise<void> {
  await Promise.resolve();
}

/** A store engine whose applies take a microtask: on a simulated disk, all waiting is the disk's. */
export function memoryEngine(seed: string | number): MemoryStoreEngine {
  return memoryStore({
    timers: { ...realTimers, soon: (callback) => queueMicrotask(callback) },
    random: new SeededRandom(seed),
  });
}

export function simulatedDisk(seed: string | number): { scheduler: Scheduler; disk: SimulatedDisk } {
  const scheduler = new Scheduler();
  return { scheduler, disk: new SimulatedDisk({ scheduler, random: new SeededRandom(seed) }) };
}

/** A slot table's key. */
export function slotKey(table: number, slot: number, rest: string): Uint8Array {
  return Buffer.concat([Uint8Array.of(table, slot >> 8, slot & 0xff), Buffer.from(rest)]);
}

export function slotWrite(table: number, slot: number, rest: string, value: string | Uint8Array): Write {
  return { key: slotKey(table, slot, rest), value: typeof value === "string" ? Buffer.from(value) : value };
}

export function globalWrite(table: number, rest: string, value: string): Write {
  return { key: Buffer.concat([Uint8Array.of(table), Buffer.from(rest)]), value: Buffer.from(value) };
}
