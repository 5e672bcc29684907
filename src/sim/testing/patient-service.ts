/**
 * A service as the ordinary client has it: calls outlive crashes, because what was not answered is sent again under its session
 * and number until it is, and so takes hold once (G6). Errors that time mends are waited out.
 */
import { OnefoldError, Refused } from "../../base/errors.ts";
import { stringifyTaggedJson } from "../../base/tagged-json.ts";
import type { CallOptions, CallReply, EntityAddress, Principal, ReadOptions, Service } from "../../entity/service.ts";
import { settleBy } from "../../entity/settle.ts";
import type { ClientDeath } from "./client-death.ts";
import { type ServingLife, unanswered } from "./lone-node.ts";
import { BrokenPromise } from "./simulation.ts";

const retryMsFirst = 10;
const retryMsMax = 500;

/** Whom calls are sent to. */
export interface Served {
  /** Resolves with some life that serves, once there is one. */
  serving(): Promise<ServingLife>;
}

export interface PatientServiceOptions {
  readonly served: Served;
  readonly principal: Principal;
  readonly sleep: (durationMs: number) => Promise<void>;
  /** Virtual milliseconds after which an unanswered call fails with `deadline-passed`. */
  readonly patienceMs: number;
  readonly nowMs: () => number;
  /** At which of its calls its caller dies, if that may happen just now: nothing goes on then, and nothing is answered. */
  readonly death?: () => ClientDeath | undefined;
  /** Told when it has died. */
  readonly onDeath?: () => void;
  /** Of each sending; the node's own if absent. */
  readonly deadlineMs?: number;
  /** Told what is asked and answered, for a transcript. */
  readonly note: (text: string) => void;
  /** Told of each command before it is sent for the first time. */
  readonly onCommand?: (address: EntityAddress, name: string) => void;
  /** Told of each call that was answered, be it with a refusal. */
  readonly onAnswer?: () => void;
  /** Whether a request that has been answered is now sent once more: its answer must be the same (G6). Default: never. */
  readonly repeats?: () => boolean;
}

type CallParts = Pick<Service, "beginCommand" | "beginTransaction" | "query">;

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

  beginCommand: Service["beginCommand"] = (address, name, input, options, settle) => {
    this.#options.onCommand?.(address, name);
    const reply = this.#numbered(`${address.kind}/${address.id} ${name}`, options, (service, numbered) =>
      service.command(address, name, input, numbered),
    );
    settleBy(reply, settle);
  };

  beginTransaction: Service["beginTransaction"] = (name, input, options, settle) =>
    settleBy(
      this.#numbered(name, options, (service, numbered) => service.transaction(name, input, numbered)),
      settle,
    );

  query: Service["query"] = (address, name, input, options: ReadOptions) =>
    this.read((service, patient) => service.query(address, name, input, { ...options, ...patient }));

  /** Whatever may be asked as often as one likes; `patient` is to be among its options. */
  async read<T>(ask: (service: Service, patient: Pick<ReadOptions, "deadlineMs">) => Promise<T>): Promise<T> {
    const reply = await this.#insist(({ service }) => ask(service, this.#deadline));
    this.#options.onAnswer?.();
    return reply;
  }

  get #deadline(): Pick<ReadOptions, "deadlineMs"> {
    const { deadlineMs } = this.#options;
    return deadlineMs === undefined ? {} : { deadlineMs };
  }

  async #numbered(
    what: string,
    options: CallOptions,
    run: (service: Service, options: CallOptions) => Promise<CallReply>,
  ): Promise<CallReply> {
    const number = ++this.#lastNumber;
    const { note, repeats, onAnswer } = this.#options;
    this.#unanswered.add(number);
    note(`${number} ${what}`);
    const send = ({ service }: ServingLife): Promise<CallReply> => {
      this.#token ??= service.mintSession(this.#options.principal);
      const session = { token: this.#token, number, lowest: Math.min(...this.#unanswered) };
      return run(service, { ...options, ...this.#deadline, session });
    };
    try {
      const reply = await this.#insist(send);
      note(`${number} done`);
      if (repeats?.() === true) assertSame(what, reply, await this.#insist(send, { isRepeat: true }));
      onAnswer?.();
      return reply;
    } catch (error) {
      note(`${number} ${error instanceof Error ? error.message : String(error)}`);
      if (error instanceof Refused) onAnswer?.();
      throw error;
    } finally {
      this.#unanswered.delete(number);
    }
  }

  async #insist<T>(run: (life: ServingLife) => Promise<T>, { isRepeat = false } = {}): Promise<T> {
    const { served, sleep, nowMs, patienceMs } = this.#options;
    const death = isRepeat ? undefined : this.#options.death?.();
    if (!isRepeat) this.#callCount++;
    const isLast = this.#callCount === death?.call;
    if (isLast && death?.moment === "before") this.#die();
    const endMs = nowMs() + patienceMs;
    let retryMs = retryMsFirst;
    for (;;) {
      const life = await served.serving();
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

function assertSame(what: string, first: CallReply, again: CallReply): void {
  const [one, other] = [first, again].map(({ output, sequence }) => stringifyTaggedJson([output ?? null, sequence]));
  if (one === other) return;
  throw new BrokenPromise(
    "repeated-answer",
    `${what}: the request was answered with ${one} (output, sequence), and when it was sent again with ${other}. This is a bug in Onefold; report it.`,
  );
}

function forEver(): Promise<never> {
  return new Promise(() => undefined);
}
