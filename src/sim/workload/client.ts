/**
 * Clients of the simulated node: they send their program's requests, outlive every crash, and send again under the same
 * number or key what was not answered, as the library asks of clients.
 *
 * C1  A request without number or key is sent once; if no answer comes, its outcome is unknown for ever.
 * C2  A request with one is sent until it is answered with something that will not change.
 */
import { OnefoldError, Refused } from "../../base/errors.ts";
import type { CallOptions, Principal, Service } from "../../entity/service.ts";
import type { ProgramAction, ProgramClient } from "./program.ts";
import type { Outcome, RecordedRequest, Recording, Request } from "./recording.ts";

/** One life of the node, as clients know of it: what is unanswered at its end will never be answered. */
export interface PresentLife {
  readonly alive: boolean;
  readonly end: Promise<void>;
}

/** What clients see of the node. */
export interface Reachable {
  /** Resolves once the node serves. */
  serving(): Promise<Service>;
  /** The node's present life. */
  readonly life: PresentLife;
  sleep(durationMs: number): Promise<void>;
  note(text: string): void;
  /** Told of behaviour that nothing explains. */
  accuse(what: string): void;
}

export const simulatedPrincipal: Principal = { tenant: "default", subject: "sim", scopes: ["*"] };

const retryDelayMs = 50;
const patientMs = 20_000;
const attemptsMax = 1000;

export class SimulatedClient {
  readonly #world: Reachable;
  readonly #recording: Recording;
  readonly #program: ProgramClient;
  #token: string | undefined;
  #lastNumber = 0;
  readonly #unanswered = new Set<number>();

  constructor(world: Reachable, recording: Recording, program: ProgramClient) {
    this.#world = world;
    this.#recording = recording;
    this.#program = program;
  }

  /** Sends everything; resolves when all is answered or given up. */
  async run(): Promise<void> {
    let open: Promise<void>[] = [];
    for (const [index, action] of this.#program.actions.entries()) {
      if (!action.isConcurrent) {
        await Promise.all(open);
        open = [];
      }
      if (action.pauseMs > 0) await this.#world.sleep(action.pauseMs);
      open.push(this.#perform(action, index));
    }
    await Promise.all(open);
  }

  async #perform(action: ProgramAction, index: number): Promise<void> {
    const service = await this.#world.serving();
    const { request } = action;
    const isRead = request.type === "look" || request.type === "list";
    // A deletion that is repeated without a number could end the next life too, and so can't be told from a fault.
    const protection = isRead ? "none" : action.protection;
    const recorded = this.#recording.ask(this.#program.name, request, protection);
    if (protection === "none") {
      this.#recording.answer(recorded, await this.#attempt(service, action, {}));
    } else {
      await this.#insist(recorded, action, protection === "session" ? await this.#session() : this.#key(index));
    }
    this.#world.note(`${this.#program.name} ${index} ${recorded.outcome.kind}`);
  }

  async #session(): Promise<ProtectedCall> {
    while (this.#token === undefined) this.#token = await this.#mint();
    const [token, number] = [this.#token, ++this.#lastNumber];
    this.#unanswered.add(number);
    return {
      options: () => ({ session: { token, number, lowest: Math.min(...this.#unanswered) } }),
      answered: () => this.#unanswered.delete(number),
    };
  }

  /** Undefined while the node comes or goes. */
  async #mint(): Promise<string | undefined> {
    try {
      return (await this.#world.serving()).mintSession(simulatedPrincipal);
    } catch (error) {
      if (!(error instanceof OnefoldError) || error.retry === "never") throw error;
      await this.#world.sleep(retryDelayMs);
      return undefined;
    }
  }

  #key(index: number): ProtectedCall {
    const idempotencyKey = `${this.#program.name}-${index}`;
    return { options: () => ({ idempotencyKey }), answered: () => undefined };
  }

  async #insist(recorded: RecordedRequest, action: ProgramAction, call: ProtectedCall): Promise<void> {
    let outcome: Outcome = { kind: "unknown" };
    for (let attempt = 0; isOpen(outcome); attempt++) {
      if (attempt > 0) await this.#world.sleep(retryDelayMs);
      if (attempt >= attemptsMax) {
        this.#world.accuse(
          `request ${recorded.index} was not answered in ${attemptsMax} attempts: ${JSON.stringify(outcome)}`,
        );
        return;
      }
      const service = await this.#world.serving();
      // Who insists gives it time: a command that is stopped after long would never be answered within a short deadline.
      const patient = attempt === 0 ? action : { ...action, deadlineMs: patientMs };
      outcome = await this.#attempt(service, patient, call.options());
    }
    this.#recording.answer(recorded, outcome);
    if (action.isRepeated && isKept(outcome)) await this.#repeat(recorded, action, call);
    call.answered();
  }

  /** Sent once more, an answered request is answered the same; nothing of it runs again. */
  async #repeat(recorded: RecordedRequest, action: ProgramAction, call: ProtectedCall): Promise<void> {
    const service = await this.#world.serving();
    const again = await this.#attempt(service, { ...action, deadlineMs: patientMs }, call.options());
    if (isOpen(again)) return;
    const [first, second] = [JSON.stringify(recorded.outcome), JSON.stringify(again)];
    if (first !== second) {
      this.#world.accuse(
        `request ${recorded.index} (${JSON.stringify(recorded.request)}) was answered ${first}, repeated ${second}`,
      );
    }
  }

  async #attempt(service: Service, action: ProgramAction, options: Partial<CallOptions>): Promise<Outcome> {
    const { life } = this.#world;
    const unknown: Outcome = { kind: "unknown" };
    // What a dead node's code still throws or returns reaches nobody.
    const call = send(service, action.request, {
      principal: simulatedPrincipal,
      deadlineMs: action.deadlineMs,
      ...options,
    }).then(
      (answer) => (life.alive ? answer : unknown),
      (error: unknown) => (life.alive ? this.#failure(error) : unknown),
    );
    const outcome = await Promise.race([call, life.end.then(() => unknown)]);
    if (outcome.kind === "unknown") this.#recording.unansweredCount++;
    return outcome;
  }

  #failure(error: unknown): Outcome {
    if (error instanceof Refused) return { kind: "refused", code: error.code, details: error.details };
    if (error instanceof OnefoldError) {
      if (error.code === "internal") this.#world.accuse(`an internal error: ${error.stack}`);
      return { kind: "error", code: error.code, retry: error.retry };
    }
    this.#world.accuse(`a call threw ${error instanceof Error ? error.stack : String(error)}`);
    return { kind: "unknown" };
  }
}

interface ProtectedCall {
  options(): Partial<CallOptions>;
  /** Its number need not be remembered any more. */
  answered(): void;
}

/** Whether another attempt may give something else. Damage heals: the node rebuilds its store. */
function isOpen(outcome: Outcome): boolean {
  return (
    outcome.kind === "unknown" ||
    (outcome.kind === "error" && (outcome.retry !== "never" || outcome.code === "damaged"))
  );
}

/** Whether the outcome came from running the request. */
function isKept(outcome: Outcome): boolean {
  return (
    outcome.kind === "ok" ||
    outcome.kind === "refused" ||
    (outcome.kind === "error" && outcome.code === "command-failed")
  );
}

async function send(service: Service, request: Request, options: CallOptions): Promise<Outcome> {
  switch (request.type) {
    case "run": {
      const { kind, id, tag, plan } = request;
      return { kind: "ok", ...(await service.command({ kind, id }, "run", { ...plan, tag }, options)) };
    }
    case "look":
      return { kind: "ok", ...(await service.query(request, "look", undefined, options)) };
    case "script":
      return { kind: "ok", ...(await service.transaction(request.name, request.script, options)) };
    case "delete":
      try {
        return { kind: "ok", ...(await service.delete(request, options)) };
      } catch (error) {
        // Nothing to delete: as good an answer as any.
        if (error instanceof OnefoldError && error.code === "not-found") {
          return { kind: "error", code: error.code, retry: "never" };
        }
        throw error;
      }
    case "list":
      return { kind: "ok", output: (await service.list(request.kind, options)).ids, sequence: 0 };
  }
}
