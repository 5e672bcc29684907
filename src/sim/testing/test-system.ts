/**
 * A user's system in one line of a test: the real log, executor, transactions, messages and timers, in this process, on a
 * simulated disk, and in a time that stands still until the test moves it.
 *
 * T1  Time passes only in `advance`, and by some milliseconds in calls, as a real node's disk takes them.
 * T2  What a call has answered survives `crash`.
 * T3  The same calls with the same seed give the same answers, random numbers and ids included.
 */
import { OnefoldError } from "../../base/errors.ts";
import type { Limits } from "../../base/limits.ts";
import { SeededRandom } from "../../base/random.ts";
import type { Client } from "../../entity/client-types.ts";
import type { SystemHandle } from "../../entity/definition.ts";
import type { Principal, Service } from "../../entity/service.ts";
import { nodeClock, nodeTimers } from "../../host/node/clock.ts";
import { inProcessClient } from "../../runtime/in-process-client.ts";
import { FaultCounts } from "../faults.ts";
import { Scheduler } from "../scheduler.ts";
import { drivenService } from "./driven-service.ts";
import { LoneNode, unanswered } from "./lone-node.ts";

export interface TestSystemOptions {
  /** For everything random; default 0. */
  readonly seed?: string | number;
  /** What the clock shows at first; default 2026-01-01T00:00:00Z. */
  readonly startAt?: Date;
  /** Who calls; by default the developer, with every scope. */
  readonly principal?: Principal;
  /** Receives the node's log lines from `warn` on; by default they are forgotten. */
  readonly onTrace?: (line: { readonly level: string; readonly message: string }) => void;
}

export interface TestSystem<S extends SystemHandle> {
  /** Typed as the ordinary client. Calls fail with `Refused` and `OnefoldError`, as there. */
  readonly client: Client<S>;
  /** The same for somebody else, to test what a command makes of its caller. */
  clientAs(principal: Principal): Client<S>;
  /** Raw state, lists, history, deletion: whatever the typed client has no method for. */
  readonly service: Service;
  /** The node's time. */
  readonly now: Date;
  /** Lets time pass: timers that fall due fire, each at its time. Throws `invalid-value` and, once closed, `stopped`. */
  advance(durationMs: number): Promise<void>;
  /** Cuts the power and starts again from what is on the disk. Calls under way fail with `outcome-unknown`. */
  crash(): Promise<void>;
  /** Stops in good order and starts again. */
  restart(): Promise<void>;
  /** Ends it. Idempotent. */
  close(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

/** What a node does once a second it does every ten minutes here, so that a test may let a year pass. */
const limits: Partial<Limits> = { anchorIntervalMs: 600_000, housekeepingIntervalMs: 600_000 };

/** So much time may pass at once for a call; after that no faster than real time, lest deadlines pass while user code waits. */
const freeMs = 1000;

const developer: Principal = { tenant: "default", subject: "test", scopes: ["*"] };

/** Starts `system`; at return it serves. Throws `invalid-definition` and `invalid-value` (retry `never`). */
export async function testSystem<S extends SystemHandle>(
  system: S,
  options: TestSystemOptions = {},
): Promise<TestSystem<S>> {
  const running = new RunningTestSystem(system, options);
  await running.opened();
  return running;
}

class RunningTestSystem<S extends SystemHandle> implements TestSystem<S> {
  readonly #system: S;
  readonly #scheduler = new Scheduler({ eventsMax: Number.MAX_SAFE_INTEGER });
  readonly #node: LoneNode;
  /** What the test waits for just now: events run only while there is any. */
  #pendingCount = 0;
  #pump: Promise<void> | undefined;
  /** Time may pass until then, for what is waited for. */
  #untilMs = 0;
  #closed: Promise<void> | undefined;
  readonly service: Service;
  readonly client: Client<S>;

  constructor(system: S, { seed = 0, startAt, principal = developer, onTrace }: TestSystemOptions) {
    this.#system = system;
    this.#node = new LoneNode({
      system,
      scheduler: this.#scheduler,
      random: new SeededRandom(seed),
      counts: new FaultCounts(),
      limits,
      onTrace: (line) => {
        if (line.level === "warn" || line.level === "error") onTrace?.(line);
      },
    });
    if (startAt !== undefined && Number.isNaN(startAt.getTime())) {
      throw new OnefoldError("invalid-value", "A test system's clock begins with a valid Date.");
    }
    if (startAt !== undefined) this.#node.node.jumpWall(startAt.getTime() - this.#node.node.clock.wallMs());
    this.service = drivenService(
      (run) => this.#call(run),
      () => this.#present,
    );
    this.client = inProcessClient(system, this.service, principal);
  }

  async opened(): Promise<void> {
    await this.#drive(() => this.#node.serving());
  }

  clientAs(principal: Principal): Client<S> {
    return inProcessClient(this.#system, this.service, principal);
  }

  get now(): Date {
    return new Date(this.#node.node.clock.wallMs());
  }

  async advance(durationMs: number): Promise<void> {
    if (!(durationMs >= 0 && durationMs < Number.POSITIVE_INFINITY)) {
      throw new OnefoldError("invalid-value", "Time is advanced by a number of milliseconds, 0 or more.");
    }
    this.#assertOpen();
    await this.#drive(() => this.#scheduler.sleep(durationMs), durationMs);
  }

  async crash(): Promise<void> {
    this.#assertOpen();
    await this.#drive(async () => {
      const { end } = await this.#node.serving();
      this.#node.crash();
      await end;
      await this.#node.serving();
    });
  }

  async restart(): Promise<void> {
    this.#assertOpen();
    await this.#drive(async () => {
      await this.#node.restart();
      await this.#node.serving();
    });
  }

  close(): Promise<void> {
    this.#closed ??= this.#drive(() => this.#node.close());
    return this.#closed;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #call<T>(run: (service: Service) => Promise<T>): Promise<T> {
    this.#assertOpen();
    return this.#drive(async () => {
      const { service, end } = await this.#node.serving();
      return Promise.race([run(service), end.then(unanswered)]);
    });
  }

  #assertOpen(): void {
    if (this.#closed !== undefined) throw new OnefoldError("stopped", "The test system has been closed.");
  }

  get #present(): Service {
    const { service } = this.#node;
    if (service === undefined) throw new OnefoldError("not-ready", "The node is not up.", { retryAfterMs: 100 });
    return service;
  }

  /** Runs events until what `begin` began has settled. Several may wait at once; one loop runs for all of them. */
  async #drive<T>(begin: () => Promise<T>, durationMs = freeMs): Promise<T> {
    this.#pendingCount++;
    this.#untilMs = Math.max(this.#untilMs, this.#scheduler.nowMs + durationMs);
    try {
      const result = begin();
      this.#pump ??= this.#pumpEvents();
      return await Promise.race([result, this.#node.run().then(() => result)]);
    } finally {
      this.#pendingCount--;
    }
  }

  async #pumpEvents(): Promise<void> {
    const isIdle = (): boolean => this.#pendingCount === 0;
    while (!isIdle()) {
      await this.#scheduler.run({ stopWhen: isIdle, untilMs: this.#untilMs });
      if (isIdle()) break;
      // Somebody still waits: for the test's own code, perhaps, which gets a turn.
      const before = nodeClock.monotonicMs();
      await new Promise<void>((resolve) => nodeTimers.after(1, resolve, { keepsAlive: true }));
      this.#untilMs += nodeClock.monotonicMs() - before;
    }
    this.#pump = undefined;
  }
}
