/**
 * The seal of a system log: a record after which nobody appends. It stands where the log was observed to end, by compare-and-set; only one
 * that the engine has acknowledged, or that was read, proves anything (EL3). What is before it may be damaged, so that its place in the
 * chain is not verified.
 */
import { OnefoldError } from "../base/errors.ts";
import { decodeValue, encodeValue } from "../base/value.ts";
import type { Host } from "../host/host.ts";
import type { ChainLink } from "../log/chain.ts";
import type { EngineLog } from "../log/engine-log.ts";
import { encodeRecord, formatVersion, incarnationBytes, type LogRecord, noHash } from "../log/record.ts";
import { readValid, sendOnce } from "./sending.ts";
import type { SealPayload } from "./shard-records.ts";
import { systemEpoch } from "./system-writer.ts";

export interface SealParts {
  readonly host: Pick<Host, "clock" | "random">;
  readonly log: EngineLog;
  readonly node: string;
  /** The last record that this node has verified, if there is one. */
  readonly link: ChainLink | null;
  /** What is wrong. */
  readonly detail: string;
}

/** At sequence 1, where only a genesis can stand, the seal is one, whose payload is a seal's and no list. */
export function isSeal({ kind, payload }: Pick<LogRecord, "kind" | "payload">): boolean {
  if (kind === "seal") return true;
  if (kind !== "genesis") return false;
  const value = decodeValue(payload);
  return typeof value === "object" && value !== null && !Array.isArray(value) && "reason" in value;
}

/** Whether the log's last record is a seal. False proves nothing. Throws `unavailable`. */
export async function isSealed(log: EngineLog): Promise<boolean> {
  const { last } = await log.bounds();
  const record = await readValid(log, last);
  return record !== undefined && isSeal(record);
}

/** Whether a seal stands at the log's end now, this node's or another's. False where none could be made. Throws `unavailable`. */
export async function sealSystemLog({ host, log, node, link, detail }: SealParts): Promise<boolean> {
  const { last } = await log.bounds();
  const previous = await readValid(log, last);
  if (previous !== undefined && isSeal(previous)) return true;
  const sequence = last + 1;
  const { incarnation, hash, timeMs } = previous ?? link ?? noLink;
  const payload: SealPayload = { member: node, reason: "rollback", detail, nonce: host.random.bytes(16) };
  const record = encodeRecord(
    {
      kind: sequence === 1 ? "genesis" : "seal",
      readerVersion: formatVersion,
      incarnation,
      epoch: systemEpoch,
      sequence,
      timeMs: Math.max(timeMs, host.clock.wallMs()),
      previousHash: sequence === 1 ? noHash : hash,
    },
    encodeValue({ ...payload }),
  );
  return (await sendOnce(log, sequence, record)) === "ours";
}

const noLink = { incarnation: new Uint8Array(incarnationBytes), hash: noHash, timeMs: 0 };

/** Out of reach, for now. */
export function isUnavailable(error: unknown): boolean {
  return error instanceof OnefoldError && error.code === "unavailable";
}
