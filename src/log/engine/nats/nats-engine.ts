/**
 * The engine of a cluster's logs on NATS JetStream: one stream a log, on three servers or five (docs/engine-nats.md).
 *
 * NE1 What is laid down in `engine-log.ts` holds on servers that the start gate lets through (`laxities`).
 * NE2 Every question to the servers has its deadline; none outlives `close`.
 */
import { OnefoldError } from "../../../base/errors.ts";
import { assert } from "../../../base/assert.ts";
import { type Limits, limits as defaultLimits } from "../../../base/limits.ts";
import type { EngineLog, LogEngine } from "../../engine-log.ts";
import { apiErrorCodes, apiUnavailable } from "./api-error.ts";
import { closedError, EngineConnection, type NatsAddress, type NatsLogin } from "./connection.ts";
import { assertClusterName, logStream, logSubject } from "./names.ts";
import { type AppendsOpen, NatsLog } from "./nats-log.ts";
import type { NatsTail } from "./nats-tail.ts";
import { laxitiesOfServers } from "./server-facts.ts";
import { configLaxities, logConfig, type StreamInfo } from "./stream-config.ts";

export interface NatsEngineOptions extends NatsAddress {
  /** Of the cluster: begins the names of its streams. `a-z` and `0-9`. */
  readonly cluster: string;
  /** On how many servers each log is. Fewer than three are a laxity. */
  readonly replicaCount: 1 | 3 | 5;
  /** Of the servers' system account: what the start gate asks with. Without it what it can't know is a laxity. */
  readonly systemLogin?: NatsLogin;
  readonly limits?: Limits;
}

/** Throws `unavailable` where none of the servers is reached. */
export async function connectNatsEngine(options: NatsEngineOptions): Promise<NatsEngine> {
  assertClusterName(options.cluster);
  return new NatsEngine(options, await EngineConnection.open(options, options.limits ?? defaultLimits));
}

interface StreamList {
  readonly total: number;
  readonly streams?: readonly StreamInfo[] | null;
}

/** Room for what is around a record in a message. */
const messageOverheadBytes = 4 * 1024;
/** More than any cluster has: `shardsMax` of them, retired ones and system logs. */
const listPagesMax = 64;

export class NatsEngine implements LogEngine {
  readonly #options: NatsEngineOptions;
  readonly #connection: EngineConnection;
  readonly #limits: Limits;
  readonly #appendsOpen: AppendsOpen = { count: 0, bytesCount: 0 };
  readonly #tails = new Set<NatsTail>();
  #isOpen = true;

  constructor(options: NatsEngineOptions, connection: EngineConnection) {
    this.#options = options;
    this.#connection = connection;
    this.#limits = options.limits ?? defaultLimits;
  }

  /** For blobs of the same cluster. Closed with the engine. */
  get connection(): EngineConnection {
    return this.#connection;
  }

  async open(name: string): Promise<EngineLog | undefined> {
    this.#assertOpen();
    const stream = logStream(this.#options.cluster, name);
    const answer = await this.#connection.api<StreamInfo>(`STREAM.INFO.${stream}`);
    if ("value" in answer) return this.#log(name);
    if (answer.error.err_code === apiErrorCodes.streamNotFound) return undefined;
    throw apiUnavailable(answer);
  }

  async create(
    name: string,
    { firstSequence, region }: { readonly firstSequence: number; readonly region?: string | undefined },
  ): Promise<EngineLog> {
    this.#assertOpen();
    assert(Number.isSafeInteger(firstSequence) && firstSequence >= 1, "sequences are whole numbers from 1");
    const { cluster, replicaCount } = this.#options;
    const stream = logStream(cluster, name);
    const config = logConfig({ name: stream, subject: logSubject(cluster, name), replicaCount, firstSequence, region });
    const answer = await this.#connection.api(`STREAM.CREATE.${stream}`, config, this.#limits.engineMakeMs);
    // It exists, and was made or changed otherwise; what of that is lax the start gate says.
    if ("error" in answer && answer.error.err_code !== apiErrorCodes.streamInUse) throw apiUnavailable(answer);
    return this.#log(name);
  }

  async laxities({ regions = [] }: { readonly regions?: readonly string[] } = {}): Promise<readonly string[]> {
    this.#assertOpen();
    const { systemLogin, replicaCount } = this.#options;
    const found: string[] = [];
    if (systemLogin === undefined) {
      found.push(
        "It is not known whether every server syncs before it acknowledges: there is no system login to ask with.",
      );
    } else {
      const needed = { regions, replicaCount };
      found.push(...(await laxitiesOfServers({ ...this.#options, login: systemLogin }, this.#limits, needed)));
    }
    if (replicaCount < 3) found.push(`New logs are made on ${replicaCount} server, which is no majority's.`);
    found.push(...(await this.#laxitiesOfStreams()));
    const { payloadBytesMax } = this.#connection;
    const neededBytes = this.#limits.batchBytesMax + messageOverheadBytes;
    if (payloadBytesMax !== undefined && payloadBytesMax < neededBytes) {
      found.push(
        `A server takes messages of ${payloadBytesMax} bytes at most (max_payload); batches need ${neededBytes}.`,
      );
    }
    return found;
  }

  async close(): Promise<void> {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    for (const tail of [...this.#tails]) tail.close();
    await this.#connection.close();
  }

  async #laxitiesOfStreams(): Promise<string[]> {
    const { cluster } = this.#options;
    const found: string[] = [];
    let offset = 0;
    for (let page = 0; page < listPagesMax; page++) {
      const answer = await this.#connection.api<StreamList>("STREAM.LIST", { offset });
      if ("error" in answer) throw apiUnavailable(answer);
      const streams = answer.value.streams ?? [];
      for (const { config } of streams) {
        if (config.name.startsWith(`${cluster}-`)) {
          found.push(...configLaxities(config, { isLog: config.name.startsWith(`${cluster}-log-`) }));
        }
      }
      offset += streams.length;
      if (streams.length === 0 || offset >= answer.value.total) return found;
    }
    throw new OnefoldError("unavailable", "The engine has more streams than can be looked through.");
  }

  #log(name: string): NatsLog {
    const { cluster } = this.#options;
    return new NatsLog({
      name,
      stream: logStream(cluster, name),
      subject: logSubject(cluster, name),
      connection: this.#connection,
      limits: this.#limits,
      appendsOpen: this.#appendsOpen,
      tails: this.#tails,
    });
  }

  #assertOpen(): void {
    if (!this.#isOpen) throw closedError();
  }
}
