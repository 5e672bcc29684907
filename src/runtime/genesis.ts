/** A log's first record: whose log it is, and the secret that its system signs with. */
import { OnefoldError } from "../base/errors.ts";
import { decodeValue, encodeValue, type Value } from "../base/value.ts";
import { bytesOfBinary, keys } from "../entity/keys.ts";
import type { Host } from "../host/host.ts";
import type { Log } from "../log/log.ts";
import { encodeRecord, formatVersion } from "../log/record.ts";
import type { StoreReader, Write } from "../store/store.ts";

export interface Genesis {
  readonly systemName: string;
  /** 32 random bytes: the key of session tokens. */
  readonly secret: Uint8Array;
}

const noHash = new Uint8Array(32);

/** Begins a log that has no record yet. Throws `disk-full` (retry `safe`) or `stopped`. */
export async function appendGenesis(log: Log, host: Pick<Host, "clock" | "random">, systemName: string): Promise<void> {
  const genesis: Genesis = { systemName, secret: host.random.bytes(32) };
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

const metaKey = bytesOfBinary(keys.meta("genesis"));

/** What a genesis means for the store: the log forgets its begin when it is trimmed, the store must not. */
export function foldGenesis(payload: Uint8Array): Write {
  return { key: metaKey, value: payload };
}

/** Throws `damaged` where the store, though brought up to its log, doesn't hold it. */
export function readGenesis(store: StoreReader): Genesis {
  const payload = store.get(metaKey);
  if (payload === undefined) throw new OnefoldError("damaged", "The store does not know the log's genesis.");
  const { systemName, secret } = decodeValue(payload) as { readonly [name: string]: Value };
  return { systemName: systemName as string, secret: secret as Uint8Array };
}
