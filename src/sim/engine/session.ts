/**
 * A simulated node's connection to the engine: requests go to one of the servers, its home, and by it to whoever leads. One session
 * for each life of a node.
 *
 * SE1 A request settles once, within `answerMs` or a little more, unless the life has ended by then: then never.
 * SE2 What is not answered may still have been carried out, or be carried out later.
 * SE3 The home is left when its process dies or an answer is missing, for another server that is reached.
 */
import { OnefoldError } from "../../base/errors.ts";
import type { SeededRandom } from "../../base/random.ts";
import type { FaultCounts } from "../faults.ts";
import type { NodeLife } from "../life.ts";
import type { SimulatedNetwork } from "../network.ts";
import type { Scheduled, Scheduler } from "../scheduler.ts";
import type { EngineCosts } from "./engine-costs.ts";
import type { EngineFaultRates, EngineTimes } from "./engine-faults.ts";
import type { EngineServers } from "./engine-servers.ts";

/** What sessions need of the engine. */
export interface SessionWorld {
  readonly scheduler: Scheduler;
  readonly network: SimulatedNetwork;
  readonly counts: FaultCounts;
  readonly servers: EngineServers;
  readonly times: EngineTimes;
  readonly costs: EngineCosts | undefined;
  readonly rates: EngineFaultRates;
}

export type Answer<T> = { readonly value: T } | { readonly error: OnefoldError };

/** How the server's side answers a request. At most one of the two is called, `answer` at any time. */
export interface Reply<T> {
  /** True once the client has given up. */
  readonly isExpired: boolean;
  /** Says whether the client will learn of it. */
  answer(answer: Answer<T>): boolean;
  /** There will be no answer, or not in good time: the client gives up when its time has passed. */
  silence(): void;
}

export interface EngineRequest<T> {
  /** How much later than usual it arrives. */
  readonly lateMs?: number;
  /** What it carries; default 0. */
  readonly bytes?: number;
  /** Carried out at `server`, where it arrives. */
  readonly perform: (server: string, reply: Reply<T>) => void;
  /** What the client makes of there being no answer. */
  readonly expired: () => Answer<T>;
}

export function unavailable(message: string): OnefoldError {
  return new OnefoldError("unavailable", `${message} Try again later.`);
}

export class EngineSession {
  readonly node: string;
  readonly life: NodeLife;
  readonly random: SeededRandom;
  readonly #world: SessionWorld;
  #home: string | undefined;
  #isSuspect = false;
  #isClosed = false;

  constructor(
    world: SessionWorld,
    options: { readonly node: string; readonly life: NodeLife; readonly random: SeededRandom },
  ) {
    this.#world = world;
    this.node = options.node;
    this.life = options.life;
    this.random = options.random;
  }

  /** The server that requests go to now; undefined while none is reached. */
  home(): string | undefined {
    const { servers } = this.#world;
    if (this.#home !== undefined && servers.isUp(this.#home) && !this.#isSuspect) return this.#home;
    const reached = servers.all
      .filter(({ name, state }) => state === "running" && servers.isOpen(this.node, name))
      .map(({ name }) => name);
    const others = reached.filter((name) => name !== this.#home);
    this.#isSuspect = false;
    this.#home = reached.length === 0 ? undefined : this.random.pick(others.length === 0 ? reached : others);
    return this.#home;
  }

  /** From now on requests end at once, as if there were no answer. */
  close(): void {
    this.#isClosed = true;
  }

  /** One way, with what a message of `bytes` takes. */
  wayMs(bytes = 0): number {
    const [from, to] = this.#world.times.wayMs;
    return from + this.random.next() * (to - from) + bytes / 100_000;
  }

  ask<T>(request: EngineRequest<T>): Promise<T> {
    const { life } = this;
    return new Promise((resolve, reject) => {
      if (!life.alive) return;
      const moment = life.count();
      if (moment === "before") {
        life.end();
        return;
      }
      const exchange = new Exchange(this.#world, this, request, (answer) => {
        if (moment === "after") life.end();
        else life.whenAwake(() => ("value" in answer ? resolve(answer.value) : reject(answer.error)));
      });
      if (this.#isClosed) exchange.end(request.expired());
      else exchange.send(this.home());
      if (moment === "during") life.end();
    });
  }

  /** An answer is missing: the home is left for another server (SE3). */
  suspectHome(): void {
    this.#isSuspect = true;
  }
}

/** One request under way. A class, since there are many: closures made for each would cost several times as much. */
class Exchange<T> implements Reply<T> {
  readonly #world: SessionWorld;
  readonly #session: EngineSession;
  readonly #request: EngineRequest<T>;
  readonly #settle: (answer: Answer<T>) => void;
  readonly #sentMs: number;
  #home = "";
  #isOver = false;
  #expiry: Scheduled | undefined;

  constructor(
    world: SessionWorld,
    session: EngineSession,
    request: EngineRequest<T>,
    settle: (answer: Answer<T>) => void,
  ) {
    this.#world = world;
    this.#session = session;
    this.#request = request;
    this.#settle = settle;
    this.#sentMs = world.scheduler.nowMs;
  }

  get isExpired(): boolean {
    return this.#isOver;
  }

  send(home: string | undefined): void {
    if (home === undefined) {
      this.silence();
      return;
    }
    this.#home = home;
    const { lateMs = 0, bytes = 0 } = this.#request;
    const afterMs = this.#session.wayMs() + lateMs + (this.#world.costs?.requestMs(home, bytes) ?? 0);
    const isUnderWay = this.#world.servers.carry(this.#session.node, home, { afterMs, step: () => this.#arrive() });
    if (!isUnderWay || lateMs > 0) this.silence();
  }

  #arrive(): void {
    const isCarriedOut = this.#world.servers.arrive(this.#home, () => this.#request.perform(this.#home, this));
    if (!isCarriedOut) this.silence();
  }

  answer(answer: Answer<T>): boolean {
    const { servers } = this.#world;
    const isSent =
      !this.#isOver &&
      this.#session.life.alive &&
      servers.isRunning(this.#home) &&
      servers.carry(this.#home, this.#session.node, {
        afterMs: this.#session.wayMs(),
        step: () => this.end(answer),
      });
    if (!isSent) this.silence();
    return isSent;
  }

  silence(): void {
    if (this.#isOver || this.#expiry !== undefined) return;
    const { scheduler, times } = this.#world;
    this.#expiry = scheduler.at(Math.max(0, this.#sentMs + times.answerMs - scheduler.nowMs), () => {
      this.#session.suspectHome();
      this.end(this.#request.expired());
    });
  }

  end(answer: Answer<T>): void {
    if (this.#isOver || !this.#session.life.alive) return;
    this.#isOver = true;
    this.#expiry?.cancel();
    this.#settle(answer);
  }
}
