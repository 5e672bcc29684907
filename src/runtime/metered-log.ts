/** A log that measures its appends; everything else passes through to the one below. */
import type { Clock } from "../host/host.ts";
import { ForwardingLog } from "../log/forwarding-log.ts";
import type { AppendOutcome, Log } from "../log/log.ts";
import { bytesBounds, Histogram, secondsBounds } from "../metrics/histogram.ts";
import { type Metric, single } from "../metrics/metric.ts";

/** What the appends of a node came to, over all lives of its shard. */
export class LogMeter {
  readonly #duration = new Histogram(secondsBounds);
  readonly #size = new Histogram(bytesBounds);
  readonly #outcomes = new Map<AppendOutcome["kind"], number>([["appended", 0]]);

  note(outcome: AppendOutcome["kind"], sizeBytes: number, ms: number): void {
    this.#outcomes.set(outcome, (this.#outcomes.get(outcome) ?? 0) + 1);
    this.#duration.observe(ms / 1000);
    if (outcome === "appended") this.#size.observe(sizeBytes);
  }

  get metrics(): readonly Metric[] {
    return [
      {
        type: "counter",
        name: "onefold_log_appends_total",
        help:
          "Batches given to the log, by outcome. full: free space on the log's disk. failed: the node has stopped, check the " +
          "disk and restart it. Calls per append (group commit) is the rate of onefold_calls_total over this one.",
        read: () => [...this.#outcomes].map(([outcome, value]) => ({ labels: { outcome }, value })),
      },
      {
        type: "histogram",
        name: "onefold_log_append_duration_seconds",
        help:
          "How long the log took to make a batch durable. It bounds the latency of every write: if it rises, look at the disk " +
          "and at what else uses it.",
        read: () => [{ histogram: this.#duration }],
      },
      {
        type: "histogram",
        name: "onefold_log_batch_size_bytes",
        help: "Size of appended batches. Its sum is the growth of the log: plan disk space and snapshots by its rate.",
        read: () => [{ histogram: this.#size }],
      },
    ];
  }
}

/** `log`, with each append noted on `meter`. */
export class MeteredLog extends ForwardingLog {
  readonly #meter: LogMeter;
  readonly #clock: Clock;

  constructor(log: Log, meter: LogMeter, clock: Clock) {
    super(log);
    this.#meter = meter;
    this.#clock = clock;
  }

  override async append(bytes: Uint8Array, hash?: Uint8Array): Promise<AppendOutcome> {
    const beganMs = this.#clock.monotonicMs();
    const outcome = await this.log.append(bytes, hash);
    this.#meter.note(outcome.kind, bytes.length, this.#clock.monotonicMs() - beganMs);
    return outcome;
  }
}

/** For gauges of the log's reach. */
export function logMetrics(log: () => Log | undefined): readonly Metric[] {
  return [
    {
      type: "gauge",
      name: "onefold_log_sequence",
      help: "The last durable sequence of the log. If it stands still while calls fail, look at /readyz.",
      read: () => single(log()?.end?.sequence),
    },
    {
      type: "gauge",
      name: "onefold_log_first_sequence",
      help: "The first sequence that the log still holds. It moves when the log is trimmed behind two snapshots; if it never does, look at onefold_snapshots_total.",
      read: () => single(log()?.firstSequence),
    },
  ];
}
