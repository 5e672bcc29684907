/** What the load is put on: something that does the operations, and knows what they could cost at least. */
import type { Operations } from "../workload/operations.ts";
import type { Workload } from "../workload/workload.ts";

export const transports = ["in-process", "websocket", "http"] as const;
/** How Onefold is reached. */
export type Transport = (typeof transports)[number];

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
  readonly operationsPerSecond: number;
  /** At concurrency 1, where the operations write: the median of one bare synced append of the same size. */
  readonly appendP50Ms?: number;
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
