/** What runs on a simulated system while it comes to harm: the user's workloads, and the checks of the user's invariants. */
import { OnefoldError } from "../../base/errors.ts";
import type { SeededRandom } from "../../base/random.ts";
import type { Client } from "../../entity/client-types.ts";
import type { SystemHandle } from "../../entity/definition.ts";
import type { Principal } from "../../entity/service.ts";
import { inProcessClient } from "../../runtime/in-process-client.ts";
import { deferred } from "../deferred.ts";
import type { FaultCounts } from "../faults.ts";
import type { TraceLine } from "../host.ts";
import type { Scheduler } from "../scheduler.ts";
import type { ClientDeath } from "./client-death.ts";
import { PatientService, type PatientServiceOptions, type Served } from "./patient-service.ts";
import { answersWithinMs, BrokenPromise, type Simulation, workloadsDefault } from "./simulation.ts";

export const developer: Principal = { tenant: "default", subject: "simulation", scopes: ["*"] };

export interface SystemWorkOptions<S extends SystemHandle> {
  readonly system: S;
  readonly simulation: Simulation<S>;
  readonly scheduler: Scheduler;
  readonly random: SeededRandom;
  readonly counts: FaultCounts;
  readonly served: Served;
  /** Of the workload's client; asked once for each, then at each of its calls. */
  readonly death: (workload: number) => () => ClientDeath | undefined;
  /** For the workloads' clients. */
  readonly calls?: Pick<PatientServiceOptions, "onCommand" | "repeats">;
  readonly deadlineMs?: number;
}

type ClientOptions = Pick<PatientServiceOptions, "note" | "death" | "onDeath" | "onAnswer" | "onCommand" | "repeats">;

export class SystemWork<S extends SystemHandle> {
  readonly #options: SystemWorkOptions<S>;
  /** Calls of workloads that were answered. */
  operations = 0;
  checks = 0;

  constructor(options: SystemWorkOptions<S>) {
    this.#options = options;
  }

  /** Resolves when all have ended, or died; rejects with what one of them threw. */
  async run(): Promise<void> {
    const { workloads = workloadsDefault } = this.#options.simulation;
    await Promise.all(Array.from({ length: workloads }, (_, index) => this.#workload(index)));
  }

  async #workload(index: number): Promise<void> {
    const { scheduler, random, counts, simulation } = this.#options;
    const note = (text: string): void => scheduler.note(`workload ${index}: ${text}`);
    const { promise: died, resolve: die } = deferred();
    const onDeath = (): void => {
      counts.add("client-crash");
      note("fault: its client died");
      die();
    };
    const onAnswer = (): void => {
      this.operations++;
    };
    const service = this.service({
      note,
      death: this.#options.death(index),
      onDeath,
      onAnswer,
      ...this.#options.calls,
    });
    const work = simulation.workload({
      client: this.#client(service),
      index,
      random: random.fork(`workload ${index}`),
      sleep: (durationMs) => scheduler.sleep(durationMs),
      note,
    });
    await Promise.race([work, died]);
  }

  /** Throws `BrokenPromise` for the first invariant that doesn't hold. */
  async check({ isAtRest = false } = {}): Promise<void> {
    const client = this.#client(this.service({ note: () => undefined }));
    const { invariants = {}, atRest = {} } = this.#options.simulation;
    for (const [name, invariant] of Object.entries(isAtRest ? { ...invariants, ...atRest } : invariants)) {
      this.checks++;
      const reason = `invariant ${name}`;
      let isRight: unknown;
      try {
        isRight = await invariant(client);
      } catch (cause) {
        if (cause instanceof BrokenPromise) throw cause;
        const what = cause instanceof Error ? (cause.stack ?? cause.message) : String(cause);
        throw new BrokenPromise(reason, `The invariant '${name}' does not hold. ${what}`, { cause });
      }
      if (isRight === false) throw new BrokenPromise(reason, `The invariant '${name}' does not hold.`);
    }
  }

  /** The calls of one client, as the ordinary one makes them. */
  service(how: ClientOptions): PatientService {
    const { scheduler, served, deadlineMs } = this.#options;
    return new PatientService({
      served,
      principal: developer,
      sleep: (durationMs) => scheduler.sleep(durationMs),
      patienceMs: answersWithinMs,
      nowMs: () => scheduler.nowMs,
      ...(deadlineMs === undefined ? {} : { deadlineMs }),
      ...how,
    });
  }

  #client(service: PatientService): Client<S> {
    return inProcessClient(this.#options.system, service, developer);
  }

  /** Throws `deadline-passed` where `promise` takes longer. */
  async within<T>(limitMs: number, promise: Promise<T>, what: string): Promise<T> {
    const late = Symbol("late");
    const result = await Promise.race([promise, this.#options.scheduler.sleep(limitMs).then((): typeof late => late)]);
    if (result === late)
      throw new OnefoldError(
        "deadline-passed",
        `${what} did not come within ${limitMs} ms of virtual time. (Workloads wait by their own sleep, in virtual time: what is ` +
          "waited for in real time may never come.)",
      );
    return result as T;
  }
}

/** For a transcript. */
export function traceText({ level, message, fields }: TraceLine): string {
  const facts = Object.entries(fields).map(
    ([name, value]) => ` ${name}=${value instanceof Error ? value.message : JSON.stringify(value)}`,
  );
  return `${level}: ${message}${facts.join("")}`;
}
