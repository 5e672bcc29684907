/**
 * The system log of a cluster that is to begin with a backup, as whoever restores it has it: no member, and it repairs nothing.
 *
 * RL1 A cluster is founded by one record, by compare-and-set, where none is (RF1): before it nothing that was written for it counts, and
 *     behind it all of it does.
 */
import { OnefoldError } from "../base/errors.ts";
import type { Limits } from "../base/limits.ts";
import type { Host } from "../host/host.ts";
import type { LogEngine } from "../log/engine-log.ts";
import { noPeers } from "./promotion-log.ts";
import { SystemLog } from "./system-log.ts";
import type { SystemRecord } from "./system-records.ts";
import type { SystemState } from "./system-state.ts";

export interface RestoringLogParts {
  readonly host: Pick<Host, "clock" | "timers" | "random" | "disk" | "trace">;
  readonly limits: Limits;
  readonly engine: LogEngine;
  /** Of the copy that is read into; to be thrown away afterwards. */
  readonly directory: string;
}

const roundMs = 5000;
const roundsMax = 12;

export class RestoringLog {
  readonly #log: SystemLog;
  readonly #failure: () => unknown;

  private constructor(log: SystemLog, failure: () => unknown) {
    this.#log = log;
    this.#failure = failure;
  }

  /** Throws `unsupported-version` (retry never), `DiskError`. */
  static async open({ host, limits, engine, directory }: RestoringLogParts): Promise<RestoringLog> {
    let failure: unknown;
    const log = await SystemLog.open({
      host,
      limits,
      engine,
      peers: noPeers,
      node: "~restore",
      directory,
      segmentBytes: limits.shortSegmentBytes,
      onFailed: (error) => {
        failure ??= error;
      },
    });
    return new RestoringLog(log, () => failure);
  }

  /** Throws `invalid-configuration` (retry never) where there is a cluster, `unavailable` (safe) where that can't be known. */
  async assertEmpty(): Promise<void> {
    await this.#propose(() => undefined);
    if (!this.#log.isReady) throw unreachable();
    this.#assertNone();
  }

  /** RL1. Throws as `assertEmpty`; `outcome-unknown` where it can't be learnt whether the record stands. */
  async found(record: Extract<SystemRecord, { readonly type: "restored" }>): Promise<void> {
    const isUndecided = (state: SystemState): boolean => state.cluster === undefined;
    for (let round = 0; round < roundsMax && isUndecided(this.#log.state); round++) {
      await this.#propose((state) => (isUndecided(state) ? [record] : undefined));
    }
    if (this.#log.state.cluster?.id === record.cluster.id) return;
    this.#assertNone();
    throw new OnefoldError(
      "outcome-unknown",
      "The engine did not say whether the cluster has begun. Start a node: either it finds the cluster, or restore again.",
    );
  }

  close(): Promise<void> {
    return this.#log.close();
  }

  #assertNone(): void {
    const { cluster } = this.#log.state;
    if (cluster === undefined) return;
    throw new OnefoldError(
      "invalid-configuration",
      `There is a cluster in that engine already, with the system ${cluster.systemName}. A backup is restored where none is: give another --engine-name, or another engine.`,
    );
  }

  async #propose(decide: (state: SystemState) => readonly SystemRecord[] | undefined): Promise<void> {
    const failure = this.#failure();
    if (failure !== undefined) throw failure as Error;
    // Whatever comes of it: what the log says then is looked at.
    await this.#log.propose(decide, { deadlineMs: roundMs });
  }
}

function unreachable(): OnefoldError {
  return new OnefoldError("unavailable", "The engine's system log can't be reached.", { retryAfterMs: 1000 });
}
