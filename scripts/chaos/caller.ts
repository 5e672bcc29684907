/**
 * One client of the run, sequential, with a typed client of its own, as users have it.
 *
 * CA1 What a call is said to have come to is never more than its error proves: `fail` only where nothing can have happened.
 * CA2 A typed client shows no error but one that a deadline allows. Any other is told to `accuse`.
 */
import { connect, OnefoldError, Refused, type RemoteClient } from "../../src/client/index.ts";
import type { CallKind, Meter } from "./meter.ts";
import type { chaos } from "./system.ts";

export type ChaosClient = RemoteClient<typeof chaos>;

export type CallResult<T> =
  | { readonly kind: "ok"; readonly output: T }
  | { readonly kind: "refused"; readonly code: string }
  | { readonly kind: "fail" }
  | { readonly kind: "unknown" };

export interface CallerOptions {
  readonly name: string;
  readonly workload: string;
  readonly urls: readonly string[];
  readonly meter: Meter;
  readonly deadlineMs: number;
  readonly accuse: (what: string) => void;
}

export class Caller {
  readonly name: string;
  readonly #options: CallerOptions;
  readonly #client: ChaosClient;

  constructor(options: CallerOptions) {
    this.name = options.name;
    this.#options = options;
    this.#client = connect<typeof chaos>(options.urls, { deadlineMs: options.deadlineMs });
  }

  async call<T>(make: (client: ChaosClient) => Promise<T>): Promise<CallResult<T>> {
    const { meter, workload } = this.#options;
    const atMs = meter.nowMs();
    const result = await this.#outcome(make);
    meter.note(workload, atMs, result.kind satisfies CallKind);
    return result;
  }

  /** For what must be answered. Throws what the call does. */
  ask<T>(make: (client: ChaosClient) => Promise<T>): Promise<T> {
    return make(this.#client);
  }

  close(): void {
    this.#client.$close();
  }

  async #outcome<T>(make: (client: ChaosClient) => Promise<T>): Promise<CallResult<T>> {
    try {
      return { kind: "ok", output: await make(this.#client) };
    } catch (error) {
      if (error instanceof Refused) return { kind: "refused", code: error.code };
      if (!(error instanceof OnefoldError)) throw error;
      if (error.code !== "deadline-passed") {
        const { name, accuse } = { name: this.name, accuse: this.#options.accuse };
        accuse(`${name} was told ${error.code} (retry ${error.retry}): ${error.message}`);
      }
      return { kind: error.retry === "unknown" ? "unknown" : "fail" };
    }
  }
}
