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
} from "../entity/service.ts";

export class ServiceProxy implements Service {
  #service: Service | undefined;
  #failure: OnefoldError | undefined;

  connect(service: Service): void {
    this.#service = service;
  }

  disconnect(): void {
    this.#service = undefined;
  }

  /** From now on every call fails with this. */
  fail(error: OnefoldError): void {
    this.#service = undefined;
    this.#failure = error;
  }

  #absent(): OnefoldError {
    return this.#failure ?? new OnefoldError("not-ready", "The node is starting or stopping.", { retryAfterMs: 500 });
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

  mintSession(...call: Parameters<Service["mintSession"]>): string {
    if (this.#service === undefined) throw this.#absent();
    return this.#service.mintSession(...call);
  }

  health(): Health {
    if (this.#service !== undefined) return this.#service.health();
    const problem = this.#failure;
    return {
      state: problem === undefined ? "starting" : "stopped",
      sequence: 0,
      appliedSequence: 0,
      queuedCalls: 0,
      problems: problem === undefined ? ["The store is being rebuilt."] : [`${problem.code}: ${problem.message}`],
    };
  }
}
