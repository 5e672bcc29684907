/** Reads that concern all shards: each is asked, wherever its owner is, and the pages are put together (`scattered-pages.ts`). */
import { OnefoldError } from "../base/errors.ts";
import type { Limits } from "../base/limits.ts";
import { pageLimit } from "../entity/listing.ts";
import type { ChangesOptions, ChangesReply, DeadLettersReply, ListReply, PageOptions } from "../entity/service.ts";
import type { Clock, Random, Timers } from "../host/host.ts";
import type { ForwardedArguments, ForwardedReply } from "./forwarded-call.ts";
import type { ShardMap } from "./local-shards.ts";
import {
  decodeCursors,
  mergedChanges,
  mergedDeadLetters,
  mergedList,
  type ShardCursors,
  type ShardPage,
} from "./scattered-pages.ts";
import type { ShardState } from "./system-state.ts";

type Scattered = "list" | "changes" | "deadLetters";

export interface ScatterParts {
  readonly clock: Clock;
  readonly timers: Timers;
  readonly random: Random;
  readonly limits: Limits;
  readonly map: ShardMap;
  /** Asks the owner of one shard. */
  ask<O extends Scattered>(shardId: string, operation: O, args: ForwardedArguments<O>): Promise<ForwardedReply<O>>;
}

const none: ShardCursors = new Map();

export class Scatter {
  readonly #parts: ScatterParts;

  constructor(parts: ScatterParts) {
    this.#parts = parts;
  }

  async list(kind: string, options: PageOptions & { readonly prefix?: string }): Promise<ListReply> {
    const limit = pageLimit(options.limit, this.#parts.limits);
    const pages = await this.#ask("list", this.#shards(), () => [kind, { ...options, limit }]);
    return mergedList(pages, limit);
  }

  async deadLetters(options: PageOptions & { readonly kind?: string }): Promise<DeadLettersReply> {
    const { limits } = this.#parts;
    const limit = pageLimit(options.limit, limits);
    const { cursor: given, ...rest } = options;
    const cursors = given === undefined ? none : decodeCursors(given, "The cursor", limits);
    const pages = await this.#ask("deadLetters", this.#shards(), (shard) => {
      const cursor = this.#cursorOf(shard, cursors);
      return [{ ...rest, limit, ...(cursor === undefined ? {} : { cursor }) }];
    });
    return mergedDeadLetters(pages, cursors, limit);
  }

  /** Where there are none yet, looks again every `scatterPollMs` until `waitMs` is over: no shard holds a waiting call for another node. */
  async changes(options: ChangesOptions): Promise<ChangesReply> {
    const { clock, limits } = this.#parts;
    const deadlineMs = options.deadlineMs ?? limits.deadlineMsDefault;
    const waitMs = Math.min(options.waitMs ?? 0, limits.changesWaitMsMax, deadlineMs / 2);
    const endMs = clock.monotonicMs() + waitMs;
    let { after } = options;
    for (;;) {
      const page = await this.#changesNow({ ...options, ...(after === undefined ? {} : { after }) });
      const isOver = clock.monotonicMs() >= endMs || options.signal?.aborted === true;
      if (page.items.length > 0 || page.trimmed || isOver) return page;
      after = page.next;
      await this.#sleep(Math.min(limits.scatterPollMs, Math.max(0, endMs - clock.monotonicMs())), options.signal);
    }
  }

  async #changesNow({ after, waitMs: _, signal: __, ...options }: ChangesOptions): Promise<ChangesReply> {
    const { limits, random, map } = this.#parts;
    const limit = pageLimit(options.limit, limits);
    const all = this.#shards();
    const cursors = after === undefined ? none : this.#positionsOf(after, all);
    // Without a position, of each shard its end: none may be left out then.
    const first = cursors.size === 0 || all.length <= limit ? 0 : Math.floor(random.next() * all.length);
    const chosen = cursors.size === 0 ? all : [...all, ...all].slice(first, first + Math.min(limit, all.length));
    const each = Math.max(1, Math.floor(limit / chosen.length));
    const pages = await this.#ask("changes", chosen, (shard) => {
      const position = this.#cursorOf(shard, cursors);
      return [{ ...options, limit: each, ...(position === undefined ? {} : { after: position }) }];
    });
    return mergedChanges(pages, cursors, map.state.cluster!.id);
  }

  /**
   * A plain position is one of the log that the system had before it was moved here, all shards of which go on from its numbers; and 0 is
   * the beginning of any.
   */
  #positionsOf(after: string, shards: readonly ShardState[]): ShardCursors {
    const { limits, map } = this.#parts;
    const isPlain =
      after === "0" || (map.state.promotion?.status === "activated" && /^\d{1,15}(\.\d{1,9})?$/.test(after));
    return isPlain ? new Map(shards.map(({ id }) => [id, after])) : decodeCursors(after, "`after`", limits);
  }

  /** Its own, or the one of the shard that it was split from, whose numbers it goes on from. */
  #cursorOf(shard: ShardState, cursors: ShardCursors): string | undefined {
    const own = cursors.get(shard.id);
    if (own !== undefined) return own;
    for (const parent of this.#parts.map.state.shards.values()) {
      if (parent.children.some(({ id }) => id === shard.id)) return this.#cursorOf(parent, cursors);
    }
    return undefined;
  }

  /** In order of their slots. Throws `not-ready` before there are any. */
  #shards(): readonly ShardState[] {
    const { map, limits } = this.#parts;
    const shards = [...map.state.shards.values()].filter(({ status }) => status !== "retired");
    if (shards.length === 0) {
      throw new OnefoldError("not-ready", "The cluster is not founded yet.", { retryAfterMs: 500 });
    }
    if (shards.length > limits.scatteredShardsMax) {
      throw new OnefoldError("too-large", `A read over more than ${limits.scatteredShardsMax} shards is not possible.`);
    }
    return shards.sort((a, b) => a.from - b.from);
  }

  #ask<O extends Scattered>(
    operation: O,
    shards: readonly ShardState[],
    argsOf: (shard: ShardState) => ForwardedArguments<O>,
  ): Promise<readonly ShardPage<ForwardedReply<O>>[]> {
    return Promise.all(
      shards.map(async (shard) => ({
        shard: shard.id,
        reply: await this.#parts.ask(shard.id, operation, argsOf(shard)),
      })),
    );
  }

  #sleep(forMs: number, signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve) => {
      const end = (): void => {
        timer.cancel();
        signal?.removeEventListener("abort", end);
        resolve();
      };
      const timer = this.#parts.timers.after(forMs, end, { keepsAlive: true });
      signal?.addEventListener("abort", end);
    });
  }
}
