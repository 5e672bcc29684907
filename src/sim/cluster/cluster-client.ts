/**
 * One client of a simulated cluster: sequential, on whatever node it finds, with numbered requests. What it was not told it asks again
 * under the same number, so of its writes each takes hold once or, if it gives up, at most once.
 *
 * CC1 `fail` is said only of what surely did not take hold: a refusal, or an error that says so on every sending.
 * CC2 A node that is cut off says so: one that was for `cutOffAnswerMs`, all the time while it was asked, has answered.
 */
import { OnefoldError, Refused } from "../../base/errors.ts";
import type { SeededRandom } from "../../base/random.ts";
import type { Value } from "../../base/value.ts";
import type { CallOptions, Position, Principal, ReadOptions, Service } from "../../entity/service.ts";
import type { ServingNode } from "./simulated-cluster.ts";

export const driller: Principal = { tenant: "default", subject: "drill", scopes: ["*"] };

export interface ClientWorld {
  readonly serving: readonly ServingNode[];
  sleep(durationMs: number): Promise<void>;
  at(delayMs: number, run: () => void): { cancel(): void };
  nowMs(): number;
}

/** What the one who was asked has died before it could say. */
const lost = Symbol("lost");
const patienceMs = 60_000;
const deadlineMs = 10_000;
/** Of virtual time: 2 s are promised, and whoever looks at it does so now and then. */
const cutOffAnswerMs = 2500;

export interface ClientOptions {
  readonly world: ClientWorld;
  readonly random: SeededRandom;
  readonly name: string;
  /** An answer that no fault explains. */
  readonly accuse: (what: string) => void;
  /** What an answer said to be durable. */
  readonly acknowledged: (position: Position) => void;
}

/** What is looked at of an answer. */
export interface Answer {
  readonly output: Value | undefined;
  readonly position?: Position;
  readonly staleForMs?: number;
}

/** `refused` is an answer too: the command ran and said no. */
export type CallOutcome =
  | { readonly kind: "ok"; readonly output: Value | undefined; readonly staleForMs: number | undefined }
  | { readonly kind: "fail" }
  | { readonly kind: "unknown" }
  | { readonly kind: "refused"; readonly code: string; readonly details: unknown };

export class ClusterClient {
  readonly name: string;
  readonly #options: ClientOptions;
  #token: string | undefined;
  #number = 0;

  constructor(options: ClientOptions) {
    this.name = options.name;
    this.#options = options;
  }

  /** A write, as a numbered request. */
  async write(call: (service: Service, options: CallOptions) => Promise<Answer>): Promise<CallOutcome> {
    const endMs = this.#options.world.nowMs() + patienceMs;
    const token = await this.#session(endMs);
    if (token === undefined) return { kind: "fail" };
    const number = ++this.#number;
    const options = { principal: driller, deadlineMs, session: { token, number, lowest: number } };
    return this.#until(endMs, (service) => this.#seen(service, call(service, options)));
  }

  /** A strong read, or whatever else may be asked as often as one likes. */
  async read(call: (service: Service) => Promise<Answer>): Promise<CallOutcome> {
    return unlessUnknown(await this.#until(this.#options.world.nowMs() + patienceMs, call));
  }

  /** A read of whatever has reached all that this client has seen. */
  async readInSession(call: (service: Service, options: ReadOptions) => Promise<Answer>): Promise<CallOutcome> {
    const endMs = this.#options.world.nowMs() + patienceMs;
    if ((await this.#session(endMs)) === undefined) return { kind: "fail" };
    const outcome = await this.#until(endMs, (service) => {
      const options = { principal: driller, deadlineMs, read: "session", sessionToken: this.#token! } as const;
      return this.#seen(service, call(service, options));
    });
    return unlessUnknown(outcome);
  }

  /** As the gateway does: the session's token says what its answers have shown. */
  async #seen(service: Service, answering: Promise<Answer>): Promise<Answer> {
    const answer = await answering;
    const { position } = answer;
    if (position !== undefined && service.advanceSession !== undefined)
      this.#token = service.advanceSession(this.#token!, position);
    return answer;
  }

  async #until(endMs: number, call: (service: Service) => Promise<Answer>): Promise<CallOutcome> {
    const { world, random } = this.#options;
    let isInDoubt = false;
    while (world.nowMs() < endMs) {
      const node = this.#pick();
      if (node !== undefined) {
        const result = await this.#ask(node, call);
        if (result !== lost && "outcome" in result) return result.outcome;
        isInDoubt ||= result === lost || result.isInDoubt;
      }
      await world.sleep(10 + random.next() * 100);
    }
    return { kind: isInDoubt ? "unknown" : "fail" };
  }

  async #ask(
    node: ServingNode,
    call: (service: Service) => Promise<Answer>,
  ): Promise<{ readonly outcome: CallOutcome } | { readonly isInDoubt: boolean } | typeof lost> {
    const { world, accuse, acknowledged } = this.#options;
    const watch = this.#watchCutOff(node);
    try {
      const answer = await this.#untilDeath(node, call(node.service));
      if (answer === lost) return lost;
      const { output, position, staleForMs } = answer;
      if (position !== undefined) acknowledged(position);
      return { outcome: { kind: "ok", output, staleForMs } };
    } catch (error) {
      if (error instanceof Refused) {
        return { outcome: { kind: "refused", code: error.code, details: error.details } };
      }
      if (!(error instanceof OnefoldError)) throw error;
      if (error.retry !== "never") return { isInDoubt: error.retry === "unknown" };
      accuse(`${this.name} at ${world.nowMs().toFixed(0)}: ${error.code}: ${error.message}`);
      return { outcome: { kind: "unknown" } };
    } finally {
      watch.cancel();
    }
  }

  /** CC2. */
  #watchCutOff(node: ServingNode): { cancel(): void } {
    const { world, accuse } = this.#options;
    const beganMs = world.nowMs();
    const look = (): void => {
      const { cutOffForMs } = node;
      if (cutOffForMs > cutOffAnswerMs) {
        const waitedMs = (world.nowMs() - beganMs).toFixed(0);
        accuse(`${this.name} has waited ${waitedMs} ms for ${node.name}, which is cut off for ${cutOffForMs} ms`);
      } else timer = world.at(200, look);
    };
    let timer = world.at(cutOffAnswerMs, look);
    return { cancel: () => timer.cancel() };
  }

  /** `lost` once the node's life is over, or it has slept for so long that its client lets go of the connection. */
  #untilDeath<T>(node: ServingNode, answer: Promise<T>): Promise<T | typeof lost> {
    const { world } = this.#options;
    return new Promise((resolve, reject) => {
      const letGo = (): void => {
        ended.forget();
        patience.cancel();
        resolve(lost);
      };
      const ended = node.onEnd(letGo);
      const patience = world.at(deadlineMs + 2000, letGo);
      const settle = (): void => {
        ended.forget();
        patience.cancel();
      };
      answer.then(resolve, reject).finally(settle);
    });
  }

  #pick(): ServingNode | undefined {
    const { world, random } = this.#options;
    const { serving } = world;
    return serving.length === 0 ? undefined : random.pick(serving);
  }

  async #session(endMs: number): Promise<string | undefined> {
    const { world } = this.#options;
    while (this.#token === undefined && world.nowMs() < endMs) {
      const node = this.#pick();
      try {
        this.#token = node?.service.mintSession(driller);
      } catch (error) {
        if (!(error instanceof OnefoldError)) throw error;
      }
      if (this.#token === undefined) await world.sleep(50);
    }
    return this.#token;
  }
}

/** A read that was not answered has not happened. */
function unlessUnknown(outcome: CallOutcome): CallOutcome {
  return outcome.kind === "unknown" ? { kind: "fail" } : outcome;
}
