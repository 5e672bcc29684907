/**
 * Clients of the simulated node: they send their program's requests, outlive every crash, and send again under the same
 * number or key what was not answered, as the library asks of clients.
 *
 * C1  A request without number or key is sent once; if no answer comes, its outcome is unknown for ever.
 * C2  A request with one is sent until it is answered with something that will not change. Copies of it may arrive later still.
 */
import { OnefoldError, Refused } from "../../base/errors.ts";
import type { CallOptions, HistoryItem, Principal, ReadOptions, Service } from "../../entity/service.ts";
import type { HistoryOutput } from "./histories.ts";
import type { EntityName } from "./plan.ts";
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
  /** Whether sessions end while clients still use them. */
  readonly sessionsExpire: boolean;
  sleep(durationMs: number): Promise<void>;
  note(text: string): void;
  /** Told of behaviour that nothing explains. */
  accuse(what: string): void;
}

export const simulatedPrincipal: Principal = { tenant: "default", subject: "sim", scopes: ["*"] };

const retryDelayMs = 50;
const patientMs = 20_000;
const attemptsMax = 1000;
/** How many answered requests come before a late copy of an earlier one. */
const lateAfter = 2;

export class SimulatedClient {
  readonly #world: Reachable;
  readonly #recording: Recording;
  readonly #program: ProgramClient;
  #session: ClientSession | undefined;
  /** Copies of answered requests that are still on their way. */
  readonly #late: (() => Promise<void>)[] = [];

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
    const isRead = request.type === "look" || request.type === "list" || request.type === "history";
    // A deletion that is repeated without a number could end the next life too, and so can't be told from a fault.
    const protection = isRead ? "none" : action.protection;
    const recorded = this.#recording.ask(this.#program.name, request, protection);
    if (protection === "none") {
      this.#recording.answer(recorded, await this.#attempt(service, action, {}));
    } else {
      await this.#insist(recorded, action, protection === "session" ? await this.#numbered() : this.#key(index));
    }
    this.#world.note(`${this.#program.name} ${index} ${recorded.outcome.kind}`);
  }

  async #numbered(): Promise<ProtectedCall> {
    while (this.#session === undefined) {
      const token = await this.#mint();
      // Another request may have got one meanwhile.
      if (token !== undefined) this.#session ??= { token, lastNumber: 0, unanswered: new Set() };
    }
    const session = this.#session;
    const number = ++session.lastNumber;
    session.unanswered.add(number);
    return {
      options: () => ({ session: { token: session.token, number, lowest: Math.min(...session.unanswered) } }),
      answered: () => session.unanswered.delete(number),
      expired: () => {
        if (this.#session === session) this.#session = undefined;
      },
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
    return { options: () => ({ idempotencyKey }), answered: () => undefined, expired: () => undefined };
  }

  async #insist(recorded: RecordedRequest, action: ProgramAction, call: ProtectedCall): Promise<void> {
    const first = call.options();
    let outcome: Outcome = { kind: "unknown" };
    let isInDoubt = false;
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
      isInDoubt ||= isDoubtful(outcome);
    }
    if (isExpired(outcome)) {
      if (!this.#world.sessionsExpire)
        this.#world.accuse(`request ${recorded.index}: its session lives, and was ended`);
      this.#recording.expiredCount++;
      call.expired();
      // An earlier attempt may have taken hold. Nobody will ever be told.
      if (isInDoubt) outcome = { kind: "unknown" };
    }
    this.#recording.answer(recorded, outcome);
    if (action.isRepeated && isKept(outcome)) await this.#repeat(recorded, action, call);
    call.answered();
    if (action.isRepeated && isKept(outcome) && recorded.protection === "session") {
      this.#late.push(() => this.#arriveLate(recorded, action, first));
      if (this.#late.length > lateAfter) await this.#late.shift()?.();
    }
  }

  /** A copy of a request, as it was sent first, that arrives long after the answer: it is forgotten, or answered the same. */
  async #arriveLate(recorded: RecordedRequest, action: ProgramAction, options: Partial<CallOptions>): Promise<void> {
    const service = await this.#world.serving();
    const again = await this.#attempt(service, { ...action, deadlineMs: patientMs }, options);
    if (isOpen(again) || isExpired(again)) return;
    if (again.kind === "error" && again.code === "request-forgotten") return;
    this.#assertSame(recorded, again);
  }

  /** Sent once more, an answered request is answered the same; nothing of it runs again. */
  async #repeat(recorded: RecordedRequest, action: ProgramAction, call: ProtectedCall): Promise<void> {
    if (action.repeatAfterMs !== undefined) await this.#world.sleep(action.repeatAfterMs);
    const service = await this.#world.serving();
    const again = await this.#attempt(service, { ...action, deadlineMs: patientMs }, call.options());
    if (isOpen(again)) return;
    if (isExpired(again) && recorded.protection === "session" && this.#world.sessionsExpire) {
      this.#recording.expiredCount++;
      return call.expired();
    }
    this.#assertSame(recorded, again);
  }

  #assertSame(recorded: RecordedRequest, again: Outcome): void {
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

interface ClientSession {
  readonly token: string;
  lastNumber: number;
  readonly unanswered: Set<number>;
}

interface ProtectedCall {
  options(): Partial<CallOptions>;
  /** Its number need not be remembered any more. */
  answered(): void;
  /** Its session has ended; the next request needs another. */
  expired(): void;
}

function isExpired(outcome: Outcome): boolean {
  return outcome.kind === "error" && outcome.code === "session-expired";
}

/** Whether the request may have taken hold, for all that its sender knows. */
function isDoubtful(outcome: Outcome): boolean {
  return outcome.kind === "unknown" || (outcome.kind === "error" && outcome.retry === "unknown");
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

const historyPagesMax = 4;

/** The newest pages, or all of it where `pageSize` is large. */
export async function readHistory(
  service: Service,
  name: EntityName,
  pageSize: number,
  options: ReadOptions,
): Promise<HistoryOutput> {
  const items: HistoryItem[] = [];
  let cursor: string | undefined;
  for (let page = 0; page < historyPagesMax; page++) {
    const more = cursor === undefined ? {} : { cursor };
    const reply = await service.history(name, { ...options, limit: pageSize, ...more });
    items.push(...reply.items);
    cursor = reply.cursor;
    if (cursor === undefined) return { items, isWhole: !reply.trimmed };
  }
  return { items, isWhole: false };
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
    case "history":
      return { kind: "ok", output: await readHistory(service, request, request.pageSize, options), sequence: 0 };
    case "list":
      return { kind: "ok", output: (await service.list(request.kind, options)).ids, sequence: 0 };
  }
}
