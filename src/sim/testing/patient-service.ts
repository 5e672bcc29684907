/**
 * A service as the ordinary client has it: calls outlive crashes, because what was not answered is sent again under its session
 * and number until it is, and so takes hold once (G6). Errors that time mends are waited out.
 */
import { OnefoldError } from "../../base/errors.ts";
import type { CallOptions, Principal, ReadOptions, Service } from "../../entity/service.ts";
import type { ClientDeath } from "./node-faults.ts";
import { type LoneNode, type ServingLife, unanswered } from "./lone-node.ts";

const retryMsFirst = 10;
const retryMsMax = 500;

export interface PatientServiceOptions {
  readonly node: LoneNode;
  readonly principal: Principal;
  readonly sleep: (durationMs: number) => Promise<void>;
  /** Virtual milliseconds after which an unanswered call fails with `deadline-passed`. */
  readonly patienceMs: number;
  readonly nowMs: () => number;
  /** At which of its calls its caller dies, if that may happen just now: nothing goes on then, and nothing is answered. */
  readonly death?: () => ClientDeath | undefined;
  /** Told when it has died. */
  readonly onDeath?: () => void;
  /** Told what is asked and answered, for a transcript. */
  readonly note: (text: string) => void;
}

type CallParts = Pick<Service, "command" | "transaction" | "query">;

export class PatientService implements CallParts {
  readonly #options: PatientServiceOptions;
  #token: string | undefined;
  #lastNumber = 0;
  readonly #unanswered = new Set<number>();
  #callCount = 0;
  #isDead = false;

  constructor(options: PatientServiceOptions) {
    this.#options = options;
  }

  command: Service["command"] = (address, name, input, options) =>
    this.#numbered(`${address.kind}/${address.id} ${name}`, options, (service, numbered) =>
      service.command(address, name, input, numbered),
    );

  transaction: Service["transaction"] = (name, input, options) =>
    this.#numbered(name, options, (service, numbered) => service.transaction(name, input, numbered));

  query: Service["query"] = (address, name, input, options: ReadOptions) =>
    this.#insist(({ service }) => service.query(address, name, input, options));

  async #numbered<T>(
    what: string,
    options: CallOptions,
    run: (service: Service, options: CallOptions) => Promise<T>,
  ): Promise<T> {
    const number = ++this.#lastNumber;
    const { note } = this.#options;
    this.#unanswered.add(number);
    note(`${number} ${what}`);
    try {
      const reply = await this.#insist(({ service }) => {
        this.#token ??= service.mintSession(this.#options.principal);
        const session = { token: this.#token, number, lowest: Math.min(...this.#unanswered) };
        return run(service, { ...options, session });
      });
      note(`${number} done`);
      return reply;
    } catch (error) {
      note(`${number} ${error instanceof Error ? error.message : String(error)}`);
      throw error;
    } finally {
      this.#unanswered.delete(number);
    }
  }

  async #insist<T>(run: (life: ServingLife) => Promise<T>): Promise<T> {
    const { node, sleep, nowMs, patienceMs } = this.#options;
    const death = this.#options.death?.();
    const isLast = ++this.#callCount === death?.call;
    if (isLast && death?.moment === "before") this.#die();
    const endMs = nowMs() + patienceMs;
    let retryMs = retryMsFirst;
    for (;;) {
      const life = await node.serving();
      if (this.#isDead) return forEver();
      try {
        const reply = Promise.race([run(life), life.end.then(unanswered)]);
        if (isLast) this.#die();
        const answered = await reply;
        return this.#isDead ? forEver() : answered;
      } catch (error) {
        if (this.#isDead) return forEver();
        if (!(error instanceof OnefoldError) || error.retry === "never" || nowMs() > endMs) throw error;
      }
      await sleep(retryMs);
      retryMs = Math.min(retryMsMax, 2 * retryMs);
    }
  }

  #die(): void {
    this.#isDead = true;
    this.#options.onDeath?.();
  }
}

function forEver(): Promise<never> {
  return new Promise(() => undefined);
}
