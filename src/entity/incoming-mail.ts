/**
 * The receiving half of mail between shards: takes runs of messages from the shards of other slots, and answers each with how
 * far its pair of slots has been consumed, durably.
 *
 * I1  Only the message after the last known one of its pair is taken: repetitions, late requests and gaps change nothing. Its
 *     delivery moves the pair's mark in the entry of its effects (`delivery.ts`, D1), so it takes hold once.
 * I2  An answer names only what is durably consumed (G3). It is due when the whole run is, or after `mailAnswerMs`.
 * I3  What waits for delivery is bounded, and so are the answers that wait: one for each pair, which all of its requests share (G9).
 */
import { OnefoldError } from "../base/errors.ts";
import type { Value } from "../base/value.ts";
import type { Timer } from "../host/host.ts";
import type { Settle } from "./settle.ts";
import { type MessageRecord, messageBytesMax } from "./batch.ts";
import type { Core } from "./core.ts";
import type { Deliveries } from "./deliveries.ts";
import { decodeRun, encodeConsumed, type MailRun } from "./mail-run.ts";

/** An answer that is due when the pair has been consumed `through` this number. */
interface WaitingAnswer {
  through: number;
  consumed: number;
  readonly promise: Promise<Value>;
  readonly settle: Settle<Value>;
  readonly timer: Timer;
}

const overloadedRetryMs = 200;

export class IncomingMail {
  readonly #core: Core;
  readonly #deliveries: Deliveries;
  readonly #waiting = new Map<number, WaitingAnswer>();
  #count = 0;
  #bytes = 0;

  constructor(core: Core, deliveries: Deliveries) {
    this.#core = core;
    this.#deliveries = deliveries;
  }

  /**
   * Answers `mail.deliver`. Bears repetition. Rejects with `overloaded` (retry safe), with `not-owner` (retry safe) where the
   * run isn't for this shard, `malformed`, or with what has stopped the shard: then the messages may yet be consumed.
   */
  async deliver(body: Value): Promise<Value> {
    const run = decodeRun(body);
    this.#assertOurs(run);
    const { fromSlot, toSlot, messages } = run;
    const { consumed, known } = this.#progress(run);
    const last = messages.at(-1)!.number;
    const isBehindGap = messages[0]!.number > known + 1;
    if (isBehindGap || last <= consumed) return encodeConsumed(consumed);
    this.#take(messages.filter(({ number }) => number > known));
    return this.#answerOf(fromSlot * this.#core.limits.slotCount + toSlot, consumed, last);
  }

  /** Whoever asks goes by the shard map of its node, which may be old. */
  #assertOurs({ fromSlot, toSlot }: MailRun): void {
    // A shard with both slots has been split since, or the sender would not ask: its log takes nothing any more.
    if (this.#core.isOwn(toSlot) && !this.#core.isOwn(fromSlot)) return;
    throw new OnefoldError(
      "not-owner",
      "The messages are not for this shard, or from itself; ask the owner of their slot.",
    );
  }

  #progress({ fromSlot, toSlot }: MailRun): ReturnType<Deliveries["progress"]> {
    try {
      return this.#deliveries.progress(fromSlot, toSlot);
    } catch (error) {
      if (error instanceof OnefoldError && error.code === "damaged") this.#core.onDamage(error);
      throw error;
    }
  }

  /** I3: all of them or none. */
  #take(messages: readonly MessageRecord[]): void {
    const { incomingMessagesMax, incomingBytesMax } = this.#core.limits;
    let bytes = this.#bytes;
    for (const message of messages) bytes += messageBytesMax(message);
    if (messages.length > 0 && (this.#count + messages.length > incomingMessagesMax || bytes > incomingBytesMax)) {
      throw new OnefoldError("overloaded", "Too many messages of other shards wait for their delivery.", {
        retryAfterMs: overloadedRetryMs,
      });
    }
    this.#count += messages.length;
    this.#bytes = bytes;
    for (const message of messages) this.#deliveries.add(message);
  }

  /** This message of another shard has been consumed durably. */
  consumed(message: MessageRecord): void {
    const { fromSlot, toSlot, number } = message;
    this.#count--;
    this.#bytes -= messageBytesMax(message);
    const key = fromSlot * this.#core.limits.slotCount + toSlot;
    const answer = this.#waiting.get(key);
    if (answer === undefined) return;
    answer.consumed = number;
    if (number >= answer.through) this.#answer(key, answer);
  }

  #answerOf(key: number, consumed: number, through: number): Promise<Value> {
    const found = this.#waiting.get(key);
    if (found !== undefined) {
      found.through = Math.max(found.through, through);
      return found.promise;
    }
    let settle: Settle<Value>;
    const promise = new Promise<Value>((resolve, reject) => {
      settle = { resolve, reject };
    });
    const { host, limits } = this.#core;
    const timer = host.timers.after(limits.mailAnswerMs, () => this.#answer(key, answer));
    const answer: WaitingAnswer = { through, consumed, promise, settle: settle!, timer };
    this.#waiting.set(key, answer);
    return promise;
  }

  #answer(key: number, answer: WaitingAnswer): void {
    answer.timer.cancel();
    this.#waiting.delete(key);
    answer.settle.resolve(encodeConsumed(answer.consumed));
  }

  stop(error: OnefoldError): void {
    for (const { timer, settle } of this.#waiting.values()) {
      timer.cancel();
      settle.reject(error);
    }
    this.#waiting.clear();
  }
}
