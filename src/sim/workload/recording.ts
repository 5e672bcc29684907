/**
 * What clients asked for and what they were told: all that the checkers know besides what the entities remember in the end.
 *
 * R1  Moments are counted in one order for all clients, so that "answered before the other was asked" is a comparison.
 * R2  A request that is sent again under one number or key is one request: asked when first sent, answered once.
 */
import type { Retry } from "../../base/errors.ts";
import type { EntityName, Glimpse, Look, Plan, Script, StepOutput } from "./plan.ts";
import { parentOf } from "./plan.ts";

export type Request =
  | (EntityName & { readonly type: "run"; readonly tag: string; readonly plan: Plan })
  | (EntityName & { readonly type: "look" })
  | { readonly type: "script"; readonly name: "script" | "roam"; readonly tag: string; readonly script: Script }
  | (EntityName & { readonly type: "delete" })
  | { readonly type: "list"; readonly kind: EntityName["kind"] }
  | (EntityName & { readonly type: "history"; readonly pageSize: number });

export type Outcome =
  | { readonly kind: "ok"; readonly output: unknown; readonly sequence: number }
  | { readonly kind: "refused"; readonly code: string; readonly details: unknown }
  | { readonly kind: "error"; readonly code: string; readonly retry: Retry }
  /** Never answered: it took hold, or did not, or (without a number) will yet until the node dies. */
  | { readonly kind: "unknown" };

export interface RecordedRequest {
  readonly index: number;
  readonly client: string;
  readonly request: Request;
  readonly protection: "none" | "session" | "key";
  readonly askedAt: number;
  answeredAt: number;
  outcome: Outcome;
}

export type RunOutput = Glimpse;
export type LookOutput = Look;
export type ScriptOutput = readonly StepOutput[];

/** Where a tag's command is to run, and what it is to do. */
export interface Intention extends EntityName {
  readonly plan: Plan;
  readonly relation: "call" | "step" | "message" | "timer";
  readonly parent: string | undefined;
}

/** All requests of one simulation. */
export class Recording {
  readonly requests: RecordedRequest[] = [];
  /** Attempts that were never answered. */
  unansweredCount = 0;
  /** Requests that were refused because their session had ended. */
  expiredCount = 0;
  readonly #byTag = new Map<string, RecordedRequest>();
  readonly #intentions = new Map<string, Intention | undefined>();
  #moment = 0;

  ask(client: string, request: Request, protection: RecordedRequest["protection"]): RecordedRequest {
    const recorded: RecordedRequest = {
      index: this.requests.length,
      client,
      request,
      protection,
      askedAt: ++this.#moment,
      answeredAt: Number.POSITIVE_INFINITY,
      outcome: { kind: "unknown" },
    };
    this.requests.push(recorded);
    if ("tag" in request) this.#byTag.set(request.tag, recorded);
    return recorded;
  }

  answer(recorded: RecordedRequest, outcome: Outcome): void {
    recorded.outcome = outcome;
    if (outcome.kind !== "unknown") recorded.answeredAt = ++this.#moment;
  }

  /** The request that a client gave this tag to. */
  requestOf(tag: string): RecordedRequest | undefined {
    return this.#byTag.get(tag);
  }

  /** What the command with this tag was to be; undefined if nobody ever planned it. */
  intention(tag: string): Intention | undefined {
    if (!this.#intentions.has(tag)) this.#intentions.set(tag, this.#derive(tag));
    return this.#intentions.get(tag);
  }

  #derive(tag: string): Intention | undefined {
    const relative = parentOf(tag);
    if (relative === undefined) {
      const request = this.#byTag.get(tag)?.request;
      if (request?.type !== "run") return undefined;
      return { kind: request.kind, id: request.id, plan: request.plan, relation: "call", parent: undefined };
    }
    const { parent, relation, index } = relative;
    if (relation === "step") {
      const request = this.#byTag.get(parent)?.request;
      const step = request?.type === "script" ? request.script.steps[index] : undefined;
      if (step?.plan === undefined) return undefined;
      return { kind: step.kind, id: step.id, plan: step.plan, relation, parent: undefined };
    }
    const from = this.intention(parent);
    if (from === undefined) return undefined;
    if (relation === "timer") {
      const timer = from.plan.timers?.[index];
      return timer && { kind: from.kind, id: from.id, plan: timer.plan, relation, parent };
    }
    const send = from.plan.sends?.[index];
    return send && { kind: send.kind, id: send.id, plan: send.plan, relation, parent };
  }
}

/** The request that a command belongs to, as far as atomicity goes: a transaction's steps are one unit. */
export function unitOf(tag: string): string {
  const relative = parentOf(tag);
  return relative?.relation === "step" ? relative.parent : tag;
}
