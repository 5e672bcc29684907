/**
 * A service that counts and times what passes through it, by operation. It adds nothing to a call's way: callers get the
 * promise that the service gave, and the counting hangs beside it; or they are answered in the same turn.
 */
import type { Clock } from "../host/host.ts";
import type { SystemDefinition } from "../entity/definition.ts";
import type { CallOptions, CallReply, EntityAddress, QueryReply, ReadOptions, Service } from "../entity/service.ts";
import type { Settle } from "../entity/settle.ts";
import { CallMeter, callMetrics } from "../metrics/call-meters.ts";
import type { Metric } from "../metrics/metric.ts";

/** What is asked of an entity kind besides its own operations. */
type RawAction = "state" | "delete" | "list" | "history";

interface KindMeters {
  readonly commands: ReadonlyMap<string, CallMeter>;
  readonly queries: ReadonlyMap<string, CallMeter>;
  readonly raw: Readonly<Record<RawAction, CallMeter>>;
}

export class MeteredService implements Service {
  readonly #service: Service;
  readonly #clock: Clock;
  readonly #kinds: ReadonlyMap<string, KindMeters>;
  readonly #transactions: ReadonlyMap<string, CallMeter>;
  readonly metrics: readonly Metric[];

  constructor(service: Service, system: SystemDefinition, clock: Clock) {
    this.#service = service;
    this.#clock = clock;
    const all: CallMeter[] = [];
    const meter = (action: string, kind: string, operation: string): CallMeter => {
      const made = new CallMeter({ action, kind, operation });
      all.push(made);
      return made;
    };
    const meters = (action: string, kind: string, names: Iterable<string>): ReadonlyMap<string, CallMeter> =>
      new Map([...names].map((name) => [name, meter(action, kind, name)]));
    this.#kinds = new Map(
      [...system.entities.values()].map(({ name, commands, queries }) => [
        name,
        {
          commands: meters("command", name, commands.keys()),
          queries: meters("query", name, queries.keys()),
          raw: {
            state: meter("state", name, ""),
            delete: meter("delete", name, ""),
            list: meter("list", name, ""),
            history: meter("history", name, ""),
          },
        },
      ]),
    );
    this.#transactions = meters("transaction", "", system.transactions.keys());
    this.metrics = callMetrics(all);
  }

  /** Without a meter, a name that the system doesn't have: the service refuses it. */
  #measure<T>(meter: CallMeter | undefined, answer: Promise<T>): Promise<T> {
    if (meter === undefined) return answer;
    const beganMs = this.#clock.monotonicMs();
    answer.then(
      () => meter.done(this.#clock.monotonicMs() - beganMs),
      (error: unknown) => meter.failed(error, this.#clock.monotonicMs() - beganMs),
    );
    return answer;
  }

  command(address: EntityAddress, name: string, input: unknown, options: CallOptions): Promise<CallReply> {
    const meter = this.#kinds.get(address.kind)?.commands.get(name);
    return this.#measure(meter, this.#service.command(address, name, input, options));
  }

  transaction(name: string, input: unknown, options: CallOptions): Promise<CallReply> {
    return this.#measure(this.#transactions.get(name), this.#service.transaction(name, input, options));
  }

  beginCommand(
    address: EntityAddress,
    name: string,
    input: unknown,
    options: CallOptions,
    settle: Settle<CallReply>,
  ): void {
    const meter = this.#kinds.get(address.kind)?.commands.get(name);
    if (meter === undefined) return this.#service.beginCommand(address, name, input, options, settle);
    const metered = new MeteredSettle(settle, meter, this.#clock);
    try {
      this.#service.beginCommand(address, name, input, options, metered);
    } catch (error) {
      metered.failed(error);
      throw error;
    }
  }

  beginTransaction(name: string, input: unknown, options: CallOptions, settle: Settle<CallReply>): void {
    const meter = this.#transactions.get(name);
    if (meter === undefined) return this.#service.beginTransaction(name, input, options, settle);
    const metered = new MeteredSettle(settle, meter, this.#clock);
    try {
      this.#service.beginTransaction(name, input, options, metered);
    } catch (error) {
      metered.failed(error);
      throw error;
    }
  }

  query(address: EntityAddress, name: string, input: unknown, options: ReadOptions): Promise<QueryReply> {
    const meter = this.#kinds.get(address.kind)?.queries.get(name);
    return this.#measure(meter, this.#service.query(address, name, input, options));
  }

  state(...call: Parameters<Service["state"]>): ReturnType<Service["state"]> {
    return this.#measure(this.#kinds.get(call[0].kind)?.raw.state, this.#service.state(...call));
  }

  delete(...call: Parameters<Service["delete"]>): ReturnType<Service["delete"]> {
    return this.#measure(this.#kinds.get(call[0].kind)?.raw.delete, this.#service.delete(...call));
  }

  list(...call: Parameters<Service["list"]>): ReturnType<Service["list"]> {
    return this.#measure(this.#kinds.get(call[0])?.raw.list, this.#service.list(...call));
  }

  history(...call: Parameters<Service["history"]>): ReturnType<Service["history"]> {
    return this.#measure(this.#kinds.get(call[0].kind)?.raw.history, this.#service.history(...call));
  }

  /** Not measured: how long it takes is how long its caller waits for something to happen. */
  changes(...call: Parameters<Service["changes"]>): ReturnType<Service["changes"]> {
    return this.#service.changes(...call);
  }

  watch(...call: Parameters<Service["watch"]>): ReturnType<Service["watch"]> {
    return this.#service.watch(...call);
  }

  deadLetters(...call: Parameters<Service["deadLetters"]>): ReturnType<Service["deadLetters"]> {
    return this.#service.deadLetters(...call);
  }

  mintSession(...call: Parameters<Service["mintSession"]>): string {
    return this.#service.mintSession(...call);
  }

  get advanceSession(): Service["advanceSession"] {
    return this.#service.advanceSession;
  }

  health(): ReturnType<Service["health"]> {
    return this.#service.health();
  }
}

/** An object and no closures: one is made for every call. */
class MeteredSettle implements Settle<CallReply> {
  readonly #settle: Settle<CallReply>;
  readonly #meter: CallMeter;
  readonly #clock: Clock;
  readonly #beganMs: number;

  constructor(settle: Settle<CallReply>, meter: CallMeter, clock: Clock) {
    this.#settle = settle;
    this.#meter = meter;
    this.#clock = clock;
    this.#beganMs = clock.monotonicMs();
  }

  resolve(reply: CallReply): void {
    this.#meter.done(this.#clock.monotonicMs() - this.#beganMs);
    this.#settle.resolve(reply);
  }

  reject(error: Error): void {
    this.failed(error);
    this.#settle.reject(error);
  }

  failed(error: unknown): void {
    this.#meter.failed(error, this.#clock.monotonicMs() - this.#beganMs);
  }
}
