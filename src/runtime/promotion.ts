/**
 * Moving an embedded system to a cluster while it serves (`docs/cluster.md`): its log is copied to the engine, sealed, and activated by
 * compare-and-set in the cluster's system log.
 *
 *     copying ──all but little is there──▶ pausing ──sealed──▶ deciding ──▶ activated: the cluster has the system
 *        │ anything fails                     │ not sealed       └────────▶ abandoned: the embedded node goes on
 *        └──────────▶ the embedded node goes on ◀┘
 *
 * PM1 Before the seal the embedded node is alive and the cluster is not: nothing activates an attempt whose log is not sealed.
 * PM2 After the seal neither is, until the system log says which (PF1): the seal is in the log before the activation is proposed, and a
 *     sealed log is served only once its attempt is abandoned (PS1).
 * PM3 What is activated is whole: all records were read back from the engine and hold the chain up to the seal. The snapshot that the
 *     cluster begins with is the store at the seal; the first owner tells the digest of what it has made of it, which is compared.
 * PM4 The pause is bounded: what is not activated within `finishMs` is abandoned, as soon as the engine can be asked.
 */
import { toHex } from "../base/bytes.ts";
import { OnefoldError } from "../base/errors.ts";
import type { Limits } from "../base/limits.ts";
import { beginContinuingLog, firstPlace } from "../cluster/continuing-log.ts";
import { LogCopier } from "../cluster/log-copier.ts";
import { type Activation, identityOf, type PromotionFate, PromotionLog } from "../cluster/promotion-log.ts";
import { positionAsText } from "../cluster/shard-repair.ts";
import type { ClusterIdentity, RegionsState } from "../cluster/system-state.ts";
import { readGenesis, readGenesisPayload } from "../entity/genesis.ts";
import { replay } from "../entity/replay.ts";
import { stateDigest } from "../entity/state-digest.ts";
import type { Host } from "../host/host.ts";
import type { ChainLink } from "../log/chain.ts";
import type { Log } from "../log/log.ts";
import type { Store } from "../store/store.ts";
import type { PromotionOptions, PromotionProgress, PromotionReport } from "../wire/promotion.ts";
import type { ClusterEngine } from "./cluster-engine.ts";
import { clearPromotionCopy, promotionSystemDirectory, writePromotionFile } from "./promotion-file.ts";
import { appendPromotionSeal } from "./promotion-seal.ts";
import { MovingSnapshot } from "./moving-snapshot.ts";

/** What moves. */
export interface MovingSystem {
  readonly log: Log;
  readonly store: Store;
  /** Takes no more calls; at return all that was accepted is in the log, which nobody else appends to. Called once. */
  pause(): Promise<void>;
  /** See `Applier.watchDirtySlots`. */
  watchDirtySlots(listener: (slot: number) => void): () => void;
  /** The cluster has it: said before the rest is looked at. */
  activated(facts: { readonly cluster: string; readonly nodes: readonly string[] }): Promise<void>;
  /** False: give up. */
  isWanted(): boolean;
}

export interface PromotionParts {
  readonly host: Pick<Host, "clock" | "timers" | "random" | "disk" | "trace">;
  readonly limits: Limits;
  readonly system: MovingSystem;
  readonly options: PromotionOptions;
  /** That the cluster is to have: those of the system's code, where that is known. */
  readonly regions: RegionsState | undefined;
  /** Connected to `target`. Stays the caller's to close. */
  readonly engine: ClusterEngine;
  readonly onProgress: (progress: PromotionProgress) => void;
}

/** `undecided`: the node ends before it is known (PM2). */
export type PromotionOutcome =
  | { readonly kind: "activated"; readonly report: PromotionReport }
  | { readonly kind: "abandoned"; readonly seal: ChainLink; readonly cause: unknown }
  | { readonly kind: "undecided" };

/** So much of the log is left to the pause. */
const leftRecordsMax = 256;
const roundsMax = 64;
/** How long a node of the cluster is waited for. */
const nodesMs = 15 * 60_000;
const finishMs = 20_000;
const beginMs = 60_000;
/** How long the first owner's word of what it has found is waited for. */
const verifiedMs = 60_000;
const retryMs = 250;
const settleRetryMs = 500;

/**
 * Moves the system. Throws where nothing was sealed: `invalid-configuration` (retry never) for a lax engine, for a cluster that is not new;
 * `unavailable` (safe), `damaged` (never), `DiskError`. Then the system goes on where it is; whoever called `pause` for it undoes that.
 */
export async function promote(parts: PromotionParts): Promise<PromotionOutcome> {
  const { host, limits, engine, options, system } = parts;
  await assertStrict(parts);
  const genesis = readGenesis(system.store);
  const cluster = identityOf(system.log.end!.incarnation, genesis, options);
  await clearPromotionCopy(host.disk);
  await writePromotionFile(host.disk, { target: options.target, cluster: cluster.id, status: "moving", nodes: [] });
  const promotionLog = await PromotionLog.open({
    host,
    limits,
    engine: engine.logs,
    directory: promotionSystemDirectory,
  });
  try {
    return await new Promotion(parts, promotionLog, cluster).run();
  } finally {
    await promotionLog.close();
  }
}

async function assertStrict({ engine, options, regions, host }: PromotionParts): Promise<void> {
  const laxities = await engine.logs.laxities({ regions: regions?.list.map(({ name }) => name) ?? [] });
  if (laxities.length === 0) return;
  const what = laxities.join(" ");
  if (!options.allowsLaxEngine) {
    const message = `The engine may lose what it acknowledges: ${what} Mend that, or pass --unsafe-durability.`;
    throw new OnefoldError("invalid-configuration", message, { details: { laxities: [...laxities] } });
  }
  host.trace("warn", "The engine may lose what it acknowledges, and the system was told to move there all the same.", {
    laxities,
  });
}

export interface SettleParts {
  readonly host: PromotionParts["host"];
  readonly limits: Limits;
  /** Called again where it throws `unavailable`. */
  readonly connect: () => Promise<ClusterEngine>;
  readonly cluster: string;
  readonly attempt: string;
  readonly isWanted: () => boolean;
}

/**
 * What has become of an attempt whose seal stands in the log: `abandoned` by this very call, unless the activation was first (PM2).
 * Asks until it is known; undefined where it is not wanted any more. Throws as `PromotionLog.settle`, and `DiskError`.
 */
export async function settlePromotion(
  parts: SettleParts,
): Promise<{ readonly fate: PromotionFate; readonly nodes: readonly string[] } | undefined> {
  const { host, isWanted } = parts;
  while (isWanted()) {
    try {
      return await settleOnce(parts);
    } catch (error) {
      if (!(error instanceof OnefoldError) || error.retry !== "safe") throw error;
      host.trace("warn", "The cluster's engine can't say yet what became of the move. Nothing is served before.", {
        error,
      });
    }
    await new Promise<void>((resolve) => host.timers.after(settleRetryMs, resolve, { keepsAlive: true }));
  }
  return undefined;
}

async function settleOnce({ host, limits, connect, cluster, attempt, isWanted }: SettleParts) {
  const engine = await connect();
  try {
    const log = await PromotionLog.open({ host, limits, engine: engine.logs, directory: promotionSystemDirectory });
    try {
      while (isWanted()) {
        const fate = await log.settle(cluster, attempt);
        if (fate !== undefined) return { fate, nodes: log.httpUrls };
      }
      return undefined;
    } finally {
      await log.close();
    }
  } finally {
    await engine.close();
  }
}

class Promotion {
  readonly #parts: PromotionParts;
  readonly #system: MovingSystem;
  readonly #log: PromotionLog;
  readonly #cluster: ClusterIdentity;
  readonly #attempt: string;
  readonly #shardLog: string;
  readonly #snapshot: MovingSnapshot;
  #copier!: LogCopier;

  constructor(parts: PromotionParts, log: PromotionLog, cluster: ClusterIdentity) {
    const { host, engine, system } = parts;
    this.#parts = parts;
    this.#system = system;
    this.#log = log;
    this.#cluster = cluster;
    this.#attempt = toHex(host.random.bytes(16));
    this.#shardLog = `shard-0-${toHex(host.random.bytes(6))}`;
    this.#snapshot = new MovingSnapshot({
      store: system.store,
      timers: host.timers,
      blobs: engine.blobs(firstPlace(this.#shardLog)),
      watchDirtySlots: (listener) => system.watchDirtySlots(listener),
    });
  }

  async run(): Promise<PromotionOutcome> {
    try {
      return await this.#run();
    } finally {
      this.#snapshot.close();
    }
  }

  async #run(): Promise<PromotionOutcome> {
    const { host, options } = this.#parts;
    const { clock, trace } = host;
    const copyLog = await this.#begin();
    await this.#copyMost();
    this.#tell("snapshot");
    await this.#snapshot.take();
    await this.#copyMost();
    await this.#waitForNodes();
    await this.#snapshot.take();
    await this.#copyMost();
    this.#tell("pausing");
    const pausedAtMs = clock.monotonicMs();
    await this.#system.pause();
    const detail = `the system moves to the cluster ${this.#cluster.id} on ${options.target.to}`;
    const seal = await appendPromotionSeal(this.#system.log, host, { attempt: this.#attempt, detail });
    this.#tell("sealed");
    trace("info", "The log is sealed: the system moves to the cluster now.", { sequence: seal.sequence });
    const { fate, cause } = await this.#decide(seal, copyLog, pausedAtMs + finishMs);
    if (fate === undefined) return { kind: "undecided" };
    if (fate === "abandoned") return { kind: "abandoned", seal, cause };
    const pausedMs = Math.round(clock.monotonicMs() - pausedAtMs);
    await this.#system.activated({ cluster: this.#cluster.id, nodes: this.#log.httpUrls });
    this.#tell("activated");
    return { kind: "activated", report: await this.#report(seal, pausedMs) };
  }

  /** What both sides have: compared once the first owner has told. */
  async #report(seal: ChainLink, pausedMs: number): Promise<PromotionReport> {
    const { clock } = this.#parts.host;
    const view = this.#system.store.view();
    try {
      const digest = toHex(await stateDigest(view, () => this.#takeTurn()));
      const endMs = clock.monotonicMs() + verifiedMs;
      while (
        this.#log.state.promotion?.verified === undefined &&
        clock.monotonicMs() < endMs &&
        this.#system.isWanted()
      ) {
        await this.#pause(retryMs);
      }
      const verified = this.#log.state.promotion?.verified;
      return {
        cluster: this.#cluster.id,
        attempt: this.#attempt,
        sequence: seal.sequence,
        hash: toHex(seal.hash),
        firstSequence: this.#copier.firstSequence,
        digest,
        ...(verified === undefined ? {} : { clusterDigest: verified.digest }),
        pausedMs,
        nodes: this.#log.httpUrls,
      };
    } finally {
      view.close();
    }
  }

  // ------------------------------------------------------------------------------------------------------------ copying

  /** The name of the log that is copied to. */
  async #begin(): Promise<string> {
    const { engine, regions } = this.#parts;
    const deadlineMs = beginMs;
    const earlier = await this.#log.earlierCopy(this.#cluster.id, { deadlineMs });
    const opened = earlier === undefined ? undefined : await engine.logs.open(earlier);
    const resumed = opened === undefined ? undefined : await this.#copierOf(opened);
    const name = resumed === undefined ? `embedded-${this.#attempt.slice(0, 12)}` : earlier!;
    await this.#log.begin(this.#cluster, { attempt: this.#attempt, log: name, regions }, { deadlineMs });
    const { firstSequence } = this.#system.log;
    const copier = resumed ?? (await this.#copierOf(await engine.logs.create(name, { firstSequence })));
    if (copier === undefined) throw new OnefoldError("unavailable", "The log changed meanwhile. Try again.");
    this.#copier = copier;
    return name;
  }

  #copierOf(copy: Parameters<typeof LogCopier.resume>[0]["copy"]): Promise<LogCopier | undefined> {
    const { clock, timers } = this.#parts.host;
    const system = this.#system;
    return LogCopier.resume({
      source: system.log,
      copy,
      clock,
      timers,
      onCopied: ({ sequence }) => {
        if (sequence % 1024 === 0) this.#tell("copying");
      },
      isWanted: () => system.isWanted(),
    });
  }

  /** Until little is left. Throws `overloaded` where the system writes faster than the engine takes it. */
  async #copyMost(): Promise<void> {
    for (let round = 0; round < roundsMax; round++) {
      await this.#copier.catchUp();
      await this.#copier.verify();
      this.#tell("copying");
      if (this.#endSequence - this.#copier.nextSequence < leftRecordsMax) return;
    }
    throw new OnefoldError(
      "overloaded",
      "The system writes faster than the engine takes it. Try when there is less to do.",
    );
  }

  async #waitForNodes(): Promise<void> {
    const { clock } = this.#parts.host;
    const endMs = clock.monotonicMs() + nodesMs;
    while (this.#log.liveMembers === 0) {
      this.#assertWanted();
      if (clock.monotonicMs() >= endMs) {
        throw new OnefoldError("unavailable", "No node of the cluster has joined it. Start some, then promote again.");
      }
      this.#tell("waiting");
      await this.#pause(retryMs);
      await this.#copier.catchUp();
    }
  }

  // ----------------------------------------------------------------------------------------------------------- deciding

  /** PM4. */
  async #decide(
    seal: ChainLink,
    copyLog: string,
    endMs: number,
  ): Promise<{ fate: PromotionFate | undefined; cause: unknown }> {
    const { clock, trace } = this.#parts.host;
    let cause: unknown;
    let activation: Activation | undefined;
    while (this.#system.isWanted() && clock.monotonicMs() < endMs) {
      try {
        if (activation === undefined) {
          await this.#finish(seal);
          activation = await this.#beginLog(seal, copyLog, endMs);
        }
        const fate = await this.#log.activate(this.#cluster.id, this.#attempt, activation);
        if (fate !== undefined) return { fate, cause };
      } catch (error) {
        cause = error;
        trace("warn", "The move to the cluster could not be finished yet.", { error });
        if (!(error instanceof OnefoldError) || error.retry !== "safe") break;
      }
      await this.#pause(retryMs);
    }
    while (this.#system.isWanted()) {
      const fate = await this.#log.settle(this.#cluster.id, this.#attempt);
      if (fate !== undefined) return { fate, cause };
      trace("warn", "The engine can't be asked what became of the move; nothing is served before that is known.", {});
      await this.#pause(retryMs);
    }
    return { fate: undefined, cause };
  }

  /** Copies the rest, and brings the store to the seal. */
  async #finish(seal: ChainLink): Promise<void> {
    const { log, store } = this.#system;
    await this.#copier.catchUp();
    await this.#copier.verify();
    if (this.#copier.nextSequence !== seal.sequence + 1) throw new OnefoldError("damaged", "The copy ends elsewhere.");
    this.#snapshot.note(await replay(log, store, () => undefined));
  }

  /** The log that the cluster goes on with. */
  async #beginLog(seal: ChainLink, copyLog: string, endMs: number): Promise<Activation> {
    const { host, engine } = this.#parts;
    const { clock } = host;
    const { store } = this.#system;
    const { earlier } = this.#snapshot;
    const view = store.view();
    try {
      const incarnation = await beginContinuingLog({
        host,
        engine: engine.logs,
        name: this.#shardLog,
        parent: seal,
        parentLog: copyLog,
        parentGenesis: readGenesisPayload(store),
        view,
        blobs: engine.blobs(firstPlace(this.#shardLog)),
        ...(earlier === undefined ? {} : { earlier }),
        isWanted: () => this.#system.isWanted() && clock.monotonicMs() < endMs,
      });
      const parent = { log: copyLog, ...positionAsText(seal) };
      return { log: this.#shardLog, incarnation: toHex(incarnation), parent };
    } finally {
      view.close();
    }
  }

  // ------------------------------------------------------------------------------------------------------------ the rest

  get #endSequence(): number {
    return this.#system.log.end?.sequence ?? 0;
  }

  #tell(step: PromotionProgress["step"]): void {
    const sequence = this.#copier.nextSequence - 1;
    this.#parts.onProgress({ step, sequence, endSequence: this.#endSequence });
  }

  #assertWanted(): void {
    if (!this.#system.isWanted()) throw new OnefoldError("not-ready", "The node is stopping.", { retryAfterMs: 1000 });
  }

  #takeTurn(): Promise<void> {
    return new Promise((resolve) => this.#parts.host.timers.soon(resolve));
  }

  #pause(delayMs: number): Promise<void> {
    return new Promise((resolve) => this.#parts.host.timers.after(delayMs, resolve, { keepsAlive: true }));
  }
}
