/** What stood before the records that a node keeps of its log: in the engine, and in the logs that this one continues. */
import type { LogRecord } from "./record.ts";

export interface Past {
  /**
   * The record at `sequence`, which the log itself holds no more, verified by the chain; undefined where it is gone. Throws `unavailable`
   * (retry safe) where it can't be read now, or not all of the chain up to it could be verified in one go: ask again; `damaged` (never).
   */
  read(sequence: number): Promise<LogRecord | undefined>;
  /** The lowest sequence from which on everything up to the log's own first record can be read. Throws `unavailable`, `damaged`. */
  firstSequence(): Promise<number>;
  /** Whether what stands there of this slot is this log's: a log that was divided has parts. */
  holds(slot: number): boolean;
}
