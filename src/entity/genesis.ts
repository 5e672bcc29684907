/**
 * A log's first record: whose log it is, the secret that its system signs with, and, where it continues another log, which.
 *
 * G1  A log that continues another one goes on from that one's numbers under an incarnation of its own: what remembers the
 *     other incarnation (session tokens, anchors, positions of changes) is never mistaken for something of this one.
 */
import { OnefoldError } from "../base/errors.ts";
import { decodeValue, encodeValue, type Value } from "../base/value.ts";
import { bytesOfBinary, keys } from "./keys.ts";
import type { Host } from "../host/host.ts";
import type { Log, LogPosition } from "../log/log.ts";
import type { ChainLink } from "../log/chain.ts";
import { continuingVersion, type EncodedRecord, encodeRecord, formatVersion } from "../log/record.ts";
import type { StoreReader, Write } from "../store/store.ts";

export interface Genesis {
  readonly systemName: string;
  /** 32 random bytes: the key of session tokens. */
  readonly secret: Uint8Array;
  /** The last record of the log that this one continues, e.g. after a restore. */
  readonly parent?: GenesisParent;
}

export interface GenesisParent extends LogPosition {
  /** The engine's name of that log, where it is in an engine. */
  readonly log?: string;
}

const noHash = new Uint8Array(32);

/**
 * Begins a log that has no record yet; `secret` is made where none is given. Throws `disk-full` (retry `safe`) or `stopped`.
 */
export async function appendGenesis(
  log: Log,
  host: Pick<Host, "clock" | "random">,
  systemName: string,
  secret = host.random.bytes(32),
): Promise<void> {
  const genesis: Genesis = { systemName, secret };
  const { bytes } = encodeRecord(
    {
      kind: "genesis",
      readerVersion: formatVersion,
      incarnation: host.random.bytes(16),
      epoch: 1,
      sequence: 1,
      timeMs: host.clock.wallMs(),
      previousHash: noHash,
    },
    encodeValue({ ...genesis }),
  );
  const outcome = await log.append(bytes);
  if (outcome.kind === "appended") return;
  const cause = "cause" in outcome ? outcome.cause : undefined;
  if (outcome.kind === "full") throw new OnefoldError("disk-full", "The disk has no room for a new log.", { cause });
  throw new OnefoldError("stopped", "The log's first record could not be written.", { cause });
}

/**
 * The first record of a log that continues `parent`, whose genesis had the payload `parentGenesis`. `before` is what the
 * record stands behind: the parent's end, under the new incarnation. `parentLog` is the parent's name in the engine. Throws `damaged` where the payload is none.
 */
export function continuingGenesis(
  parentGenesis: Uint8Array,
  parent: LogPosition,
  before: ChainLink,
  clock: Host["clock"],
  parentLog?: string,
): { readonly record: EncodedRecord; readonly link: ChainLink } {
  const { systemName, secret } = decodeGenesis(parentGenesis);
  const { incarnation, epoch, sequence, hash } = parent;
  const header = {
    kind: "genesis",
    readerVersion: continuingVersion,
    incarnation: before.incarnation,
    epoch: before.epoch + 1,
    sequence: before.sequence + 1,
    // Log time never goes back, whatever this machine's clock says.
    timeMs: Math.max(before.timeMs, clock.wallMs()),
    previousHash: before.hash,
  } as const;
  const cited = { incarnation, epoch, sequence, hash, ...(parentLog === undefined ? {} : { log: parentLog }) };
  const payload = encodeValue({ systemName, secret, parent: cited });
  const record = encodeRecord(header, payload);
  return { record, link: { ...header, hash: record.hash } };
}

const metaKey = bytesOfBinary(keys.meta("genesis"));

/** What a genesis means for the store: the log forgets its begin when it is trimmed, the store must not. */
export function foldGenesis(payload: Uint8Array): Write {
  return { key: metaKey, value: payload };
}

/** Throws `damaged` where the store, though brought up to its log, doesn't hold it. */
export function readGenesis(store: StoreReader): Genesis {
  return decodeGenesis(readGenesisPayload(store));
}

/** The payload as it stands in the log. Throws as `readGenesis` does. */
export function readGenesisPayload(store: StoreReader): Uint8Array {
  const payload = store.get(metaKey);
  if (payload === undefined) throw new OnefoldError("damaged", "The store does not know the log's genesis.");
  return payload;
}

/** Throws `damaged` for what is no payload of a genesis. */
export function decodeGenesis(payload: Uint8Array): Genesis {
  const { systemName, secret, parent } = decodeValue(payload) as { readonly [name: string]: Value };
  if (typeof systemName !== "string" || !(secret instanceof Uint8Array)) {
    throw new OnefoldError("damaged", "The log's genesis is damaged.");
  }
  return { systemName, secret, ...(parent === undefined ? {} : { parent: parent as unknown as GenesisParent }) };
}
