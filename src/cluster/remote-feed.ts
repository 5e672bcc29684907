/** The watching node's half of a feed (`watch-feeds.ts`): what it watches on one shard of one owner. */
import { toHex } from "../base/bytes.ts";
import { OnefoldError, Refused } from "../base/errors.ts";
import type { Limits } from "../base/limits.ts";
import type { Value } from "../base/value.ts";
import type { Random } from "../host/host.ts";
import type { Peers } from "./peers.ts";
import type { WatchedEntity } from "./watch-feeds.ts";

export interface RemoteFeedParts {
  readonly peers: Peers;
  readonly limits: Limits;
  readonly random: Random;
}

/** So long an answer is waited for beyond what it may take. */
const answerMs = 1_000;

/**
 * Calls `onChange` with the numbers of watches whose entities may have changed, each of them once it is watched first. Once it
 * `isOver`, it has missed something and says nothing any more.
 */
export class RemoteFeed {
  readonly address: string;
  readonly #shardId: string;
  readonly #parts: RemoteFeedParts;
  readonly #onChange: (numbers: readonly number[]) => void;
  readonly #name: string;
  #isPolling = false;
  #isOver = false;

  constructor(
    to: { readonly address: string; readonly shardId: string },
    parts: RemoteFeedParts,
    onChange: (numbers: readonly number[]) => void,
  ) {
    this.address = to.address;
    this.#shardId = to.shardId;
    this.#parts = parts;
    this.#onChange = onChange;
    this.#name = toHex(parts.random.bytes(8));
  }

  get isOver(): boolean {
    return this.#isOver;
  }

  /** At most one network message's worth. */
  add(watches: readonly WatchedEntity[]): void {
    const body = { feed: this.#name, shard: this.#shardId, watches: watches.map((watch) => [...watch]) };
    this.#call("watch.add", body, answerMs, () => {
      // Whatever happened before it was watched.
      this.#onChange(watches.map(([number]) => number));
      if (this.#isPolling) return;
      this.#isPolling = true;
      this.#poll();
    });
  }

  drop(number: number): void {
    this.#call("watch.drop", { feed: this.#name, watches: [number] }, answerMs, () => undefined);
  }

  end(): void {
    this.#isOver = true;
  }

  #poll(): void {
    const body = { feed: this.#name, shard: this.#shardId };
    this.#call("watch.poll", body, this.#parts.limits.watchFeedMs + answerMs, (answer) => {
      this.#onChange(answer as readonly number[]);
      this.#poll();
    });
  }

  #call(method: string, body: Value, deadlineMs: number, then: (answer: Value) => void): void {
    if (this.#isOver) return;
    this.#parts.peers.call(this.address, method, body, { deadlineMs }).then(
      (answer) => {
        if (!this.#isOver) then(answer);
      },
      (error: unknown) => {
        // Whatever it was, something may be missed: its owner begins another.
        this.#isOver = true;
        if (!(error instanceof OnefoldError || error instanceof Refused)) throw error;
      },
    );
  }
}
