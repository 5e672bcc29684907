/**
 * An order book per instrument, as large as it likes: its orders stand in two ordered collections, so a command costs the
 * orders that it touches and not the book. Both are keyed best order first (by price, then by arrival), so that whatever
 * stands at the front of each is what trades next.
 */
import { entity, Refused, system } from "onefold";
import { z } from "zod";

const priceCentsMax = 999_999_999;
const side = z.enum(["bid", "ask"]);

/** Whole cents and pieces: money is never a fraction. */
const order = z.object({
  owner: z.string().min(1).max(100),
  priceCents: z.number().int().positive().max(priceCentsMax),
  quantity: z.number().int().positive().max(1_000_000_000),
});

const trade = z.object({
  buyer: order.shape.owner,
  seller: order.shape.owner,
  priceCents: order.shape.priceCents,
  quantity: order.shape.quantity,
});

const summary = z.object({
  placed: z.number().int().nonnegative(),
  tradedQuantity: z.number().int().nonnegative(),
  lastPriceCents: z.number().int().positive().nullable(),
});

const book = entity("book")
  .state(summary, () => ({ placed: 0, tradedQuantity: 0, lastPriceCents: null }))
  .collection("bids", order)
  .collection("asks", order)
  .command(
    "place",
    order.extend({ side }),
    (state, { side, ...placed }, { collections }) => {
      state.placed += 1;
      const key = keyOf(side, placed.priceCents, state.placed);
      (side === "bid" ? collections.bids : collections.asks).set(key, placed);
      return key;
    },
    { description: "Places an order; gives its key, by which it can be cancelled.", output: z.string() },
  )
  .command(
    "cancel",
    z.object({ side, key: z.string().min(1).max(100) }),
    (_state, { side, key }, { collections }) => {
      const orders = side === "bid" ? collections.bids : collections.asks;
      const cancelled = orders.get(key);
      if (cancelled === undefined) throw new Refused("unknown-order", { side, key });
      orders.delete(key);
      return cancelled.quantity;
    },
    {
      description: "Cancels an order; gives what was left of it.",
      output: order.shape.quantity,
      refusals: { "unknown-order": z.object({ side, key: z.string() }) },
    },
  )
  .command(
    "match",
    z.object({ tradesMax: z.number().int().positive().max(100) }),
    (state, { tradesMax }, { collections }) => {
      const { bids, asks } = collections;
      const trades: z.infer<typeof trade>[] = [];
      while (trades.length < tradesMax) {
        const [bidKey, bid] = first(bids.range({ limit: 1 })) ?? [];
        const [askKey, ask] = first(asks.range({ limit: 1 })) ?? [];
        if (bidKey === undefined || bid === undefined || askKey === undefined || ask === undefined) break;
        if (bid.priceCents < ask.priceCents) break;
        const quantity = Math.min(bid.quantity, ask.quantity);
        const priceCents = arrivalOf(bidKey) < arrivalOf(askKey) ? bid.priceCents : ask.priceCents;
        trades.push({ buyer: bid.owner, seller: ask.owner, priceCents, quantity });
        if (bid.quantity === quantity) bids.delete(bidKey);
        else bids.set(bidKey, { ...bid, quantity: bid.quantity - quantity });
        if (ask.quantity === quantity) asks.delete(askKey);
        else asks.set(askKey, { ...ask, quantity: ask.quantity - quantity });
        state.tradedQuantity += quantity;
        state.lastPriceCents = priceCents;
      }
      return trades;
    },
    {
      description:
        "Trades the best bid with the best ask while their prices cross, at the price of the one that came first.",
      output: z.array(trade),
    },
  )
  .query(
    "best",
    (_state, _input, { collections }) => ({
      bid: first(collections.bids.range({ limit: 1 }))?.[1] ?? null,
      ask: first(collections.asks.range({ limit: 1 }))?.[1] ?? null,
    }),
    { output: z.object({ bid: order.nullable(), ask: order.nullable() }) },
  )
  .query("summary", (state) => state, { output: summary });

/** Keys order as text: prices and arrivals of fixed width, bids by falling price. */
function keyOf(side: "bid" | "ask", priceCents: number, arrival: number): string {
  const rank = side === "bid" ? priceCentsMax - priceCents : priceCents;
  return `${String(rank).padStart(9, "0")}-${String(arrival).padStart(16, "0")}`;
}

function arrivalOf(key: string): number {
  return Number(key.slice(key.indexOf("-") + 1));
}

function first<T>(items: Iterable<T>): T | undefined {
  for (const item of items) return item;
  return undefined;
}

export const exchange = system("exchange", { book });
