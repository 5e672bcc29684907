/** A service whose shard may come and go: while there is none, every call is told to try again. */
import { OnefoldError } from "../base/errors.ts";
import type {
  CallOptions,
  CallReply,
  EntityAddress,
  Health,
  QueryReply,
  ReadOptions,
  Service,
  Watch,
} from "../entity/service.ts";
import type { Settle } from "../entity/settle.ts";

export class ServiceProxy implements Service {
  #service: Service | undefined;
  #failure: OnefoldError | undefined;
  #problem = "The node is starting.";
  readonly #watches = new Set<ProxiedWatch>();

  connect(service: Service): void {
    this.#service = service;
    for (const watch of [...this.#watches]) watch.renew(service);
  }

  /** `problem` tells callers and operators why, in a sentence, until a service is connected. */
  disconnect(problem: string): void {
    this.#service = undefined;
    this.#problem = problem;
  }

  /** From now on every call fails with this. */
  fail(error: OnefoldError): void {
    this.#service = undefined;
    this.#failure = error;
  }

  #absent(): OnefoldError {
    return this.#failure ?? new OnefoldError("not-ready", this.#problem, { retryAfterMs: 500 });
  }

  #reject(): Promise<never> {
    return Promise.reject(this.#absent());
  }

  command(address: EntityAddress, name: string, input: unknown, options: CallOptions): Promise<CallReply> {
    return this.#service?.command(address, name, input, options) ?? this.#reject();
  }

  transaction(name: string, input: unknown, options: CallOptions): Promise<CallReply> {
    return this.#service?.transaction(name, input, options) ?? this.#reject();
  }

  beginCommand(
    address: EntityAddress,
    name: string,
    input: unknown,
    options: CallOptions,
    settle: Settle<CallReply>,
  ): void {
    if (this.#service === undefined) throw this.#absent();
    this.#service.beginCommand(address, name, input, options, settle);
  }

  beginTransaction(name: string, input: unknown, options: CallOptions, settle: Settle<CallReply>): void {
    if (this.#service === undefined) throw this.#absent();
    this.#service.beginTransaction(name, input, options, settle);
  }

  query(address: EntityAddress, name: string, input: unknown, options: ReadOptions): Promise<QueryReply> {
    return this.#service?.query(address, name, input, options) ?? this.#reject();
  }

  state(...call: Parameters<Service["state"]>): ReturnType<Service["state"]> {
    return this.#service?.state(...call) ?? this.#reject();
  }

  delete(...call: Parameters<Service["delete"]>): ReturnType<Service["delete"]> {
    return this.#service?.delete(...call) ?? this.#reject();
  }

  list(...call: Parameters<Service["list"]>): ReturnType<Service["list"]> {
    return this.#service?.list(...call) ?? this.#reject();
  }

  history(...call: Parameters<Service["history"]>): ReturnType<Service["history"]> {
    return this.#service?.history(...call) ?? this.#reject();
  }

  changes(...call: Parameters<Service["changes"]>): ReturnType<Service["changes"]> {
    return this.#service?.changes(...call) ?? this.#reject();
  }

  watch(...call: Parameters<Service["watch"]>): Watch {
    if (this.#service === undefined) throw this.#absent();
    const watch = new ProxiedWatch(this.#service, call, () => this.#watches.delete(watch));
    this.#watches.add(watch);
    return watch;
  }

  deadLetters(...call: Parameters<Service["deadLetters"]>): ReturnType<Service["deadLetters"]> {
    return this.#service?.deadLetters(...call) ?? this.#reject();
  }

  mintSession(...call: Parameters<Service["mintSession"]>): string {
    if (this.#service === undefined) throw this.#absent();
    return this.#service.mintSession(...call);
  }

  /** While there is none, sessions stay where they are. */
  get advanceSession(): Service["advanceSession"] {
    return this.#service?.advanceSession;
  }

  health(): Health {
    if (this.#service !== undefined) return this.#service.health();
    const failure = this.#failure;
    return {
      state: failure === undefined ? "starting" : "stopped",
      sequence: 0,
      appliedSequence: 0,
      queuedCalls: 0,
      problems: [failure === undefined ? this.#problem : `${failure.code}: ${failure.message}`],
    };
  }
}

/** A watch that outlives its shard: on the next one it is renewed, and its listener called, since it may have missed something. */
class ProxiedWatch implements Watch {
  readonly #call: Parameters<Service["watch"]>;
  readonly #forget: () => void;
  #watch: Watch;

  constructor(service: Service, call: Parameters<Service["watch"]>, forget: () => void) {
    this.#call = call;
    this.#forget = forget;
    this.#watch = service.watch(...call);
  }

  get log(): string {
    return this.#watch.log;
  }

  renew(service: Service): void {
    this.#watch.cancel();
    this.#watch = service.watch(...this.#call);
    const [, , onChange] = this.#call;
    onChange();
  }

  cancel(): void {
    this.#watch.cancel();
    this.#forget();
  }
}
