/**
 * Reading from the engine what this node's own copy has lost: a disk that forgets, or writes elsewhere than it was told to, is no reason to
 * refuse what a majority of the engine's servers has.
 *
 * ER1 What is given was verified by this node before: a chain of the engine's records leads from it to one that the copy holds, or to the
 *     copy's end, by hashes.
 */
import { equalBytes } from "../base/bytes.ts";
import { OnefoldError } from "../base/errors.ts";
import { chainFault } from "../log/chain.ts";
import type { EngineLog } from "../log/engine-log.ts";
import type { Log } from "../log/log.ts";
import { decodeRecord, type LogRecord } from "../log/record.ts";

export interface CopyOfEngine {
  readonly copy: Pick<Log, "read" | "end">;
  readonly log: Pick<EngineLog, "read">;
}

/** So many records in a row may be lost: behind them something is whole again, or more than a record or two is gone. */
const lostRecordsMax = 64;

/**
 * The record at `sequence`, which the copy should have and has not, as `damage` says. Throws `damage` where the engine has not got it
 * either, `unavailable` (retry safe) where that can't be reached.
 */
export async function readFromEngine(replica: CopyOfEngine, sequence: number, damage: unknown): Promise<LogRecord> {
  let wanted: LogRecord | undefined;
  let last: LogRecord | undefined;
  for (let at = sequence; at < sequence + lostRecordsMax; at++) {
    const bytes = await replica.log.read(at);
    const end = replica.copy.end;
    if (bytes === undefined || end === null || at > end.sequence) throw damage;
    const record = decodeRecord(bytes);
    if (record.sequence !== at || (last !== undefined && chainFault(last, record) !== undefined)) throw damage;
    wanted ??= record;
    last = record;
    const verified = at === end.sequence ? end : await readCopy(replica, at);
    if (verified === undefined) continue;
    if (!equalBytes(verified.hash, record.hash)) throw damage;
    return wanted;
  }
  throw damage;
}

/** Undefined where it is lost, too. */
async function readCopy({ copy }: CopyOfEngine, sequence: number): Promise<LogRecord | undefined> {
  try {
    return await copy.read(sequence);
  } catch (error) {
    if (!isDamage(error)) throw error;
    return undefined;
  }
}

export function isDamage(error: unknown): boolean {
  return error instanceof OnefoldError && error.code === "damaged";
}
