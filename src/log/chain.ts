/**
 * The chain: what one record demands of the next. Pure; used wherever records are appended, read in order or verified.
 *
 * C1  A record's sequence is its predecessor's plus one, and it holds its predecessor's hash.
 * C2  One log has one incarnation; epoch and log time never go back.
 */
import { equalBytes } from "../base/bytes.ts";
import type { LogPosition } from "./log.ts";
import { noHash, type RecordHeader } from "./record.ts";

/** What stands before the next record: a position with its log time. */
export interface ChainLink extends LogPosition {
  readonly timeMs: number;
}

/** What is wrong with `next` after `previous` (null: at the start of a log), as a clause; undefined where all is well. */
export function chainFault(previous: ChainLink | null, next: RecordHeader): string | undefined {
  const expected = previous === null ? 1 : previous.sequence + 1;
  if (next.sequence !== expected) return `the record has sequence ${next.sequence} where ${expected} belongs`;
  if (!equalBytes(next.previousHash, previous === null ? noHash : previous.hash)) {
    return "the record does not hold the hash of the one before it";
  }
  if (previous === null) return undefined;
  if (!equalBytes(next.incarnation, previous.incarnation))
    return "the record belongs to another incarnation of the log";
  if (next.epoch < previous.epoch) return `the epoch goes back from ${previous.epoch} to ${next.epoch}`;
  if (next.timeMs < previous.timeMs) return `log time goes back from ${previous.timeMs} to ${next.timeMs}`;
  return undefined;
}

/** True where both name the same record of the same life of a log. */
export function equalPositions(a: LogPosition, b: LogPosition): boolean {
  return (
    a.sequence === b.sequence &&
    a.epoch === b.epoch &&
    equalBytes(a.hash, b.hash) &&
    equalBytes(a.incarnation, b.incarnation)
  );
}
