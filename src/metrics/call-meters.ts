/**
 * Counts calls by what was called and how it ended. A meter is made for every operation of the definitions when a node
 * starts; a call finds its meter by two names and adds to plain numbers.
 *
 * K1  There are as many meters as operations, and as many results as error codes: callers can't make more (G9).
 */
import { type ErrorCode, OnefoldError, Refused } from "../base/errors.ts";
import { Histogram, secondsBounds } from "./histogram.ts";
import type { Labels, Metric, Sample } from "./metric.ts";

/** One operation. `done`, `refused` or `failed` is called once for each call. */
export class CallMeter {
  readonly #labels: Labels;
  readonly duration = new Histogram(secondsBounds);
  #doneCount = 0;
  #refusedCount = 0;
  #failedCounts: Map<ErrorCode, number> | undefined;

  constructor(labels: Labels) {
    this.#labels = labels;
  }

  get labels(): Labels {
    return this.#labels;
  }

  done(ms: number): void {
    this.#doneCount++;
    this.duration.observe(ms / 1000);
  }

  failed(error: unknown, ms: number): void {
    this.duration.observe(ms / 1000);
    if (error instanceof Refused) {
      this.#refusedCount++;
      return;
    }
    const code = error instanceof OnefoldError ? error.code : "internal";
    this.#failedCounts ??= new Map();
    this.#failedCounts.set(code, (this.#failedCounts.get(code) ?? 0) + 1);
  }

  /** `done` always, so that a rate has a start; other results once there are any. */
  results(): readonly Sample[] {
    const counts: [string, number][] = [["done", this.#doneCount]];
    if (this.#refusedCount > 0) counts.push(["refused", this.#refusedCount]);
    counts.push(...(this.#failedCounts ?? []));
    return counts.map(([result, value]) => ({ labels: { ...this.#labels, result }, value }));
  }
}

/** The metrics of these meters. */
export function callMetrics(meters: readonly CallMeter[]): readonly Metric[] {
  return [
    {
      type: "counter",
      name: "onefold_calls_total",
      help:
        "Calls that were answered, by how they ended: done, refused (a business answer), or an error's code. Look into rising " +
        "command-failed and command-too-slow (user code), overloaded and deadline-passed (capacity), conflict (contention).",
      read: () => meters.flatMap((meter) => meter.results()),
    },
    {
      type: "histogram",
      name: "onefold_call_duration_seconds",
      help:
        "From a call's arrival at the node's service to its answer, durable. If it rises with onefold_queued_calls the node " +
        "lacks processor time; if it rises with onefold_log_append_duration_seconds the disk is slow.",
      read: () =>
        meters
          .filter(({ duration }) => duration.count > 0)
          .map(({ labels, duration }) => ({ labels, histogram: duration })),
    },
  ];
}
