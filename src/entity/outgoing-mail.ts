/**
 * The sending half of mail between shards: carries the messages of this shard's outbox whose receivers are elsewhere, in order for
 * each pair of slots, and again and again until their shard says that they are consumed.
 *
 *     idle ──message──▶ ready ──its turn──▶ asking ──all is acknowledged──▶ idle
 *                         ▲                   │ │
 *                         ├──there is more────┘ └──failed, or no progress──▶ resting
 *                         └───────────────────back-off is over──────────────────┘
 *
 * O1  A message leaves only after the batch that sent it is durable (G3), and stays here until a durable entry has removed it from
 *     the outbox (`delivered`): an owner that comes after begins again with what the outbox holds.
 * O2  Of one pair one request is under way; it begins with the first message that is not acknowledged.
 * O3  An entry removes only what the receiver has said to be durably consumed, and many pairs' at once.
 * O4  Requests under way are bounded; those of pairs whose last request failed take at most half, so that a shard that is away does
 *     not hold up the messages to others (G9).
 */
import { OnefoldError } from "../base/errors.ts";
import type { Timer } from "../host/host.ts";
import { type DeliveredMessages, type MessageRecord, messageBytesMax } from "./batch.ts";
import type { Core } from "./core.ts";
import { decodeConsumed, encodeRun, mailDeliver } from "./mail-run.ts";
import type { Neighbours } from "./neighbours.ts";
import { ownWork } from "./own-work.ts";

interface Pair {
  readonly fromSlot: number;
  readonly toSlot: number;
  /** Durable and not durably removed, in order and without a gap. */
  readonly messages: MessageRecord[];
  /** The receiver has durably consumed up to here. */
  acknowledged: number;
  /** An entry that removes up to here has entered a batch. */
  recorded: number;
  /** Requests since the last that has brought it forward. */
  failures: number;
  state: "idle" | "ready" | "asking" | "resting";
}

/** After a batch with acknowledgements was refused, e.g. by a full disk. */
const recordAgainMs = 1000;
/** Some twenty seconds of back-off. */
const failuresToReport = 10;
const reportIntervalMs = 60_000;

export class OutgoingMail {
  readonly #core: Core;
  readonly #neighbours: Neighbours;
  readonly #pairs = new Map<number, Pair>();
  /** Pairs whose turn it is, in order; those whose last request failed apart from the others (O4). */
  readonly #fresh = new Set<Pair>();
  readonly #failing = new Set<Pair>();
  #openCount = 0;
  #openFailingCount = 0;
  /** Pairs with acknowledgements that are in no entry. */
  readonly #unrecorded = new Set<Pair>();
  #recordTimer: Timer | undefined;
  #isStarted = false;
  #isStopped = false;
  #reportedAtMs = Number.NEGATIVE_INFINITY;

  constructor(core: Core, neighbours: Neighbours) {
    this.#core = core;
    this.#neighbours = neighbours;
  }

  /** A message that is durable, and the next one of its pair. It is on its way after the next `send`. */
  add(message: MessageRecord): void {
    const { fromSlot, toSlot, number } = message;
    const key = this.#key(fromSlot, toSlot);
    let pair = this.#pairs.get(key);
    if (pair === undefined) {
      const before = number - 1;
      const numbers = { acknowledged: before, recorded: before, failures: 0 };
      pair = { fromSlot, toSlot, messages: [], ...numbers, state: "idle" };
      this.#pairs.set(key, pair);
    }
    pair.messages.push(message);
    if (pair.state === "idle") this.#goOn(pair);
  }

  start(): void {
    this.#isStarted = true;
    this.send();
  }

  /** Nothing leaves any more, and what is answered is not looked at. */
  stop(): void {
    this.#isStopped = true;
    this.#recordTimer?.cancel();
  }

  /** An entry that removes these messages is durable: they themselves. */
  removed({ fromSlot, toSlot, through }: DeliveredMessages): readonly MessageRecord[] {
    const key = this.#key(fromSlot, toSlot);
    const pair = this.#pairs.get(key);
    if (pair === undefined) return [];
    const removed = pair.messages.splice(0, through - removedThrough(pair));
    if (pair.messages.length === 0) this.#pairs.delete(key);
    return removed;
  }

  /** What was not durable is gone: acknowledgements are recorded anew. */
  dropped(): void {
    for (const pair of this.#pairs.values()) {
      pair.recorded = removedThrough(pair);
      if (pair.acknowledged > pair.recorded) this.#unrecorded.add(pair);
    }
    if (this.#unrecorded.size > 0) this.#recordAfter(recordAgainMs);
  }

  #key(from: number, to: number): number {
    return from * this.#core.limits.slotCount + to;
  }

  // ----------------------------------------------------------------------------------------------------------- sending

  /** Begins as many requests as may be under way. */
  send(): void {
    if (!this.#isStarted || this.#isStopped) return;
    const { mailRequestsOpenMax } = this.#core.limits;
    while (this.#openCount < mailRequestsOpenMax) {
      const mayBeFailing = this.#openFailingCount < mailRequestsOpenMax / 2;
      const pair = takeFirst(this.#fresh) ?? (mayBeFailing ? takeFirst(this.#failing) : undefined);
      if (pair === undefined) return;
      this.#ask(pair);
    }
  }

  /** It is not under way; `send` sees to it if there is more. */
  #goOn(pair: Pair): void {
    if (pair.acknowledged >= lastNumber(pair)) {
      pair.state = "idle";
      return;
    }
    pair.state = "ready";
    (pair.failures > 0 ? this.#failing : this.#fresh).add(pair);
  }

  #ask(pair: Pair): void {
    pair.state = "asking";
    const failing = pair.failures > 0 ? 1 : 0;
    this.#openCount++;
    this.#openFailingCount += failing;
    const ended = (): boolean => {
      this.#openCount--;
      this.#openFailingCount -= failing;
      return !this.#isStopped;
    };
    this.#deliver(pair).then(
      (through) => {
        if (!ended()) return;
        this.#answered(pair, through);
        this.send();
      },
      (error: unknown) => {
        if (!ended()) return;
        this.#rest(pair, error);
        this.send();
      },
    );
  }

  /** How far the receiver has come, which is told what it is to consume. */
  async #deliver(pair: Pair): Promise<number> {
    const { fromSlot, toSlot } = pair;
    const request = { type: mailDeliver, body: encodeRun({ fromSlot, toSlot, messages: this.#runOf(pair) }) };
    const deadlineMs = this.#core.limits.mailRequestMs;
    return decodeConsumed(await this.#neighbours.ask(toSlot, request, { deadlineMs }));
  }

  /** O2. */
  #runOf(pair: Pair): readonly MessageRecord[] {
    const { mailRunMessagesMax, mailRunBytesMax } = this.#core.limits;
    const { messages } = pair;
    const from = pair.acknowledged - removedThrough(pair);
    let bytes = messageBytesMax(messages[from]!);
    let to = from + 1;
    while (to < messages.length && to - from < mailRunMessagesMax) {
      bytes += messageBytesMax(messages[to]!);
      if (bytes > mailRunBytesMax) break;
      to++;
    }
    return messages.slice(from, to);
  }

  #answered(pair: Pair, through: number): void {
    if (through < pair.recorded || through > lastNumber(pair)) return this.#rest(pair, impossible(pair, through));
    const isProgress = through > pair.acknowledged;
    // It may be less than the last time: an owner that is none any more has answered. Harmless: it gets nothing into its log.
    pair.acknowledged = through;
    if (!isProgress) return this.#rest(pair, undefined);
    pair.failures = 0;
    this.#unrecorded.add(pair);
    this.#recordAfter(this.#core.limits.mailRecordDelayMs);
    this.#goOn(pair);
  }

  #rest(pair: Pair, error: unknown): void {
    pair.state = "resting";
    pair.failures++;
    const { mailRetryMsMin, mailRetryMsMax } = this.#core.limits;
    const { timers, random } = this.#core.host;
    const backOffMs = mailRetryMsMin * 2 ** Math.min(pair.failures - 1, 20) * (0.5 + random.next() / 2);
    const hintMs = error instanceof OnefoldError ? (error.retryAfterMs ?? 0) : 0;
    this.#report(pair, error);
    timers.after(Math.min(mailRetryMsMax, Math.max(backOffMs, hintMs)), () => {
      if (this.#isStopped) return;
      this.#goOn(pair);
      this.send();
    });
  }

  #report({ fromSlot, toSlot, failures }: Pair, cause: unknown): void {
    const nowMs = this.#core.host.clock.monotonicMs();
    if (failures < failuresToReport || nowMs - this.#reportedAtMs < reportIntervalMs) return;
    this.#reportedAtMs = nowMs;
    const message =
      "Messages to another shard don't get through; they are sent again and again. Look whether that shard is served.";
    this.#core.host.trace("warn", message, { fromSlot, toSlot, failures, cause });
  }

  // --------------------------------------------------------------------------------------------------------- recording

  #recordAfter(delayMs: number): void {
    if (this.#recordTimer !== undefined || this.#isStopped) return;
    this.#recordTimer = this.#core.host.timers.after(delayMs, () => {
      this.#recordTimer = undefined;
      this.#core.executor.resubmit(ownWork(this.#core, () => this.#record()));
    });
  }

  /** O3. As much as one entry holds, and the rest soon. */
  #record(): void {
    const { mailRecordPairsMax, mailRecordMessagesMax } = this.#core.limits;
    const delivered: DeliveredMessages[] = [];
    let count = 0;
    for (const pair of this.#unrecorded) {
      const { fromSlot, toSlot, recorded, acknowledged } = pair;
      const room = mailRecordMessagesMax - count;
      if (delivered.length >= mailRecordPairsMax || room === 0) break;
      const through = Math.min(acknowledged, recorded + room);
      if (through > recorded) delivered.push({ fromSlot, toSlot, first: recorded + 1, through });
      count += Math.max(0, through - recorded);
      pair.recorded = Math.max(through, recorded);
      if (through >= acknowledged) this.#unrecorded.delete(pair);
    }
    if (delivered.length > 0) {
      this.#core.takeIn(this.#core.entry({ origin: "admin", command: "delivered", subject: "onefold", delivered }));
    }
    if (this.#unrecorded.size > 0) this.#recordAfter(this.#core.limits.mailRecordDelayMs);
  }
}

/** The number of the last message that a durable entry has removed. */
function removedThrough({ messages }: Pair): number {
  return messages[0]!.number - 1;
}

function lastNumber({ messages }: Pair): number {
  return messages.at(-1)!.number;
}

function takeFirst<T>(set: Set<T>): T | undefined {
  for (const first of set) {
    set.delete(first);
    return first;
  }
  return undefined;
}

/**
 * The receiver has consumed what was never sent, or has not consumed what it said to have: this owner is none any more, or a log
 * was rolled back, which its anchors tell. Nothing is concluded from it, and nothing removed.
 */
function impossible({ messages, recorded }: Pair, through: number): OnefoldError {
  return new OnefoldError("conflict", "Another shard's mark for messages contradicts this shard's log.", {
    details: { through, recorded, last: messages.at(-1)!.number },
  });
}
