import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { exchange } from "./order-book.ts";

type Item = { owner: string; priceCents: number; quantity: number };

/** A collection as the book needs it, kept in order by sorting: slow and plainly right. */
function sortedCollection(): {
  readonly items: Map<string, Item>;
  get(key: string): Item | undefined;
  set(key: string, item: Item): void;
  delete(key: string): boolean;
  range(options?: { readonly limit?: number }): Iterable<readonly [string, Item]>;
} {
  const items = new Map<string, Item>();
  return {
    items,
    get: (key) => items.get(key),
    set: (key, item) => void items.set(key, item),
    delete: (key) => items.delete(key),
    range: ({ limit } = {}) => [...items].sort(([a], [b]) => (a < b ? -1 : 1)).slice(0, limit),
  };
}

function newBook() {
  const definition = exchange.definition.entities.get("book")!;
  const state = definition.initial();
  const collections = { bids: sortedCollection(), asks: sortedCollection() };
  const run = (body: unknown, input: unknown): unknown =>
    (body as (state: unknown, input: unknown, context: unknown) => unknown)(state, input, { collections });
  return {
    state,
    collections,
    command: (name: string, input?: unknown) => run(definition.commands.get(name)!.run, input),
    query: (name: string) => run(definition.queries.get(name)!.run, undefined),
    place: (side: "bid" | "ask", owner: string, priceCents: number, quantity: number) =>
      run(definition.commands.get("place")!.run, { side, owner, priceCents, quantity }) as string,
  };
}

describe("the order book", () => {
  test("trades the best prices first, then the earliest orders, at the earlier order's price", () => {
    const book = newBook();
    book.place("ask", "late seller", 100, 5);
    book.place("ask", "dear seller", 101, 5);
    book.place("bid", "poor buyer", 99, 5);
    book.place("bid", "first buyer", 102, 3);
    book.place("bid", "second buyer", 102, 4);
    assert.deepEqual(book.command("match", { tradesMax: 10 }), [
      { buyer: "first buyer", seller: "late seller", priceCents: 100, quantity: 3 },
      { buyer: "second buyer", seller: "late seller", priceCents: 100, quantity: 2 },
      { buyer: "second buyer", seller: "dear seller", priceCents: 101, quantity: 2 },
    ]);
    assert.deepEqual(book.query("best"), {
      bid: { owner: "poor buyer", priceCents: 99, quantity: 5 },
      ask: { owner: "dear seller", priceCents: 101, quantity: 3 },
    });
    assert.deepEqual(book.query("summary"), { placed: 5, tradedQuantity: 7, lastPriceCents: 101 });
  });

  test("makes no more trades than it is asked for", () => {
    const book = newBook();
    for (let i = 0; i < 5; i++) {
      book.place("bid", "b", 100, 1);
      book.place("ask", "a", 100, 1);
    }
    assert.equal((book.command("match", { tradesMax: 2 }) as unknown[]).length, 2);
    assert.equal((book.command("match", { tradesMax: 100 }) as unknown[]).length, 3);
    assert.deepEqual(book.command("match", { tradesMax: 100 }), []);
  });

  test("cancels an order by its key, and refuses a key that it does not have", () => {
    const book = newBook();
    const key = book.place("bid", "b", 100, 7);
    assert.equal(book.command("cancel", { side: "bid", key }), 7);
    assert.deepEqual(book.query("best"), { bid: null, ask: null });
    assert.throws(() => book.command("cancel", { side: "bid", key }), { name: "Refused", code: "unknown-order" });
  });

  test("orders prices of different lengths by their amounts", () => {
    const book = newBook();
    for (const priceCents of [9, 1000, 10, 999_999_999, 99]) {
      book.place("bid", "b", priceCents, 1);
      book.place("ask", "a", priceCents, 1);
    }
    const prices = (side: "bids" | "asks") => [...book.collections[side].range()].map(([, order]) => order.priceCents);
    assert.deepEqual(prices("asks"), [9, 10, 99, 1000, 999_999_999]);
    assert.deepEqual(prices("bids"), [999_999_999, 1000, 99, 10, 9]);
  });
});
