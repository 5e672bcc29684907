/** What the tests of backups share: banks on simulated nodes in one virtual time, backed up and restored from one to another. */
import assert from "node:assert/strict";
import { concatBytes } from "../base/bytes.ts";
import { SeededRandom } from "../base/random.ts";
import type { OpenBackup } from "../gateway/backup.ts";
import { type SimulatedHost, SimulatedNode } from "../sim/host.ts";
import { Scheduler } from "../sim/scheduler.ts";
import { type MemoryStoreEngine, memoryStore } from "../store/engine/memory.ts";
import { makeBank } from "../transaction/bank.fixture.ts";
import { EmbeddedNode } from "./embedded.ts";
import { inProcessClient } from "./in-process-client.ts";
import { type RestoreOptions, type RestoreReport, restoreBackup } from "./restore.ts";

export const principal = { tenant: "default", subject: "tester", scopes: ["*"] };

/** A machine: its disk outlives crashes. */
export class Machine {
  readonly scheduler: Scheduler;
  readonly node: SimulatedNode;
  readonly store: MemoryStoreEngine;
  readonly made = makeBank();
  host: SimulatedHost;

  constructor(scheduler: Scheduler, seed: string) {
    const random = new SeededRandom(seed);
    this.scheduler = scheduler;
    this.node = new SimulatedNode({ scheduler, random: random.fork("node") });
    this.host = this.node.start();
    this.store = memoryStore({
      timers: {
        after: (delayMs, callback) => this.host.timers.after(delayMs, callback),
        soon: (callback) => this.host.timers.soon(callback),
      },
      random: random.fork("store"),
    });
  }

  /** The process dies; the next one has begun. */
  restart(): void {
    this.node.crash();
    this.store.crash();
    this.host = this.node.start();
  }

  open(): Promise<EmbeddedNode> {
    return EmbeddedNode.open({
      system: this.made.bank,
      host: this.host,
      storeEngine: this.store,
      segmentBytes: 4 << 20,
      reserveBytes: 0,
    });
  }

  client(node: EmbeddedNode) {
    return inProcessClient(this.made.bank, node.service, principal);
  }

  restore(backup: Uint8Array, options: Partial<RestoreOptions> = {}): Promise<RestoreReport> {
    return restoreBackup({ host: this.host, backup: chunksOf(backup, 1000), ...options });
  }

  /** Everything below the data directory, but for the lock file. */
  files(): readonly string[] {
    return this.node.disk.paths().filter((path) => path !== "lock");
  }
}

/** Runs a test in virtual time, with as many machines as it makes. */
export function simulated(seed: string, body: (machine: (name: string) => Machine) => Promise<void>): Promise<void> {
  const scheduler = new Scheduler({ eventsMax: 5_000_000 });
  return scheduler.complete(body((name) => new Machine(scheduler, `${seed}-${name}`)));
}

/** All of a backup; `between` runs between two chunks. */
export async function readAll(
  backup: OpenBackup,
  between: () => Promise<void> = () => Promise.resolve(),
): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  try {
    for await (const chunk of backup.chunks()) {
      chunks.push(Uint8Array.from(chunk));
      await between();
    }
  } finally {
    backup.close();
  }
  const bytes = concatBytes(chunks);
  assert.equal(bytes.length, backup.sizeBytes, "a backup has the size that it said");
  return bytes;
}

export async function* chunksOf(bytes: Uint8Array, sizeBytes: number): AsyncIterable<Uint8Array> {
  for (let at = 0; at < bytes.length; at += sizeBytes) yield bytes.subarray(at, at + sizeBytes);
}

/** A backup of a bank with `count` accounts, each with 100. */
export async function smallBackup(machine: Machine, count = 3): Promise<Uint8Array> {
  const node = await machine.open();
  for (let i = 0; i < count; i++) await machine.client(node).account(`a${i}`).deposit({ cents: 100 });
  const backup = await readAll(await node.openBackup());
  await node.close();
  return backup;
}
