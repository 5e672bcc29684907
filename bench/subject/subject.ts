/** What the load is put on: something that does the operations, and knows what they could cost at least. */
import type { Operations } from "../workload/operations.ts";
import type { Workload } from "../workload/workload.ts";

export const transports = ["in-process", "websocket", "http"] as const;
/** How Onefold is reached. */
export type Transport = (typeof transports)[number];

export const onefoldEngines = ["segment", "nats"] as const;
/** What Onefold keeps its logs in: files of its own, or a cluster of NATS servers. */
export type OnefoldEngine = (typeof onefoldEngines)[number];

export function isOnefold(engine: OnefoldEngine | Opponent): engine is OnefoldEngine {
  return (onefoldEngines as readonly string[]).includes(engine);
}

export const opponents = ["redis", "postgres"] as const;
/** What Onefold is held against. */
export type Opponent = (typeof opponents)[number];

/** What was measured, for whoever finds out the limit. */
export interface LimitQuestion {
  readonly concurrency: number;
  /** For how long the limit may be measured, each part of it. */
  readonly seconds: number;
  readonly workload: Pick<Workload, "readsPerOperation" | "writesPerOperation">;
}

export interface Limit {
  /** Operations per second of a bare loop of the same parts, which does nothing else. */
  readonly operationsPerSecond?: number;
  /**
   * Where the operations write, the median of one bare append: synced, of the same size, at concurrency 1; in a cluster, to a stream on three
   * servers, with as many callers.
   */
  readonly appendP50Ms?: number;
  /** In a cluster: messages per second of one plain stream on three servers, published to by as many callers. */
  readonly plainStreamPerSecond?: number;
}

/** Measures the limit of what was done since it was given. */
export type LimitMeter = (question: LimitQuestion) => Promise<Limit | undefined>;

export interface Subject {
  readonly operations: Operations;
  /** Called where a measurement begins. */
  mark(): LimitMeter;
  /** Lets go of everything. */
  close(): Promise<void>;
}
