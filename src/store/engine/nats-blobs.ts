/**
 * Blobs on NATS JetStream: all places of a cluster in one stream, those of a region in another one, which keeps one message of each
 * subject.
 *
 *     <cluster>.blob.<place>.<address>.<index>   a part of a blob
 *     <cluster>.blob.<place>.<address>.end       its manifest: size, and size of a part; written after all parts
 *     <cluster>.blob.<place>.pointer.<name>      a pointer's bytes and their CRC-32
 *     <cluster>.blob-<region>.<place>.…          the same of a region's places
 *
 * Plain messages rather than the client's object store: that one writes its description apart from the chunks, under a name that moves, and
 * reads both by any replica's word. Here the address is the digest of the content, so nothing that is read need be believed.
 *
 * O1 A blob is put part by part, each acknowledged by a majority, then its manifest; and all of it is read back from the stream's leader.
 * O2 What is read is held against its address. Parts without a manifest are no blob, but listed, so that whoever tidies finds them.
 * O3 A pointer is one message. It is replaced only where the one that was there last is still there: so one that arrives late, after its sender
 *     has given it up and set another, is refused.
 */
import { headers } from "@nats-io/transport-node";
import { assert } from "../../base/assert.ts";
import { concatBytes, encodeUtf8, equalBytes } from "../../base/bytes.ts";
import { crc32 } from "../../base/digest.ts";
import { OnefoldError } from "../../base/errors.ts";
import { type Limits, limits as defaultLimits } from "../../base/limits.ts";
import { apiErrorCodes, apiUnavailable, parseAnswer } from "../../log/engine/nats/api-error.ts";
import type { EngineConnection } from "../../log/engine/nats/connection.ts";
import { assertClusterName, blobStream, blobSubject, regionBlobSubject, token } from "../../log/engine/nats/names.ts";
import { unavailable } from "../../log/engine/nats/requests.ts";
import { blobConfig, type StreamInfo } from "../../log/engine/nats/stream-config.ts";
import {
  type BlobAddress,
  type Blobs,
  blobAddress,
  blobBytesMax,
  parseBlobAddress,
  pointerBytesMax,
} from "../blobs.ts";

export interface NatsBlobsOptions {
  /** The engine's; whoever closes it ends the blobs too. */
  readonly connection: EngineConnection;
  readonly cluster: string;
  readonly replicaCount: 1 | 3 | 5;
  readonly limits?: Limits;
}

/** Places for blobs, by name; of those that are for a region, on its servers. What they are in is made when something is first put. */
export function natsBlobs(options: NatsBlobsOptions): (place: string, region?: string) => Blobs {
  assertClusterName(options.cluster);
  const shelves = new Map<string | undefined, Shelf>();
  return (place, region) => {
    const shelf = shelves.get(region) ?? new Shelf(options, region);
    shelves.set(region, shelf);
    return new NatsBlobs(shelf, token(place));
  };
}

interface Stored {
  readonly sequence: number;
  readonly bytes: Uint8Array;
}

interface Manifest {
  readonly sizeBytes: number;
  readonly partBytes: number;
}

const endToken = "end";
const pointerToken = "pointer";
/** A pointer is set by one at a time; more than once in a row only one's own late sendings are in the way. */
const pointerTriesMax = 8;
/** After the first that was in vain; then twice as long, and so on. A sending that is not yet done refuses all others meanwhile. */
const pointerAgainMs = 10;
const listPagesMax = 1024;

/** The stream as subjects that hold one message each. */
class Shelf {
  readonly cluster: string;
  readonly limits: Limits;
  readonly #connection: EngineConnection;
  readonly #stream: string;
  readonly #replicaCount: number;
  readonly #region: string | undefined;
  #exists = false;

  constructor(
    { connection, cluster, replicaCount, limits = defaultLimits }: NatsBlobsOptions,
    region: string | undefined,
  ) {
    this.cluster = cluster;
    this.limits = limits;
    this.#connection = connection;
    this.#stream = blobStream(cluster, region);
    this.#region = region;
    this.#replicaCount = replicaCount;
  }

  subject(...tokens: readonly string[]): string {
    return this.#region === undefined
      ? blobSubject(this.cluster, ...tokens)
      : regionBlobSubject(this.cluster, this.#region, ...tokens);
  }

  /** Replaces what the subject holds, if `expected` (of a sequence, 0 for nothing) still holds where it is given; else false. */
  async put(subject: string, bytes: Uint8Array, expected?: number): Promise<boolean> {
    await this.#make();
    const fields = headers();
    fields.set("Nats-Expected-Stream", this.#stream);
    if (expected !== undefined) fields.set("Nats-Expected-Last-Subject-Sequence", String(expected));
    const question = { subject, payload: bytes.slice(), headers: fields, atMostMs: this.limits.engineMakeMs };
    const answer = await this.#connection.ask(question, ({ data }) => parseAnswer<{ readonly stream: string }>(data));
    if ("error" in answer) {
      const { err_code } = answer.error;
      const wasReplaced =
        err_code === apiErrorCodes.wrongLastSequence || err_code === apiErrorCodes.wrongLastSequenceConstant;
      if (expected !== undefined && wasReplaced) return false;
      throw apiUnavailable(answer);
    }
    return true;
  }

  async get(subject: string): Promise<Stored | undefined> {
    const answer = await this.#connection.api<{ readonly message: { readonly seq: number; readonly data?: string } }>(
      `STREAM.MSG.GET.${this.#stream}`,
      { last_by_subj: subject, no_hdr: true },
      this.limits.engineMakeMs,
    );
    if ("value" in answer) {
      const { seq, data = "" } = answer.value.message;
      return { sequence: seq, bytes: Buffer.from(data, "base64") };
    }
    const { err_code } = answer.error;
    if (err_code === apiErrorCodes.messageNotFound || err_code === apiErrorCodes.streamNotFound) return undefined;
    throw apiUnavailable(answer);
  }

  async subjects(filter: string): Promise<readonly string[]> {
    const found: string[] = [];
    for (let page = 0; page < listPagesMax; page++) {
      const answer = await this.#connection.api<StreamInfo & { readonly total?: number }>(
        `STREAM.INFO.${this.#stream}`,
        { subjects_filter: filter, offset: found.length },
        this.limits.engineMakeMs,
      );
      if ("error" in answer) {
        if (answer.error.err_code === apiErrorCodes.streamNotFound) return [];
        throw apiUnavailable(answer);
      }
      const subjects = Object.keys(answer.value.state.subjects ?? {});
      found.push(...subjects);
      if (subjects.length === 0 || found.length >= (answer.value.total ?? 0)) return found;
    }
    throw unavailable("The engine lists more blobs than there can be.");
  }

  async remove(filter: string): Promise<void> {
    const answer = await this.#connection.api(`STREAM.PURGE.${this.#stream}`, { filter }, this.limits.engineMakeMs);
    if ("error" in answer && answer.error.err_code !== apiErrorCodes.streamNotFound) throw apiUnavailable(answer);
  }

  async #make(): Promise<void> {
    if (this.#exists) return;
    const config = blobConfig({
      name: this.#stream,
      subjects: this.subject(">"),
      replicaCount: this.#replicaCount,
      region: this.#region,
    });
    const answer = await this.#connection.api(`STREAM.CREATE.${this.#stream}`, config, this.limits.engineMakeMs);
    // Made otherwise, it is there all the same; what of that is lax the start gate says.
    if ("error" in answer && answer.error.err_code !== apiErrorCodes.streamInUse) throw apiUnavailable(answer);
    this.#exists = true;
  }
}

class NatsBlobs implements Blobs {
  readonly #shelf: Shelf;
  readonly #place: string;

  constructor(shelf: Shelf, place: string) {
    this.#shelf = shelf;
    this.#place = place;
  }

  async put(bytes: Uint8Array): Promise<BlobAddress> {
    assert(bytes.length <= blobBytesMax, "a blob has at most 16 MiB");
    const own = bytes.slice();
    const address = blobAddress(own);
    const existing = await this.#read(address);
    if (existing instanceof Uint8Array) return address;
    const { engineBlobPartBytes: partBytes } = this.#shelf.limits;
    await this.#eachPart(Math.ceil(own.length / partBytes), async (index) => {
      const part = own.subarray(index * partBytes, (index + 1) * partBytes);
      await this.#shelf.put(this.#subject(address, String(index)), part);
    });
    const manifest: Manifest = { sizeBytes: own.length, partBytes };
    await this.#shelf.put(this.#subject(address, endToken), encodeUtf8(JSON.stringify(manifest)));
    await this.get(address);
    return address;
  }

  async get(address: BlobAddress): Promise<Uint8Array> {
    const bytes = await this.#read(address);
    if (bytes === undefined)
      throw new OnefoldError("not-found", "There is no blob of this address.", { details: { address } });
    if (bytes === "damaged") {
      throw new OnefoldError("damaged", "A blob's content does not match its address.", { details: { address } });
    }
    return bytes;
  }

  async list(): Promise<readonly BlobAddress[]> {
    const addresses = new Set<string>();
    for (const subject of await this.#shelf.subjects(this.#subject(">"))) {
      const [name] = subject.split(".").slice(-2);
      if (name !== undefined && name !== pointerToken) addresses.add(name);
    }
    return [...addresses].sort().map(parseBlobAddress);
  }

  delete(address: BlobAddress): Promise<void> {
    return this.#shelf.remove(this.#subject(address, ">"));
  }

  async readPointer(name: string): Promise<Uint8Array | undefined> {
    const stored = await this.#shelf.get(this.#pointer(name));
    if (stored === undefined) return undefined;
    const bytes = stored.bytes.subarray(0, Math.max(0, stored.bytes.length - 4));
    if (stored.bytes.length < 4 || !equalBytes(stored.bytes.subarray(bytes.length), checksumOf(bytes))) {
      throw new OnefoldError("damaged", "A pointer to blobs is damaged.", { details: { name } });
    }
    return bytes;
  }

  async setPointer(name: string, bytes: Uint8Array): Promise<void> {
    assert(bytes.length <= pointerBytesMax, "a pointer has at most 4 KiB");
    const content = concatBytes([bytes, checksumOf(bytes)]);
    const subject = this.#pointer(name);
    for (let tries = 0; tries < pointerTriesMax; tries++) {
      const before = await this.#shelf.get(subject);
      if (await this.#shelf.put(subject, content, before?.sequence ?? 0)) return;
      await new Promise((resolve) => setTimeout(resolve, pointerAgainMs * 2 ** tries));
    }
    throw unavailable("A pointer was replaced by others each time that it was to be set.");
  }

  /** The bytes of this address (O2); undefined where there is no manifest. */
  async #read(address: BlobAddress): Promise<Uint8Array | "damaged" | undefined> {
    const stored = await this.#shelf.get(this.#subject(address, endToken));
    if (stored === undefined) return undefined;
    const manifest = parseManifest(stored.bytes);
    if (manifest === undefined) return "damaged";
    const parts: Uint8Array[] = [];
    await this.#eachPart(Math.ceil(manifest.sizeBytes / manifest.partBytes), async (index) => {
      parts[index] = (await this.#shelf.get(this.#subject(address, String(index))))?.bytes ?? new Uint8Array(0);
    });
    const bytes = concatBytes(parts);
    return blobAddress(bytes) === address ? bytes : "damaged";
  }

  /** Several parts at once. The first failure is thrown after all that are under way have ended. */
  async #eachPart(count: number, work: (index: number) => Promise<void>): Promise<void> {
    const { engineBlobPartsOpenMax } = this.#shelf.limits;
    let next = 0;
    let hasFailed = false;
    const lane = async (): Promise<void> => {
      while (next < count && !hasFailed) {
        const index = next++;
        try {
          await work(index);
        } catch (error) {
          hasFailed = true;
          throw error;
        }
      }
    };
    const lanes = await Promise.allSettled(Array.from({ length: Math.min(count, engineBlobPartsOpenMax) }, lane));
    for (const ended of lanes) if (ended.status === "rejected") throw ended.reason;
  }

  #subject(...tokens: readonly string[]): string {
    return this.#shelf.subject(this.#place, ...tokens);
  }

  #pointer(name: string): string {
    assert(/^[a-z-]{1,64}$/.test(name), "a pointer's name is of a-z and -");
    return this.#subject(pointerToken, name);
  }
}

/** Undefined for what is none: stored data may be damaged. */
function parseManifest(bytes: Uint8Array): Manifest | undefined {
  let parsed: unknown;
  try {
    parsed = JSON.parse(Buffer.from(bytes).toString());
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
  if (typeof parsed !== "object" || parsed === null) return undefined;
  const { sizeBytes, partBytes } = parsed as Partial<Manifest>;
  const isSize = Number.isSafeInteger(sizeBytes) && sizeBytes! >= 0 && sizeBytes! <= blobBytesMax;
  const isPart = Number.isSafeInteger(partBytes) && partBytes! >= 1024 && partBytes! <= blobBytesMax;
  return isSize && isPart ? { sizeBytes: sizeBytes!, partBytes: partBytes! } : undefined;
}

function checksumOf(bytes: Uint8Array): Uint8Array {
  const checksum = new Uint8Array(4);
  new DataView(checksum.buffer).setUint32(0, crc32(bytes), true);
  return checksum;
}
