/** How damage to a log is named: the file, the byte, the sequence and the reason, for people and for programs alike. */
import { OnefoldError } from "../base/errors.ts";

/** One place where a log is not what it should be. */
export interface LogDamage {
  /** A file's name within the log's directory, or the name of what takes a file's place with other engines. */
  readonly file: string;
  /** Bytes from the start of the file. */
  readonly offset: number;
  /** The record that is concerned, where that is known. */
  readonly sequence: number | undefined;
  /** A clause that completes "the log is damaged: …". */
  readonly reason: string;
}

/** An `OnefoldError("damaged")` (retry `never`) whose `details` are the `LogDamage`. */
export function damagedLog(damage: LogDamage, cause?: unknown): OnefoldError {
  const record = damage.sequence === undefined ? "" : `, record ${damage.sequence}`;
  return new OnefoldError(
    "damaged",
    `The log is damaged in ${damage.file} at byte ${damage.offset}${record}: ${damage.reason}. It is not served; restore it from a backup or a copy.`,
    { details: damage, cause },
  );
}

/** The `LogDamage` in an error, if it is one that `damagedLog` made. */
export function damageOf(error: unknown): LogDamage | undefined {
  if (!(error instanceof OnefoldError) || error.code !== "damaged") return undefined;
  const details = error.details as Partial<LogDamage> | undefined;
  return typeof details?.file === "string" && typeof details.offset === "number" ? (details as LogDamage) : undefined;
}

/** Why something failed in one clause, for a damage's reason: the `reason` of record-level damage, else the message. */
export function reasonOf(error: unknown): string {
  if (error instanceof OnefoldError) {
    const details = error.details as { readonly reason?: unknown } | undefined;
    if (typeof details?.reason === "string") return details.reason;
  }
  return error instanceof Error ? error.message : String(error);
}
