/**
 * Metrics as data: what is measured, with the words for whoever looks at it, and how to read it. Nothing is computed but when
 * somebody reads; what runs often only adds to plain numbers.
 *
 * Names follow the Prometheus conventions (https://prometheus.io/docs/practices/naming/): `onefold_` first, the base unit
 * last (`_seconds`, `_bytes`), `_total` for what only grows. A help text says what to do about the number.
 */
import type { Histogram } from "./histogram.ts";

/** Label values come from definitions and fixed lists, never from callers: no id, no tenant, no path as it came. */
export type Labels = Readonly<Record<string, string>>;

export interface Sample {
  readonly labels?: Labels;
  readonly value: number;
}

export interface DistributionSample {
  readonly labels?: Labels;
  readonly histogram: Histogram;
}

interface Described {
  readonly name: string;
  /** One sentence on what it is, one on what to do. */
  readonly help: string;
}

/** A counter or a gauge. `read` gives no sample where there is nothing to tell just now. */
export interface NumberMetric extends Described {
  readonly type: "counter" | "gauge";
  readonly read: () => readonly Sample[] | Promise<readonly Sample[]>;
}

export interface DistributionMetric extends Described {
  readonly type: "histogram";
  readonly read: () => readonly DistributionSample[];
}

export type Metric = NumberMetric | DistributionMetric;

/** A number without labels; undefined: nothing to tell just now. */
export function single(value: number | undefined): readonly Sample[] {
  return value === undefined ? [] : [{ value }];
}
