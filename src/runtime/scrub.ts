/**
 * The scrub: reads everything that the log holds, slowly, so that damage to what was not verified at the start is found
 * before it is needed (G8). A pass over a gigabyte takes some minutes, and no one notices.
 */
import type { Log } from "../log/log.ts";

/** Read in one go, then it rests. */
const portionBytes = 1024 * 1024;

/**
 * Reads and verifies every record from the log's first to its end, also where both move meanwhile. Resolves when it is
 * through, or when `rest`, which it calls and awaits after each mebibyte, gives `end`. Throws `damaged` (retry never).
 */
export async function scrubLog(log: Log, rest: () => Promise<"on" | "end">): Promise<void> {
  let bytes = 0;
  let sequence = log.firstSequence;
  for (;;) {
    sequence = Math.max(sequence, log.firstSequence);
    const record = await readUntrimmed(log, sequence);
    if (record === "trimmed") continue;
    if (record === undefined) return;
    sequence++;
    bytes += record.bytes.length;
    if (bytes < portionBytes) continue;
    bytes = 0;
    if ((await rest()) === "end") return;
  }
}

async function readUntrimmed(log: Log, sequence: number) {
  try {
    return await log.read(sequence);
  } catch (error) {
    // Trimmed while it was looked for.
    if (sequence < log.firstSequence) return "trimmed" as const;
    throw error;
  }
}
