/**
 * The log of a shard as its owner works with it: a `Log` over the engine's log and this node's copy.
 *
 * OL1 `appended` means: a majority of the engine's servers has it, and this node's copy, durably. So whatever is answered after it is
 *     anchored outside the engine (G8), and the copy is never ahead of what the engine has acknowledged.
 * OL2 `displaced` is said only where another record is proven to stand at the sequence (`sending.ts`, hazard 4); `conflict` never.
 * OL3 An engine that for longer than a stale server could shows an end before what it has acknowledged here, or something at the sequence
 *     that is no record (a hole, wrong bytes), gets no more appends: `failed`. What that is the next claim finds out, and seals (`claim.ts`).
 * OL4 Reads of what was acknowledged come from the copy, which is verified; what the node's disk has lost of it, from the engine, verified by
 *     what the copy still has (`engine-reading.ts`).
 */
import type { AppendOutcome, Log, LogPosition } from "../log/log.ts";
import { decodeRecordHeader, type LogRecord } from "../log/record.ts";
import { sha256 } from "../base/digest.ts";
import { OnefoldError } from "../base/errors.ts";
import type { Clock } from "../host/host.ts";
import { isDamage, readFromEngine } from "./engine-reading.ts";
import { LogFault } from "./log-fault.ts";
import type { Replica } from "./replica.ts";
import { sendOnce } from "./sending.ts";

/** Longer than a deposed leader of the engine answers (8.5 s measured). */
const oddMsMax = 10_000;

export class OwnedLog implements Log {
  readonly #replica: Replica;
  readonly #clock: Pick<Clock, "monotonicMs">;
  #appendedBytes = 0;
  #oddSinceMs: number | undefined;

  constructor(replica: Replica, clock: Pick<Clock, "monotonicMs">) {
    this.#replica = replica;
    this.#clock = clock;
  }

  get end(): LogPosition | null {
    return this.#replica.end;
  }

  get firstSequence(): number {
    return this.#replica.copy.firstSequence;
  }

  /** Bytes of records that this ownership has appended, for the schedule of snapshots. */
  get appendedBytes(): number {
    return this.#appendedBytes;
  }

  async append(bytes: Uint8Array, hash: Uint8Array = sha256(bytes)): Promise<AppendOutcome> {
    const { sequence, timeMs } = decodeRecordHeader(bytes);
    const fate = await sendOnce(this.#replica.log, sequence, { bytes, hash });
    if (fate === "unanswered") return { kind: "unknown", cause: undefined };
    if (fate === "unknown") return this.#doubt(sequence);
    this.#oddSinceMs = undefined;
    if (fate === "other") return { kind: "displaced" };
    try {
      await this.#replica.takeOwn(bytes, { hash, timeMs });
    } catch (cause) {
      // Durable in the engine and not here: nobody may be answered, and the next owner will find it.
      return { kind: "failed", cause };
    }
    this.#appendedBytes += bytes.length;
    return { kind: "appended" };
  }

  /** OL3. */
  async #doubt(sequence: number): Promise<AppendOutcome> {
    const last = await this.#lastOfEngine();
    if (last === undefined || last === sequence - 1) {
      if (last !== undefined) this.#oddSinceMs = undefined;
      return { kind: "unknown", cause: undefined };
    }
    const nowMs = this.#clock.monotonicMs();
    this.#oddSinceMs ??= nowMs;
    const cause =
      last < sequence
        ? new LogFault("short", this.#replica.log.name, last, `it was acknowledged up to ${sequence - 1} here`)
        : new LogFault("hole", this.#replica.log.name, sequence, "it goes on behind it");
    return { kind: nowMs - this.#oddSinceMs < oddMsMax ? "unknown" : "failed", cause };
  }

  async #lastOfEngine(): Promise<number | undefined> {
    try {
      return (await this.#replica.log.bounds()).last;
    } catch (error) {
      if (error instanceof OnefoldError && error.code === "unavailable") return undefined;
      throw error;
    }
  }

  /**
   * Nothing beyond the end. An own record that the engine shows there is not yet in the copy: only `append`, sent again, may say that it
   * is done (OL1).
   */
  async read(sequence: number): Promise<LogRecord | undefined> {
    const { copy } = this.#replica;
    if (sequence > (copy.end?.sequence ?? 0)) return undefined;
    try {
      return await copy.read(sequence);
    } catch (error) {
      if (!isDamage(error)) throw error;
      return readFromEngine(this.#replica, sequence, error);
    }
  }

  async *scan(fromSequence: number): AsyncGenerator<LogRecord> {
    const { copy } = this.#replica;
    for (let next = fromSequence; ; ) {
      try {
        for await (const record of copy.scan(next)) {
          yield record;
          next = record.sequence + 1;
        }
        return;
      } catch (error) {
        if (!isDamage(error)) throw error;
        yield await readFromEngine(this.#replica, next, error);
        next++;
      }
    }
  }

  anchor(): Promise<void> {
    return this.#replica.copy.anchor();
  }

  /** Both: the engine's first, because what it lacks the copies still have. */
  async trim(sequence: number): Promise<void> {
    await this.#replica.log.trim(sequence);
    await this.#replica.trim(sequence);
  }

  /** Nothing: the copy outlives the ownership. */
  close(): Promise<void> {
    return Promise.resolve();
  }
}
