/**
 * The log of a shard as its owner works with it: a `Log` over the engine's log and this node's copy.
 *
 * OL1 `appended` means: a majority of the engine's servers has it, and this node's copy, durably. So whatever is answered after it is
 *     anchored outside the engine (G8), and the copy is never ahead of what the engine has acknowledged.
 * OL2 `conflict` is said only where another valid record was found at the sequence: ours never will stand there (hazard 4).
 * OL3 Reads of what was acknowledged come from the copy, which is verified.
 */
import type { AppendOutcome, Log, LogPosition } from "../log/log.ts";
import { decodeRecordHeader, type LogRecord } from "../log/record.ts";
import { sha256 } from "../base/digest.ts";
import type { Replica } from "./replica.ts";
import { readValid, sendOnce } from "./sending.ts";

export class OwnedLog implements Log {
  readonly #replica: Replica;
  #appendedBytes = 0;

  constructor(replica: Replica) {
    this.#replica = replica;
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
    if (fate === "unknown") return { kind: "unknown", cause: undefined };
    if (fate === "other") return { kind: "conflict" };
    try {
      await this.#replica.takeOwn(bytes, { hash, timeMs });
    } catch (cause) {
      // Durable in the engine and not here: nobody may be answered, and the next owner will find it.
      return { kind: "failed", cause };
    }
    this.#appendedBytes += bytes.length;
    return { kind: "appended" };
  }

  /** Beyond the end: what the engine has there, if it can be asked and that is a record. */
  async read(sequence: number): Promise<LogRecord | undefined> {
    const { copy, log } = this.#replica;
    return sequence <= (copy.end?.sequence ?? 0) ? copy.read(sequence) : readValid(log, sequence);
  }

  scan(fromSequence: number): AsyncIterable<LogRecord> {
    return this.#replica.copy.scan(fromSequence);
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
