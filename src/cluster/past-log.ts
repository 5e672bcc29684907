/**
 * A shard's log before what its owner's copy holds: earlier records of the same log, and the logs that it continues, after a split, a
 * repair, or a system's move to the cluster; as far as the engine still has them.
 *
 *     embedded-…            shard-0-…                  shard-0-1-…
 *     1 ───────── 4711, seal │ 4712, genesis ── 5000, seal │ 5001, genesis ── …, copy ──▶
 *                      ▲─cited by─┘                   ▲─cited by─┘
 *
 * PS1 What is given was verified by the chain, back from a hash that the owner has verified itself: of its copy's first record, or of the
 *     position that its genesis cites.
 * PS2 One reading verifies `pastBytesMax` at most; what was verified stays known, by the hash of every `stepRecords`th record.
 */
import { equalBytes } from "../base/bytes.ts";
import { OnefoldError } from "../base/errors.ts";
import type { Limits } from "../base/limits.ts";
import { decodeGenesis, readGenesis } from "../entity/genesis.ts";
import type { EngineLog } from "../log/engine-log.ts";
import { chainFault } from "../log/chain.ts";
import type { Past } from "../log/past.ts";
import { decodeRecord, type LogRecord } from "../log/record.ts";
import type { Replica } from "./replica.ts";

export interface PastLogParts {
  readonly limits: Pick<Limits, "pastBytesMax">;
  readonly open: (name: string) => Promise<EngineLog | undefined>;
  readonly replica: Replica;
  /** The shard's slots: from ≤ slot < to. */
  readonly slots: { readonly from: number; readonly to: number };
}

/** Between two hashes that are remembered. */
const stepRecords = 64;
const keptBytesMax = 4 * 1024 * 1024;

export class PastLog implements Past {
  readonly #parts: PastLogParts;
  /** Newest first; each ends where the one before it begins, but for what is trimmed between them. */
  readonly #stretches: Stretch[] = [];
  /** Nothing is known to stand before the last stretch. */
  #isComplete = false;

  constructor(parts: PastLogParts) {
    this.#parts = parts;
  }

  holds(slot: number): boolean {
    const { from, to } = this.#parts.slots;
    return from <= slot && slot < to;
  }

  async read(sequence: number): Promise<LogRecord | undefined> {
    const budget = { bytes: this.#parts.limits.pastBytesMax };
    for (let index = 0; ; index++) {
      const stretch = this.#stretches[index] ?? (await this.#next(budget));
      if (stretch === undefined || sequence > stretch.end.sequence) return undefined;
      const first = await stretch.firstSequence();
      if (sequence >= first) return stretch.read(sequence, budget);
    }
  }

  async firstSequence(): Promise<number> {
    const budget = { bytes: this.#parts.limits.pastBytesMax };
    let first = this.#parts.replica.copy.firstSequence;
    for (let index = 0; ; index++) {
      const stretch = this.#stretches[index] ?? (await this.#next(budget));
      if (stretch === undefined || stretch.end.sequence + 1 < first) return first;
      first = Math.min(first, await stretch.firstSequence());
    }
  }

  /** One more stretch; undefined where there is none. */
  async #next(budget: Budget): Promise<Stretch | undefined> {
    if (this.#isComplete) return undefined;
    const stretch = this.#stretches.length === 0 ? await this.#ownBegin() : await this.#parentOf(budget);
    if (stretch === undefined) this.#isComplete = true;
    else this.#stretches.push(stretch);
    return stretch;
  }

  /** Of the same log, what its copy lacks; or, where it lacks nothing, the first parent. */
  async #ownBegin(): Promise<Stretch | undefined> {
    const { copy, log, store } = this.#parts.replica;
    const { parent } = readGenesis(store);
    const { firstSequence } = copy;
    if (firstSequence > (parent?.sequence ?? 0) + 1) {
      const first = await copy.read(firstSequence);
      if (first === undefined) return undefined;
      return new Stretch(log, { sequence: firstSequence - 1, hash: first.previousHash });
    }
    return this.#stretchOf(parent);
  }

  /** What the last stretch continues. */
  async #parentOf(budget: Budget): Promise<Stretch | undefined> {
    const last = this.#stretches.at(-1)!;
    if (last.name === this.#parts.replica.log.name)
      return this.#stretchOf(readGenesis(this.#parts.replica.store).parent);
    const first = await last.read(await last.firstSequence(), budget);
    return first?.kind === "genesis" ? this.#stretchOf(decodeGenesis(first.payload).parent) : undefined;
  }

  async #stretchOf(
    parent: { readonly log?: string; readonly sequence: number; readonly hash: Uint8Array } | undefined,
  ): Promise<Stretch | undefined> {
    const log = parent?.log === undefined ? undefined : await this.#parts.open(parent.log);
    return log === undefined || parent === undefined ? undefined : new Stretch(log, parent);
  }
}

interface Budget {
  bytes: number;
}

/** The records of one log up to one whose hash is known. */
class Stretch {
  readonly name: string;
  readonly end: { readonly sequence: number; readonly hash: Uint8Array };
  readonly #log: EngineLog;
  /** By sequence: of `end`, and of multiples of `stepRecords`, contiguous down to the lowest. */
  readonly #hashes = new Map<number, Uint8Array>();
  #lowest: number;
  /** Verified just before. */
  #kept: readonly LogRecord[] = [];

  constructor(log: EngineLog, end: { readonly sequence: number; readonly hash: Uint8Array }) {
    this.name = log.name;
    this.end = end;
    this.#log = log;
    this.#hashes.set(end.sequence, end.hash);
    this.#lowest = end.sequence;
  }

  /** As the engine has it; `end.sequence + 1` where it has nothing of the stretch. */
  async firstSequence(): Promise<number> {
    const { first, last } = await this.#log.bounds();
    return last < first ? this.end.sequence + 1 : Math.min(first, this.end.sequence + 1);
  }

  /** PS1. The caller has looked that it is there. */
  async read(sequence: number, budget: Budget): Promise<LogRecord> {
    const kept = this.#kept.find((record) => record.sequence === sequence);
    if (kept !== undefined) return kept;
    const upper = Math.min(this.end.sequence, Math.ceil(sequence / stepRecords) * stepRecords);
    while (this.#lowest > upper) {
      const to = this.#lowest;
      const below = Math.max(upper, (Math.ceil(to / stepRecords) - 1) * stepRecords);
      const [first] = await this.#verified(below + 1, to, budget);
      this.#hashes.set(below, first!.previousHash);
      this.#lowest = below;
    }
    const from = Math.max(await this.firstSequence(), upper - ((upper - 1) % stepRecords));
    const records = await this.#verified(Math.min(from, sequence), upper, budget);
    const bytes = records.reduce((sum, record) => sum + record.bytes.length, 0);
    this.#kept = bytes <= keptBytesMax ? records : [];
    return records.find((record) => record.sequence === sequence)!;
  }

  /** The records from `from` to `to`, whose hash is known. PS2. */
  async #verified(from: number, to: number, budget: Budget): Promise<readonly LogRecord[]> {
    const records: LogRecord[] = [];
    while (from + records.length <= to) {
      if (budget.bytes <= 0) {
        const message =
          "What is asked for lies far back; the log is verified up to there, which takes more than one call. Ask again.";
        throw new OnefoldError("unavailable", message, { retryAfterMs: 10 });
      }
      const found = await this.#log.readMany(from + records.length, 256 * 1024);
      if (found.length === 0) throw this.#damaged(from + records.length, "a record is missing");
      for (const bytes of found.slice(0, to - from + 1 - records.length)) {
        budget.bytes -= bytes.length;
        const record = decodeRecord(bytes);
        const before = records.at(-1);
        const fault = before === undefined ? undefined : chainFault(before, record);
        if (fault !== undefined || record.sequence !== from + records.length) {
          throw this.#damaged(from + records.length, fault ?? "another record stands there");
        }
        records.push(record);
      }
    }
    if (equalBytes(records.at(-1)!.hash, this.#hashes.get(to)!)) return records;
    throw this.#damaged(to, "it does not have the hash that what follows it cites");
  }

  #damaged(sequence: number, reason: string): OnefoldError {
    const details = { log: this.name, sequence, reason };
    return new OnefoldError("damaged", `The log ${this.name} is not whole at ${sequence}: ${reason}.`, { details });
  }
}
