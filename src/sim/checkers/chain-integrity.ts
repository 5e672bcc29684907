/**
 * The chain of a log's records, and the anchors that were taken of it. Written against `docs/format.md` and not with `log/chain.ts`,
 * so that the two check each other.
 *
 * CI1  A record's hash is SHA-256 of its bytes: else `wrong-hash`.
 * CI2  Sequences are contiguous (`gap`), and each record holds the hash of the one before (`broken-chain`). A genesis at sequence 1
 *      holds zeroes. The first record given may stand anywhere, for logs are trimmed.
 * CI3  One incarnation (`mixed-incarnations`); epoch and log time never go back (`epoch-went-back`, `time-went-back`).
 * CI4  Each anchor's record stands at its sequence with its hash: else `anchor-lost` (the log ends before it: it was rolled back) or
 *      `anchor-contradicted`. Of what was trimmed, only the last one's hash is still known; anchors before it prove nothing.
 */
import { equalBytes, toHex } from "../../base/bytes.ts";
import { sha256, sha256Bytes } from "../../base/digest.ts";
import type { LogPosition } from "../../log/log.ts";
import type { LogRecord } from "../../log/record.ts";
import type { Finding } from "./history.ts";

export type ChainedRecord = Omit<LogRecord, "kind" | "payload" | "readerVersion">;

/** All faults of the records, which are in the log's order, and all of the anchors. */
export function checkChain(records: readonly ChainedRecord[], anchors: readonly LogPosition[]): readonly Finding[] {
  const findings: Finding[] = [];
  const find = (anomaly: string, explanation: string): void => void findings.push({ anomaly, explanation });
  for (const [index, record] of records.entries()) {
    if (!equalBytes(record.hash, sha256(record.bytes))) {
      find(
        "wrong-hash",
        `record ${record.sequence} is said to have the hash ${shown(record.hash)}, and its bytes have another.`,
      );
    }
    const previous = records[index - 1];
    if (previous !== undefined) checkStep(previous, record, find);
    else if (record.sequence === 1 && !equalBytes(record.previousHash, new Uint8Array(sha256Bytes))) {
      find("broken-chain", "record 1 holds a hash, and none is before it.");
    }
  }
  for (const anchor of anchors) checkAnchor(records, anchor, find);
  return findings;
}

type Find = (anomaly: string, explanation: string) => void;

function checkStep(previous: ChainedRecord, record: ChainedRecord, find: Find): void {
  const between = `between records ${previous.sequence} and ${record.sequence}`;
  if (record.sequence !== previous.sequence + 1) {
    find("gap", `record ${record.sequence} comes right after ${previous.sequence}.`);
  }
  if (!equalBytes(record.previousHash, previous.hash)) {
    find(
      "broken-chain",
      `record ${record.sequence} holds ${shown(record.previousHash)} as the hash before it; ${previous.sequence} has ${shown(previous.hash)}.`,
    );
  }
  if (!equalBytes(record.incarnation, previous.incarnation)) {
    find(
      "mixed-incarnations",
      `the incarnation changes ${between}, from ${shown(previous.incarnation)} to ${shown(record.incarnation)}.`,
    );
  }
  if (record.epoch < previous.epoch) {
    find("epoch-went-back", `the epoch goes back ${between}, from ${previous.epoch} to ${record.epoch}.`);
  }
  if (record.timeMs < previous.timeMs) {
    find("time-went-back", `log time goes back ${between}, from ${previous.timeMs} to ${record.timeMs} ms.`);
  }
}

function checkAnchor(records: readonly ChainedRecord[], anchor: LogPosition, find: Find): void {
  const [first, last] = [records[0], records.at(-1)];
  const what = `the anchor at ${anchor.sequence} (epoch ${anchor.epoch}, ${shown(anchor.hash)})`;
  if (first === undefined || last === undefined || anchor.sequence > last.sequence) {
    find(
      "anchor-lost",
      `${what} is behind the log's end, ${last === undefined ? "which is empty" : `record ${last.sequence}`}.`,
    );
    return;
  }
  if (anchor.sequence < first.sequence - 1) return;
  const record = records[anchor.sequence - first.sequence];
  const hash = anchor.sequence < first.sequence ? first.previousHash : record?.hash;
  if (hash === undefined || !equalBytes(hash, anchor.hash)) {
    find(
      "anchor-contradicted",
      `${what} names another record than ${hash === undefined ? "the log, which has none" : shown(hash)}.`,
    );
  } else if (
    record !== undefined &&
    (record.epoch !== anchor.epoch || !equalBytes(record.incarnation, anchor.incarnation))
  ) {
    find("anchor-contradicted", `${what} names the record's hash with another epoch or incarnation than its own.`);
  }
}

function shown(bytes: Uint8Array): string {
  return `${toHex(bytes).slice(0, 12)}…`;
}
