/**
 * An embedded node's part in the move of its system to a cluster (`promotion.ts` is the move itself): it gives up its life for it, takes up
 * another where the move comes to nothing, and finds out at its start what became of one that an earlier process has left undecided.
 *
 * MV1 A log that is sealed for a move is served by nobody here before it is known that the move never takes hold; where it has taken
 *     hold, never again (N5, PS1).
 * MV2 One move at a time. Meanwhile nothing is trimmed: what is copied must still be there.
 * MV3 What ends the shard while it is paused ends the move, before the seal.
 */
import { OnefoldError } from "../base/errors.ts";
import { regionsToFound } from "../cluster/declared-kinds.ts";
import type { SystemDefinition } from "../entity/definition.ts";
import type { Limits } from "../base/limits.ts";
import type { Host, Timer } from "../host/host.ts";
import type { PromotionOptions, PromotionProgress, PromotionReport, PromotionTarget } from "../wire/promotion.ts";
import type { ClusterEngine } from "./cluster-engine.ts";
import { closeFiles, endServing, type Life } from "./life.ts";
import { type MovingSystem, promote, type PromotionOutcome, settlePromotion } from "./promotion.ts";
import { type PromotionFile, readPromotionFile, writePromotionFile } from "./promotion-file.ts";
import { type PromotionSeal, SealedForPromotion } from "./promotion-seal.ts";

/** Connects to the engine of a cluster. Throws `unavailable` (retry safe). */
export type ConnectEngine = (target: PromotionTarget) => Promise<ClusterEngine>;

/** The node whose system moves. */
export interface MovableNode {
  readonly host: Host;
  readonly limits: Limits;
  /** Its regions are the cluster's. */
  readonly system: SystemDefinition;
  /** Absent: it can't move. */
  readonly connectEngine: ConnectEngine | undefined;
  /** The life that serves. Throws `not-ready` (retry safe). */
  present(): Life;
  isPresent(life: Life): boolean;
  isClosing(): boolean;
  /** The present life serves no more, nor does the node; callers are told why. */
  giveUp(why: string): void;
  /** Begins a new life. Throws as the node's opening does. */
  open(): Promise<void>;
  /** The node has stopped for good. */
  stopped(cause: unknown, what: string): void;
}

/** A start waits so long for what has become of a move; then it goes on to wait beside it. */
const decisionMs = 5000;

export class Move {
  readonly #node: MovableNode;
  /** Of this process, or one that an earlier process has left undecided. */
  #underWay: Promise<unknown> | undefined;
  #hasMoved = false;
  #abandonedSeal: Uint8Array | undefined;
  /** MV3. */
  #lostWhilePaused: OnefoldError | undefined;

  constructor(node: MovableNode) {
    this.#node = node;
  }

  get isUnderWay(): boolean {
    return this.#underWay !== undefined;
  }

  /** The hash of a seal behind which the log goes on, since its move has come to nothing. */
  get abandonedSeal(): Uint8Array | undefined {
    return this.#abandonedSeal;
  }

  /** See `EmbeddedNode.promote`. */
  promote(options: PromotionOptions, onProgress: (progress: PromotionProgress) => void): Promise<PromotionReport> {
    if (this.#underWay !== undefined || this.#hasMoved) {
      const message = this.#hasMoved ? "The system has moved already." : "The system is being moved already.";
      return Promise.reject(new OnefoldError("overloaded", message, { retryAfterMs: 1000 }));
    }
    const moving = this.#promote(options, onProgress).finally(() => {
      this.#underWay = undefined;
    });
    this.#underWay = moving;
    return moving;
  }

  async #promote(
    options: PromotionOptions,
    onProgress: (progress: PromotionProgress) => void,
  ): Promise<PromotionReport> {
    const { host, limits, system: definition, connectEngine } = this.#node;
    if (connectEngine === undefined) throw cannotMove();
    const life = this.#node.present();
    const { shardCount } = options;
    const regions = regionsToFound(definition, { named: [], shardCount });
    const engine = await connectEngine(options.target);
    let isPaused = false;
    const system: MovingSystem = {
      log: life.log,
      store: life.store,
      pause: () => {
        isPaused = true;
        return this.#pause(life);
      },
      watchDirtySlots: (listener) => life.shard.applier.watchDirtySlots(listener),
      activated: (facts) => this.#moved(options.target, facts),
      isWanted: () => !this.#node.isClosing() && (isPaused || this.#node.isPresent(life)),
    };
    let outcome: PromotionOutcome;
    try {
      outcome = await promote({ host, limits, system, options, regions, engine, onProgress });
    } catch (error) {
      if (isPaused) await this.#resume(life);
      throw error;
    } finally {
      await engine.close();
    }
    if (outcome.kind === "abandoned") {
      this.#abandonedSeal = outcome.seal.hash;
      await this.#resume(life);
      const message = "The move could not be finished in time; the system is served here on. Try again.";
      throw new OnefoldError("unavailable", message, { cause: outcome.cause, retryAfterMs: 1000 });
    }
    await closeFiles(life);
    if (outcome.kind === "activated") return outcome.report;
    throw new OnefoldError("not-ready", "The node stops; its next start finds out what became of the move.");
  }

  async #pause(life: Life): Promise<void> {
    this.#lostWhilePaused = undefined;
    this.#node.giveUp("The system is moving to a cluster. Ask again in a moment, here or there.");
    await endServing(life);
    if (this.#lostWhilePaused !== undefined) throw this.#lostWhilePaused;
  }

  /** Damage that has ended the shard. True where that was given up for a move already, which then fails (MV3). */
  tookLoss(error: OnefoldError, { hasLife }: { readonly hasLife: boolean }): boolean {
    if (hasLife || !this.isUnderWay) return false;
    this.#lostWhilePaused = error;
    return true;
  }

  /** The move has come to nothing. */
  async #resume(life: Life): Promise<void> {
    await closeFiles(life);
    if (this.#node.isClosing() || this.#hasMoved) return;
    try {
      await this.#node.open();
    } catch (cause) {
      this.#node.stopped(cause, "The system could not be served again after a move that came to nothing.");
    }
  }

  async #moved(
    target: PromotionTarget,
    { cluster, nodes }: { readonly cluster: string; readonly nodes: readonly string[] },
  ): Promise<void> {
    this.#hasMoved = true;
    this.#node.giveUp(movedText(target, nodes));
    await writePromotionFile(this.#node.host.disk, { target, cluster, nodes, status: "moved" });
  }

  /** Opens the node; where its log is sealed, once it is known that it may be (MV1), for which it waits for a while, and beside it from then on. */
  async openOrAsk(): Promise<void> {
    try {
      await this.#node.open();
    } catch (error) {
      if (!(error instanceof SealedForPromotion)) throw error;
      await this.#ask(error.seal);
    }
  }

  async #ask(seal: PromotionSeal): Promise<void> {
    const { disk, timers } = this.#node.host;
    const file = await readPromotionFile(disk);
    if (file === undefined)
      throw new OnefoldError("damaged", `The log is sealed: ${seal.detail}. Where that is, is not known here.`);
    if (file.status === "moved") throw movedError(file.target, file.nodes);
    const { connectEngine } = this.#node;
    if (connectEngine === undefined) throw cannotMove();
    this.#node.giveUp(
      `The system was moving to ${file.target.to}; nothing is served before that can say what came of it.`,
    );
    const deciding = this.#settle(seal, file, connectEngine);
    let timer: Timer | undefined;
    const tooLong = new Promise<"later">((resolve) => {
      timer = timers.after(decisionMs, () => resolve("later"), { keepsAlive: true });
    });
    try {
      if ((await Promise.race([deciding, tooLong])) !== "later") return;
    } finally {
      timer?.cancel();
    }
    this.#underWay = deciding
      .catch((cause: unknown) => this.#node.stopped(cause, "What became of the move to a cluster ends this node."))
      .finally(() => {
        this.#underWay = undefined;
      });
  }

  async #settle(seal: PromotionSeal, { target, cluster }: PromotionFile, connectEngine: ConnectEngine): Promise<void> {
    const { host, limits } = this.#node;
    const settled = await settlePromotion({
      host,
      limits,
      connect: () => connectEngine(target),
      cluster,
      attempt: seal.attempt,
      isWanted: () => !this.#node.isClosing(),
    });
    if (settled === undefined) return;
    if (settled.fate === "abandoned") {
      this.#abandonedSeal = seal.hash;
      return this.#node.open();
    }
    await this.#moved(target, { cluster, nodes: settled.nodes });
    throw movedError(target, settled.nodes);
  }

  /** Resolves when no move is under way any more. What that throws its caller has. */
  async ended(): Promise<void> {
    await Promise.allSettled([this.#underWay]);
  }
}

function cannotMove(): OnefoldError {
  return new OnefoldError("invalid-configuration", "This node can't reach the engine of a cluster.");
}

function movedText({ to }: PromotionTarget, nodes: readonly string[]): string {
  const where = nodes.length === 0 ? "" : `, whose nodes are at ${nodes.join(", ")}`;
  return `The system has moved to the cluster on ${to}${where}.`;
}

function movedError(target: PromotionTarget, nodes: readonly string[]): OnefoldError {
  return new OnefoldError(
    "invalid-configuration",
    `${movedText(target, nodes)} This data directory is served no more: start nodes with --cluster.`,
    { details: { movedTo: { engine: target.to, nodes: [...nodes] } } },
  );
}
