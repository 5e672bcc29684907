/** The workloads: what one operation is, and how each run checks that its operations did what they say. */
import assert from "node:assert/strict";
import type { Client } from "../src/index.ts";
import type { benchSystem } from "./system.ts";

type BenchClient = Client<typeof benchSystem>;

export interface Workload {
  readonly name: string;
  /** Entities and items that must be there before. */
  prepare(client: BenchClient): Promise<void>;
  operation(client: BenchClient, index: number): Promise<unknown>;
  /** After `operations` of them since `prepare`: throws if they did not all take hold, once each. */
  check(client: BenchClient, operations: number): Promise<void>;
}

const entityCount = 1000;
const openingCents = 1_000_000;
const bookItems = 100_000;

async function inPortions(count: number, run: (index: number) => Promise<unknown>): Promise<void> {
  for (let at = 0; at < count; at += 256) {
    await Promise.all(Array.from({ length: Math.min(256, count - at) }, (_, i) => run(at + i)));
  }
}

async function sum(count: number, read: (index: number) => Promise<number>): Promise<number> {
  let total = 0;
  await inPortions(count, async (index) => {
    const value = await read(index);
    total += value;
  });
  return total;
}

function counter(name: string, count: number): Workload {
  let before = 0;
  const total = (client: BenchClient) => sum(count, (i) => client.counter(`${name}-${i}`).value());
  return {
    name,
    async prepare(client) {
      await inPortions(count, (i) => client.counter(`${name}-${i}`).increment());
      before = await total(client);
    },
    operation: (client, index) => client.counter(`${name}-${(index * 7919) % count}`).increment(),
    async check(client, operations) {
      assert.equal((await total(client)) - before, operations);
    },
  };
}

function transfers(): Workload {
  const id = (i: number) => `holder-${i % entityCount}`;
  const total = (client: BenchClient) => sum(entityCount, (i) => client.account(id(i)).balance());
  let before = 0;
  return {
    name: "transfer",
    async prepare(client) {
      await inPortions(entityCount, (i) => client.account(id(i)).deposit({ cents: openingCents }));
      before = await total(client);
    },
    operation: (client, index) => {
      const from = (index * 7919) % entityCount;
      return client.transfer({ from: id(from), to: id(from + 1 + (index % 997)), cents: 1 });
    },
    async check(client) {
      assert.equal(await total(client), before);
    },
  };
}

function strongRead(): Workload {
  const id = (i: number) => `read-${i % entityCount}`;
  return {
    name: "read",
    prepare: (client) => inPortions(entityCount, (i) => client.account(id(i)).deposit({ cents: i + 1 })),
    async operation(client, index) {
      const balance = await client.account(id(index)).balance();
      if (balance % ((index % entityCount) + 1) !== 0) throw new Error(`wrong balance ${balance}`);
    },
    check: async () => undefined,
  };
}

function orderBook(): Workload {
  let next = 0;
  return {
    name: "book",
    async prepare(client) {
      if (next > 0) return;
      for (; next < bookItems; next += 1000) await client.book("xyz").fill({ from: next, count: 1000 });
    },
    async operation(client, index) {
      const price = String(next + index).padStart(9, "0");
      const open = await client.book("xyz").trade({ price, order: { quantity: 3, owner: "somebody" } });
      if (open !== bookItems) throw new Error(`${open} open orders`);
    },
    async check(client, operations) {
      next += operations;
      assert.equal(await client.book("xyz").open(), bookItems);
    },
  };
}

export const workloads: readonly Workload[] = [
  counter("counter", entityCount),
  counter("hot", 1),
  transfers(),
  strongRead(),
  orderBook(),
];
