/**
 * The simulated node over all its lives: started again after every crash and every failure, disturbed as the plan says, until
 * it is healed. Whatever outlives a life is here: the disk, the store's file, the clients' view.
 *
 * W1  A start fails only for a reason that a fault gave it, and never once it is healed.
 * W2  After `heal` nothing is disturbed any more, and the node serves within a bound of virtual time.
 */
import { OnefoldError } from "../../base/errors.ts";
import type { SeededRandom } from "../../base/random.ts";
import type { SystemHandle } from "../../entity/definition.ts";
import type { Service } from "../../entity/service.ts";
import { DiskError } from "../../host/host.ts";
import type { Log } from "../../log/log.ts";
import { EmbeddedNode } from "../../runtime/embedded.ts";
import { type MemoryStoreEngine, memoryStore } from "../../store/engine/memory.ts";
import { deferred } from "../deferred.ts";
import { SimulatedDisk } from "../disk.ts";
import type { FaultCounts } from "../faults.ts";
import { type SimulatedHost, SimulatedNode } from "../host.ts";
import type { Scheduler } from "../scheduler.ts";
import { AmbiguousLog } from "./ambiguous-log.ts";
import type { PresentLife, Reachable } from "./client.ts";
import type { Disturbance, FaultsPlan, LifePlan } from "./faults-plan.ts";
import { LogWitness } from "./log-witness.ts";
import { type CodeVersion, codeVersions, newestVersion } from "./migrations.ts";
import { struckStoreEngine } from "./struck.ts";
import { makeSystemUnderTest } from "./system-under-test.ts";

const startsMax = 200;
const boundless = 2 ** 40;

export interface WorldOptions {
  readonly scheduler: Scheduler;
  readonly random: SeededRandom;
  readonly plan: FaultsPlan;
  readonly counts: FaultCounts;
  readonly onTrace?: (line: string) => void;
}

export class World implements Reachable {
  readonly node: SimulatedNode;
  readonly store: MemoryStoreEngine;
  readonly counts: FaultCounts;
  /** Behaviour that nothing explains. */
  readonly accusations: string[] = [];
  readonly witness = new LogWitness();
  readonly disturbed = new Map<Disturbance, number>();
  /** Lines of the node's log, by their messages: what the simulation has reached. */
  readonly traced = new Map<string, number>();
  readonly #scheduler: Scheduler;
  readonly #random: SeededRandom;
  readonly #plan: FaultsPlan;
  readonly #systems: ReadonlyMap<CodeVersion, SystemHandle>;
  readonly #ambiguity: SeededRandom;
  /** Of the code that the last life ran. */
  #codeVersion: CodeVersion | undefined;
  #host: SimulatedHost | undefined;
  #embedded: EmbeddedNode | undefined;
  #serving = deferred();
  #life: PresentLife = { alive: false, end: Promise.resolve() };
  #healed = false;
  /** How far the wall clock was set, all in all. */
  #jumpedMs = 0;
  #wantsStop = deferred();
  #isOver = false;
  #failure: unknown;
  lifeCount = 0;
  /** Operations of the first life, from its start to its end. */
  firstLifeOperations = 0;

  constructor(options: WorldOptions) {
    const { scheduler, random, plan, counts, onTrace } = options;
    this.#scheduler = scheduler;
    this.#random = random.fork("world");
    this.#plan = plan;
    this.counts = counts;
    const latency = { read: [0.01, 0.2], write: [0.01, 0.1], sync: [0.1, plan.syncMsMax], name: [0.01, 0.2] } as const;
    this.node = new SimulatedNode({
      scheduler,
      random: random.fork("node"),
      counts,
      disk: new SimulatedDisk({ scheduler, random: random.fork("disk"), counts, latency }),
      onTrace: ({ level, message, fields }) => {
        this.traced.set(message, (this.traced.get(message) ?? 0) + 1);
        onTrace?.(`${level} ${message} ${describe(fields)}`);
      },
    });
    const timers = {
      after: (delayMs: number, run: () => void) => this.#host!.timers.after(delayMs, run),
      soon: (run: () => void) => this.#host!.timers.soon(run),
    };
    const delays = random.fork("store-delays");
    this.store = memoryStore({ timers, random: random.fork("store"), applyDelayMs: () => delays.next() * 4 });
    this.#ambiguity = random.fork("ambiguity");
    const surroundings = { spend: (durationMs: number) => this.#host!.guard.spend(durationMs) };
    this.#systems = new Map(codeVersions.map((version) => [version, makeSystemUnderTest(surroundings, version)]));
  }

  // ------------------------------------------------------------------------------------------------- for clients

  async serving(): Promise<Service> {
    for (;;) {
      if (this.#embedded !== undefined) return this.#embedded.service;
      await this.#serving.promise;
    }
  }

  get sessionsExpire(): boolean {
    return this.#plan.swarm.has("session-expiry");
  }

  get life(): PresentLife {
    return this.#life;
  }

  sleep(durationMs: number): Promise<void> {
    return this.#scheduler.sleep(durationMs);
  }

  note(text: string): void {
    this.#scheduler.note(text);
  }

  accuse(what: string): void {
    this.#scheduler.note(`ACCUSED ${what}`);
    this.accusations.push(what);
  }

  /** The running node. */
  get embedded(): EmbeddedNode | undefined {
    return this.#embedded;
  }

  // ------------------------------------------------------------------------------------------------------- lives

  /** Runs lives until `end`. Rejects with what was wrong. */
  async run(): Promise<void> {
    let failedStarts = 0;
    while (!this.#isOver) {
      const plan = this.#healed ? undefined : this.#plan.lives[this.lifeCount];
      const started = await this.#live(plan);
      failedStarts = started ? 0 : failedStarts + 1;
      if (failedStarts > startsMax) throw new Error(`the node did not start in ${startsMax} attempts`);
      if (!this.#isOver) await this.sleep(this.#random.between(1, 100));
    }
    if (this.#failure !== undefined) throw this.#failure;
  }

  async #live(plan: LifePlan | undefined): Promise<boolean> {
    const host = this.node.start();
    this.#host = host;
    const end = deferred();
    this.#life = {
      get alive() {
        return host.life.alive;
      },
      end: end.promise,
    };
    this.#wantsStop = deferred();
    if (this.lifeCount > 0) this.#betweenLives();
    this.lifeCount++;
    const isFirst = this.lifeCount === 1;
    host.life.onEnd(() => {
      if (isFirst) this.firstLifeOperations = host.life.operationCount;
      // In an event of its own: what the dead life's code still does in this one has no effect, but must not fail either.
      this.#scheduler.at(0, () => this.store.crash());
      this.#embedded = undefined;
      end.resolve();
    });
    const crashIn = (phase: "opening" | "serving"): void => {
      if (plan?.crash?.phase === phase && !this.#healed) host.life.crashAt(plan.crash.operation, plan.crash.moment);
    };
    crashIn("opening");
    const stopped = this.#wantsStop;
    if (plan !== undefined)
      this.#scheduler.at(plan.stopAfterMs, () => host.life.alive && !this.#healed && stopped.resolve());
    const failed = deferred();
    const opening = this.#open(host, this.#deploy(plan), () => failed.resolve());
    const node = await Promise.race([opening, end.promise]);
    if (node === undefined) {
      this.node.crash();
      return false;
    }
    crashIn("serving");
    this.#embedded = node;
    this.#serving.resolve();
    this.#serving = deferred();
    await Promise.race([end.promise, failed.promise, stopped.promise]);
    if (host.life.alive) {
      this.note("closing");
      await Promise.race([this.#close(node), end.promise]);
      this.#embedded = undefined;
      this.node.crash();
    }
    return true;
  }

  /** The system that a life runs. */
  #deploy(plan: LifePlan | undefined): SystemHandle {
    const version = plan?.codeVersion ?? newestVersion;
    const before = this.#codeVersion ?? version;
    if (before < version) this.counts.add("migration");
    if (before > version) this.counts.add("code-rollback");
    this.#codeVersion = version;
    return this.#systems.get(version)!;
  }

  #ambiguous(log: Log): Log {
    const isAmbiguous = this.#plan.swarm.has("ambiguous-append");
    return new AmbiguousLog(log, {
      random: this.#ambiguity,
      rate: () => (isAmbiguous && !this.#healed ? 0.1 : 0),
      onAmbiguous: () => {
        this.counts.add("ambiguous-append");
        this.note("ambiguous append");
      },
      onAppend: (bytes) => this.witness.saw(bytes),
    });
  }

  async #open(host: SimulatedHost, system: SystemHandle, onStopped: () => void): Promise<EmbeddedNode | undefined> {
    const { limits, cacheBytes, segmentBytes, reserveBytes, snapshotBytes } = this.#plan;
    try {
      return await EmbeddedNode.open({
        system,
        measureLog: (log) => this.#ambiguous(log),
        host,
        storeEngine: struckStoreEngine(this.store, host.guard),
        limits,
        cacheBytes,
        segmentBytes,
        reserveBytes,
        snapshotBytes,
        onStopped: (error) => {
          this.note(`stopped ${error.code}`);
          this.#mustBeExplained("the node stopped", error);
          onStopped();
        },
      });
    } catch (error) {
      this.note(`open failed ${String(error)}`);
      this.#mustBeExplained("the node did not open", error);
      return undefined;
    }
  }

  async #close(node: EmbeddedNode): Promise<void> {
    try {
      await node.close();
    } catch (error) {
      this.#mustBeExplained("the node did not close", error);
    }
  }

  /** W1. */
  #mustBeExplained(what: string, error: unknown): void {
    const { swarm } = this.#plan;
    const has = (...kinds: readonly Disturbance[]): boolean => kinds.some((kind) => swarm.has(kind));
    const refuses = has("failed-write", "failed-sync", "failed-name");
    const code = error instanceof OnefoldError || error instanceof DiskError ? error.code : "bug";
    const isExplained =
      (error instanceof DiskError && code === "failed" && refuses) ||
      (error instanceof DiskError && code === "full" && has("full-disk", "full-store")) ||
      // What the disk can't read is called damage; this disk fails only for a while.
      (code === "damaged" && refuses && error instanceof OnefoldError && error.cause instanceof DiskError) ||
      (code === "disk-full" && has("full-disk", "full-store")) ||
      (code === "damaged" && has("damaged-store-value")) ||
      (code === "failed" && has("failed-store")) ||
      (code === "stopped" && (refuses || has("full-disk", "full-store", "failed-store")) && !isBug(error));
    if (isExplained && (!this.#healed || this.#isTrailing)) return;
    this.accuse(`${what}: ${error instanceof Error ? `${error.stack}\n${causes(error)}` : String(error)}`);
  }

  /** A failure right after healing may have its cause before it. */
  #isTrailing = false;

  #betweenLives(): void {
    if (this.#healed) return;
    if (this.#strikes("lost-store", 0.3)) this.store.lose();
    if (this.#strikes("damaged-store-file", 0.3)) this.store.damageFile();
  }

  #strikes(kind: Disturbance, probability: number): boolean {
    if (!this.#plan.swarm.has(kind) || !this.#random.chance(probability)) return false;
    this.disturbed.set(kind, (this.disturbed.get(kind) ?? 0) + 1);
    this.note(`disturbance ${kind}`);
    return true;
  }

  // ----------------------------------------------------------------------------------------------- disturbances

  /** Disturbs the running node from time to time until it is healed. */
  async disturb(): Promise<void> {
    const { swarm, disturbMs } = this.#plan;
    const { disk } = this.node;
    disk.faultRates = {
      ...(swarm.has("failed-write") ? { write: 0.002 } : {}),
      ...(swarm.has("failed-sync") ? { sync: 0.003 } : {}),
      ...(swarm.has("failed-name") ? { name: 0.003 } : {}),
    };
    while (!this.#healed) {
      await this.sleep(this.#random.next() * 2 * disturbMs);
      if (this.#healed) return;
      if (disk.capacityBytes < boundless && this.#random.chance(0.3)) disk.capacityBytes = boundless;
      else if (this.#strikes("full-disk", 0.4)) {
        disk.capacityBytes = disk.usedBytes + this.#random.integer(this.#random.pick([1, 30_000]));
      }
      if (this.#strikes("clock-jump", 0.1)) {
        const byMs = this.#random.pick([-5000, -200, 300, 5000]);
        this.node.jumpWall(byMs);
        this.#jumpedMs += byMs;
      }
      if (this.#embedded === undefined) continue;
      if (this.#strikes("full-store", 0.2)) this.store.failNextApply("full");
      else if (this.#strikes("failed-store", 0.05)) this.store.failNextApply("failed");
      if (this.#strikes("damaged-store-value", 0.05)) this.store.damageValue();
      if (this.#strikes("guard-timeout", 0.2)) {
        const { guard } = this.#host!;
        if (this.#random.chance(0.5)) guard.stopCall(this.#random.between(1, 5));
        else guard.strikeAt(this.#random.between(1, 20));
      }
      if (this.#strikes("snapshot", 0.2)) this.#snapshot(this.#embedded);
    }
  }

  #snapshot(node: EmbeddedNode): void {
    const { swarm } = this.#plan;
    const life = this.#life;
    node.snapshot().catch((error: unknown) => {
      if (!life.alive) return;
      const isDamage = error instanceof OnefoldError && error.code === "damaged" && swarm.has("damaged-store-value");
      const isClosing = error instanceof OnefoldError && (error.code === "not-ready" || error.code === "stopped");
      if (!isDamage && !isClosing) this.#mustBeExplained("a snapshot failed", error);
    });
  }

  /** Ends all disturbances. The running life goes on, or another one begins. */
  heal(): void {
    this.note("heal");
    this.#isTrailing = true;
    this.#host?.guard.disarm();
    this.node.disk.faultRates = {};
    this.node.disk.capacityBytes = boundless;
    this.store.failNextApply(undefined);
    // What log time has run ahead of is caught up with, so that timers are due when the wall clock says so.
    this.node.clock.jumpWall(60_000 + Math.abs(this.#jumpedMs));
    this.#host?.life.cancelCrash();
    this.#healed = true;
    // What waits for newer code gets it now.
    if (this.#codeVersion !== newestVersion) this.#wantsStop.resolve();
  }

  /** From here on, a node that stops is accused. */
  settle(): void {
    this.#isTrailing = false;
  }

  /** Ends the running life by a crash, and waits for the next one to serve. */
  async crashAndServe(options: { readonly losesStore?: boolean } = {}): Promise<Service> {
    this.node.crash();
    await this.sleep(0);
    if (options.losesStore === true) this.store.lose();
    return this.serving();
  }

  /** Ends the running life in good order; no other follows. */
  async stop(): Promise<void> {
    this.#isOver = true;
    this.#wantsStop.resolve();
    await this.#life.end;
  }
}

/** A shard that stopped for a bug says so in its cause. */
function isBug(error: unknown): boolean {
  return error instanceof Error && error.message.includes("bug");
}

function causes(error: Error): string {
  const lines: string[] = [];
  for (let cause = error.cause; cause instanceof Error; cause = cause.cause) lines.push(`  because ${cause.stack}`);
  return lines.join("\n");
}

function describe(fields: Readonly<Record<string, unknown>>): string {
  return Object.entries(fields)
    .map(([name, value]) => `${name}=${value instanceof Error ? value.message : JSON.stringify(value)}`)
    .join(" ");
}
