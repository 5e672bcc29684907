/**
 * What happens on a shard, in the order of its log: pages of changes from a position on, and waiting for the next one.
 *
 * CH1  Every durable change of the tenant shows once and in order, nothing that is not durable (G3): a page begins where the
 *      one before it has ended, or says that what stood between has been trimmed.
 * CH2  A page reads at most `changesBatchesMax` batches, and ends with `limit` changes or with about `changesBytesMax` of
 *      states (G9): a filter that matches nothing gives empty pages that get on.
 * CH3  At most `changesWaitingMax` readers wait at once; while none does, a durable batch costs one comparison.
 * CH4  Nobody waits on a shard that has stopped or is taking its leave.
 */
import { toHex } from "../base/bytes.ts";
import { OnefoldError } from "../base/errors.ts";
import type { Limits } from "../base/limits.ts";
import type { Timers } from "../host/host.ts";
import type { Log } from "../log/log.ts";
import type { Past } from "../log/past.ts";
import type { LogRecord } from "../log/record.ts";
import { decodeBatch, type EntityEffect, type Entry } from "./batch.ts";
import type { DurableBatch } from "./committer.ts";
import { historyItem } from "./history.ts";
import { pageLimit } from "./listing.ts";
import type { ChangeItem, ChangesOptions, ChangesReply } from "./service.ts";

/** Everything up to the batch `sequence`, and the first `index` effects of the batch after it. */
interface Place {
  readonly sequence: number;
  readonly index: number;
}

interface Filter {
  readonly tenant: string;
  readonly kind: string | undefined;
  readonly id: string | undefined;
}

interface Page {
  readonly items: ChangeItem[];
  readonly place: Place;
  readonly trimmed: boolean;
}

interface Waiter {
  readonly filter: Filter;
  /** Nothing up to this sequence matches. */
  seenSequence: number;
  readonly end: () => void;
}

/** What a reply may take to be made after the last change has come. */
const replyMs = 250;

export class Changes {
  readonly #log: Log;
  readonly #past: Past | undefined;
  readonly #limits: Limits;
  readonly #timers: Timers;
  readonly #durableSequence: () => number;
  readonly #waiters = new Set<Waiter>();
  #isOver = false;

  constructor(parts: {
    readonly log: Log;
    readonly past: Past | undefined;
    readonly limits: Limits;
    readonly timers: Timers;
    readonly durableSequence: () => number;
  }) {
    this.#log = parts.log;
    this.#past = parts.past;
    this.#limits = parts.limits;
    this.#timers = parts.timers;
    this.#durableSequence = parts.durableSequence;
  }

  /** Throws `malformed` for a position or limit that is none, `overloaded` (CH3), `damaged` where the log is. */
  async read(options: ChangesOptions): Promise<ChangesReply> {
    const { waitMs = 0, deadlineMs = this.#limits.deadlineMsDefault, kind, id, signal } = options;
    const limit = pageLimit(options.limit, this.#limits);
    const filter: Filter = { tenant: options.principal.tenant, kind, id };
    const start = this.#startingPlace(options.after);
    let page = await this.#page(start, filter, limit);
    const willWait = page.items.length === 0 && !page.trimmed && waitMs > 0 && !this.#isOver;
    // What has become durable while the page was read is behind its end: it is looked at before anybody waits.
    if (willWait && page.place.sequence === this.#durableSequence()) {
      const atMostMs = Math.min(waitMs, this.#limits.changesWaitMsMax, Math.max(0, deadlineMs - replyMs));
      const sequence = await this.#wait(filter, page.place.sequence, atMostMs, signal);
      page = await this.#page({ sequence, index: 0 }, filter, limit);
    }
    const { items, place, trimmed } = page;
    return { items, next: textOf(place), log: toHex(this.#log.end!.incarnation), trimmed };
  }

  durable({ entries, position: { sequence } }: DurableBatch): void {
    if (this.#waiters.size === 0) return;
    for (const waiter of [...this.#waiters]) {
      if (entries.some(({ effects }) => effects.some((effect) => matches(effect, waiter.filter)))) waiter.end();
      else waiter.seenSequence = sequence;
    }
  }

  /** CH4. Whoever waits gets what there is. */
  end(): void {
    this.#isOver = true;
    for (const waiter of [...this.#waiters]) waiter.end();
  }

  #startingPlace(after: string | undefined): Place {
    const durableSequence = this.#durableSequence();
    if (after === undefined) return { sequence: durableSequence, index: 0 };
    const match = /^(\d{1,15})(?:\.(\d{1,9}))?$/.exec(after);
    if (match === null) throw new OnefoldError("malformed", "`after` is not a position from /v1/changes.");
    const place = { sequence: Number(match[1]), index: Number(match[2] ?? 0) };
    if (place.sequence + (place.index > 0 ? 1 : 0) > durableSequence) {
      throw new OnefoldError("malformed", "`after` is beyond the log's end: it comes from another log.", {
        details: { end: durableSequence },
      });
    }
    return place;
  }

  /** Resolves with the sequence up to which nothing matches: when something does, when the time is over, or at the end. */
  #wait(filter: Filter, seenSequence: number, atMostMs: number, signal: AbortSignal | undefined): Promise<number> {
    if (this.#waiters.size >= this.#limits.changesWaitingMax) {
      throw new OnefoldError("overloaded", "As many callers wait for changes as this node accepts. Try again soon.", {
        retryAfterMs: 1000,
      });
    }
    if (signal?.aborted === true) return Promise.resolve(seenSequence);
    return new Promise((resolve) => {
      const end = (): void => {
        if (!this.#waiters.delete(waiter)) return;
        timer.cancel();
        signal?.removeEventListener("abort", end);
        resolve(waiter.seenSequence);
      };
      const waiter: Waiter = { filter, seenSequence, end };
      const timer = this.#timers.after(atMostMs, end);
      signal?.addEventListener("abort", end);
      this.#waiters.add(waiter);
    });
  }

  async #page(from: Place, filter: Filter, limit: number): Promise<Page> {
    const { changesBatchesMax, changesBytesMax } = this.#limits;
    const endSequence = this.#durableSequence();
    const items: ChangeItem[] = [];
    let place = from;
    let stateBytes = 0;
    for (let batches = 0; place.sequence < endSequence && batches < changesBatchesMax; batches++) {
      const record = await this.#record(place.sequence + 1);
      if (record === undefined) {
        // Trimmed. What has been gathered stands before the gap, which is told with the next page.
        if (items.length > 0) break;
        const first = (await this.#past?.firstSequence()) ?? this.#log.firstSequence;
        return { items, place: { sequence: Math.max(place.sequence, first - 1), index: 0 }, trimmed: true };
      }
      const isPast = record.sequence < this.#log.firstSequence;
      const effects = record.kind === "batch" ? effectsOf(decodeBatch(record.payload)) : [];
      for (let index = place.index; index < effects.length; index++) {
        const { entry, effect } = effects[index]!;
        if (!matches(effect, filter) || (isPast && this.#past?.holds(effect.slot) === false)) continue;
        const { sequence, timeMs } = record;
        items.push({ kind: effect.kind, id: effect.id, ...historyItem(entry, effect, { sequence, timeMs }) });
        stateBytes += effect.state?.length ?? 0;
        if (items.length < limit && stateBytes < changesBytesMax) continue;
        const isLast = index === effects.length - 1;
        return { items, place: isLast ? { sequence, index: 0 } : { ...place, index: index + 1 }, trimmed: false };
      }
      place = { sequence: record.sequence, index: 0 };
    }
    return { items, place, trimmed: false };
  }

  /** Undefined for one that has been trimmed, perhaps just now. */
  async #record(sequence: number): Promise<LogRecord | undefined> {
    if (sequence < this.#log.firstSequence) return this.#past?.read(sequence);
    try {
      return await this.#log.read(sequence);
    } catch (error) {
      if (error instanceof OnefoldError && error.code === "not-found") return undefined;
      throw error;
    }
  }
}

function effectsOf(entries: readonly Entry[]): { readonly entry: Entry; readonly effect: EntityEffect }[] {
  return entries.flatMap((entry) => entry.effects.map((effect) => ({ entry, effect })));
}

function matches(effect: EntityEffect, { tenant, kind, id }: Filter): boolean {
  return (
    effect.tenant === tenant && (kind === undefined || effect.kind === kind) && (id === undefined || effect.id === id)
  );
}

function textOf({ sequence, index }: Place): string {
  return index === 0 ? String(sequence) : `${sequence}.${index}`;
}
