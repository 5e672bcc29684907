/**
 * Redis as a subject: the operations in its own terms, each atomic: a command where one does it, else a Lua script. Calls of one turn go
 * out together (ioredis's automatic pipelines), over as many connections as there are processors.
 */
import { availableParallelism } from "node:os";
import { Redis } from "ioredis";
import { inPortions } from "../load/closed-loop.ts";
import type { Operations, RowFields } from "../workload/operations.ts";
import type { Subject } from "./subject.ts";

/** Scripts: the keys that they touch, and what they do. Money that is not there makes them answer `refused`. */
const scripts = {
  transferMoney: {
    numberOfKeys: 2,
    lua: `
      local balance = tonumber(redis.call("GET", KEYS[1]) or "0")
      if balance < tonumber(ARGV[1]) then return "refused" end
      redis.call("DECRBY", KEYS[1], ARGV[1])
      return redis.call("INCRBY", KEYS[2], ARGV[1])`,
  },
  fillBook: {
    numberOfKeys: 3,
    lua: `
      for i = 0, ARGV[2] - 1 do
        local price = string.format("%09d", ARGV[1] + i)
        redis.call("ZADD", KEYS[1], tonumber(price), price)
        redis.call("HSET", KEYS[2], price, ARGV[3])
      end
      return redis.call("HINCRBY", KEYS[3], "placed", ARGV[2])`,
  },
  trade: {
    numberOfKeys: 3,
    lua: `
      local best = redis.call("ZPOPMIN", KEYS[1])[1]
      local taken = 0
      if best then
        redis.call("HDEL", KEYS[2], best)
        taken = 1
      end
      redis.call("ZADD", KEYS[1], tonumber(ARGV[1]), ARGV[1])
      redis.call("HSET", KEYS[2], ARGV[1], ARGV[2])
      return redis.call("HINCRBY", KEYS[3], "placed", 1) - redis.call("HINCRBY", KEYS[3], "taken", taken)`,
  },
  adjustMoney: {
    numberOfKeys: 1,
    lua: `
      local balance = tonumber(redis.call("GET", KEYS[1]) or "0")
      if balance + tonumber(ARGV[1]) < 0 then return "refused" end
      return redis.call("INCRBY", KEYS[1], ARGV[1])`,
  },
  amalgamate: {
    numberOfKeys: 3,
    lua: `
      local all = tonumber(redis.call("GET", KEYS[1]) or "0") + tonumber(redis.call("GET", KEYS[2]) or "0")
      redis.call("SET", KEYS[1], 0)
      redis.call("SET", KEYS[2], 0)
      return redis.call("INCRBY", KEYS[3], string.format("%d", all))`,
  },
  writeCheck: {
    numberOfKeys: 2,
    lua: `
      local all = tonumber(redis.call("GET", KEYS[1]) or "0") + tonumber(redis.call("GET", KEYS[2]) or "0")
      local taken = tonumber(ARGV[1])
      if all < taken then taken = taken + tonumber(ARGV[2]) end
      redis.call("DECRBY", KEYS[2], string.format("%d", taken))
      return taken`,
  },
} as const;

type Scripts = {
  readonly [Name in keyof typeof scripts]: (...args: readonly (string | number)[]) => Promise<number | "refused">;
};
type Connection = Redis & Scripts;

const key = {
  counter: (id: string) => `counter:${id}`,
  account: (id: string) => `account:${id}`,
  row: (id: string) => `row:${id}`,
  savings: (customer: string) => `savings:${customer}`,
  checking: (customer: string) => `checking:${customer}`,
};
const bookKeys = ["book:prices", "book:orders", "book:totals"] as const;

/** Connects to Redis at `port` on loopback and empties it. Rejects where it does not sync every write. */
export async function openRedis(port: number): Promise<Subject> {
  const connections = Array.from({ length: availableParallelism() }, () => connectTo(port));
  const [first] = connections;
  await Promise.all(connections.map((connection) => connection.connect()));
  const [, durability] = (await first!.config("GET", "appendfsync")) as [string, string];
  if (durability !== "always") throw new Error(`Redis runs with appendfsync ${durability}`);
  await first!.flushall();
  let turn = 0;
  return {
    operations: redisOperations(() => connections[turn++ % connections.length]!),
    // Redis is what Onefold is held against; it is not held against anything itself.
    mark: () => async () => undefined,
    close: async () => {
      for (const connection of connections) connection.disconnect();
    },
  };
}

function connectTo(port: number): Connection {
  const redis = new Redis({
    host: "127.0.0.1",
    port,
    lazyConnect: true,
    enableAutoPipelining: true,
    // A lost connection is a failed benchmark.
    retryStrategy: () => null,
  });
  for (const [name, script] of Object.entries(scripts)) redis.defineCommand(name, script);
  return redis as unknown as Connection;
}

function redisOperations(next: () => Connection): Operations {
  const numberAt = async (at: string) => Number((await next().get(at)) ?? 0);
  return {
    increment: (id) => next().incr(key.counter(id)),
    counterValue: (id) => numberAt(key.counter(id)),

    deposit: (id, cents) => next().incrby(key.account(id), cents),
    transfer: async ({ from, to, cents }) => {
      const outcome = await next().transferMoney(key.account(from), key.account(to), cents);
      if (outcome === "refused") throw new Error(`${from} has too little money`);
    },
    balance: (id) => numberAt(key.account(id)),

    fillBook: ({ from, count }) =>
      next().fillBook(...bookKeys, from, count, JSON.stringify({ quantity: 1, owner: "market maker" })),
    trade: async (price, order) => Number(await next().trade(...bookKeys, price, JSON.stringify(order))),
    openOrders: async () => {
      const { placed, taken } = await next().hgetall(bookKeys[2]);
      return Number(placed) - Number(taken ?? 0);
    },

    insertRows: (rows) => inPortions(rows.length, (i) => next().hset(key.row(rows[i]!.id), rows[i]!.fields)),
    readRow: async (id) => (await next().hgetall(key.row(id))) as RowFields,
    updateRow: (id, { field, value }) => next().hset(key.row(id), field, value),

    openCustomers: (ids, cents) =>
      inPortions(ids.length, (i) => next().mset(key.savings(ids[i]!), cents, key.checking(ids[i]!), cents)),
    customerBalance: async (customer) => {
      // One command sees one moment.
      const [saved, kept] = await next().mget(key.savings(customer), key.checking(customer));
      return Number(saved) + Number(kept);
    },
    depositChecking: async (customer, cents) => {
      await next().incrby(key.checking(customer), cents);
      return cents;
    },
    transactSavings: async (customer, cents) =>
      (await next().adjustMoney(key.savings(customer), cents)) === "refused" ? 0 : cents,
    amalgamate: ({ from, to }) => next().amalgamate(key.savings(from), key.checking(from), key.checking(to)),
    writeCheck: async (customer, { cents, penaltyCents }) =>
      -Number(await next().writeCheck(key.savings(customer), key.checking(customer), cents, penaltyCents)),
    sendPayment: ({ from, to, cents }) => next().transferMoney(key.checking(from), key.checking(to), cents),
  };
}
