/** A service whose shard may come and go: while there is none, every call is told to try again. */
import { OnefoldError } from "../base/errors.ts";
import type { Health, Service } from "../entity/service.ts";

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

  get #current(): Service {
    if (this.#service !== undefined) return this.#service;
    throw this.#failure ?? new OnefoldError("not-ready", "The node is starting or stopping.", { retryAfterMs: 500 });
  }

  readonly command: Service["command"] = async (...call) => this.#current.command(...call);
  readonly transaction: Service["transaction"] = async (...call) => this.#current.transaction(...call);
  readonly query: Service["query"] = async (...call) => this.#current.query(...call);
  readonly state: Service["state"] = async (...call) => this.#current.state(...call);
  readonly delete: Service["delete"] = async (...call) => this.#current.delete(...call);
  readonly list: Service["list"] = async (...call) => this.#current.list(...call);
  readonly history: Service["history"] = async (...call) => this.#current.history(...call);
  readonly mintSession: Service["mintSession"] = (principal) => this.#current.mintSession(principal);

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
