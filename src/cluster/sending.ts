/**
 * Sending a record to the engine's log until it is known what stands at its sequence (hazards 3 and 4). Nothing but a record that stands
 * there is taken for an answer.
 *
 * SN1 `ours`: the record is durable at its sequence. `other`: another valid record stands there, so ours never will.
 * SN2 What does not decode proves nothing: it may be ours, damaged.
 * SN3 Where the engine says nothing at all, the record is not looked for, but sent again: without a leader, reading would take as long
 *     once more, and the next leader would be found so much later.
 */
import { equalBytes } from "../base/bytes.ts";
import { OnefoldError } from "../base/errors.ts";
import type { Timers } from "../host/host.ts";
import type { EngineLog } from "../log/engine-log.ts";
import { decodeRecord, type EncodedRecord, type LogRecord } from "../log/record.ts";

/** What is known of one sending. `unknown`: the engine refused it, and shows no valid record there. `unanswered`: it said nothing (SN3). */
export type Fate = "ours" | "other" | "unknown" | "unanswered";

const resendDelayMs = 50;

/** Sends it once, and looks what stands there where the engine's answer proves nothing. Never throws. */
export async function sendOnce(log: EngineLog, sequence: number, { bytes, hash }: EncodedRecord): Promise<Fate> {
  const outcome = await log.append(sequence, bytes);
  if (outcome.kind === "appended") return "ours";
  if (outcome.kind === "unknown" && outcome.isSilent === true) return "unanswered";
  const found = await readValid(log, sequence);
  if (found === undefined) return "unknown";
  return equalBytes(found.hash, hash) ? "ours" : "other";
}

/** The valid record at `sequence`, as far as the engine can be asked now. Undefined proves nothing. */
export async function readValid(log: EngineLog, sequence: number): Promise<LogRecord | undefined> {
  try {
    const bytes = await log.read(sequence);
    if (bytes === undefined) return undefined;
    const record = decodeRecord(bytes);
    return record.sequence === sequence ? record : undefined;
  } catch (error) {
    // Out of reach, or no record: the next sending will find out.
    if (error instanceof OnefoldError && (error.code === "unavailable" || error.code === "damaged")) return undefined;
    throw error;
  }
}

/**
 * Sends the identical bytes again until it is known what stands there, or `isWanted` says no: then the fate is `unknown`, and the
 * record may yet come to stand there.
 */
export async function sendUntilKnown(
  log: EngineLog,
  sequence: number,
  record: EncodedRecord,
  { timers, isWanted }: { readonly timers: Timers; readonly isWanted: () => boolean },
): Promise<Exclude<Fate, "unanswered">> {
  for (;;) {
    const fate = await sendOnce(log, sequence, record);
    if (fate === "ours" || fate === "other") return fate;
    if (!isWanted()) return "unknown";
    await new Promise<void>((resolve) => timers.after(resendDelayMs, resolve, { keepsAlive: true }));
    if (!isWanted()) return "unknown";
  }
}
