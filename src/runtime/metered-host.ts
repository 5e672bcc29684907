/** The host's ports with what they do counted: syncs, bytes and refusals of the disk, stops by the watchdog, log lines. */
import {
  type Disk,
  DiskError,
  type DiskErrorCode,
  type DiskFile,
  type Host,
  type LogLevel,
  type StopReason,
} from "../host/host.ts";
import { Histogram, secondsBounds } from "../metrics/histogram.ts";
import { type Metric, type Sample, single } from "../metrics/metric.ts";

export interface MeteredHost {
  readonly host: Host;
  readonly metrics: readonly Metric[];
}

/** `host` with its ports measured. What goes through them is otherwise untouched. */
export function meteredHost(host: Host): MeteredHost {
  const disk = new MeteredDisk(host.disk, host.clock);
  const stops = new Map<StopReason, number>([
    ["time", 0],
    ["memory", 0],
  ]);
  const lines = new Map<LogLevel, number>([
    ["error", 0],
    ["warn", 0],
    ["info", 0],
    ["debug", 0],
  ]);
  const { guard, trace } = host;
  return {
    host: {
      ...host,
      disk,
      guard: {
        turns: (handlers) =>
          guard.turns({
            run: () => handlers.run(),
            stopped: (reason) => {
              stops.set(reason, stops.get(reason)! + 1);
              handlers.stopped(reason);
            },
          }),
        call: guard.call.bind(guard),
        own: guard.own.bind(guard),
        noteCalls: guard.noteCalls.bind(guard),
      },
      trace: (level, message, fields) => {
        lines.set(level, lines.get(level)! + 1);
        trace(level, message, fields);
      },
    },
    metrics: [
      ...disk.metrics,
      {
        type: "counter",
        name: "onefold_watchdog_stops_total",
        help:
          "User code that the watchdog stopped, for taking too long or too much memory. Find the command by " +
          'onefold_calls_total{result="command-too-slow"} or the log, and mend it.',
        read: () => samples(stops, "reason"),
      },
      {
        type: "counter",
        name: "onefold_trace_lines_total",
        help: "Lines of the node's own log by level, also those below the level that is written. A rising error needs a person now: read the log.",
        read: () => samples(lines, "level"),
      },
    ],
  };
}

function samples(counts: ReadonlyMap<string, number>, label: string): readonly Sample[] {
  return [...counts].map(([key, value]) => ({ labels: { [label]: key }, value }));
}

class MeteredDisk implements Disk {
  readonly #disk: Disk;
  readonly #clock: Host["clock"];
  readonly #syncs = new Histogram(secondsBounds);
  readonly #errors = new Map<DiskErrorCode, number>();
  #writtenBytes = 0;

  constructor(disk: Disk, clock: Host["clock"]) {
    this.#disk = disk;
    this.#clock = clock;
  }

  get metrics(): readonly Metric[] {
    return [
      {
        type: "histogram",
        name: "onefold_disk_sync_duration_seconds",
        help: "How long the disk took to make something durable (log, anchors, snapshots; the store's engine syncs by itself). Above some ten milliseconds the disk, or what shares it, is the bottleneck.",
        read: () => [{ histogram: this.#syncs }],
      },
      {
        type: "counter",
        name: "onefold_disk_written_bytes_total",
        help: "Bytes written to log, anchors and snapshots. Compare it with what the disk can sustain.",
        read: () => single(this.#writtenBytes),
      },
      {
        type: "counter",
        name: "onefold_disk_errors_total",
        help: "Refusals of the disk. full: free space. failed: check the disk; the node stops after a failed write of its log.",
        read: () => [
          ...samples(
            new Map([
              ["full", this.#errors.get("full") ?? 0],
              ["failed", this.#errors.get("failed") ?? 0],
            ]),
            "code",
          ),
        ],
      },
      {
        type: "gauge",
        name: "onefold_disk_free_bytes",
        help: "Free space where the data directory is. Below some gigabytes, or what a day of the log takes, free or add space.",
        read: async () => single(await this.#disk.freeBytes()),
      },
    ];
  }

  async open(...call: Parameters<Disk["open"]>): Promise<DiskFile> {
    const file = await this.#noting(this.#disk.open(...call));
    return {
      path: file.path,
      size: () => file.size(),
      read: (position, length) => file.read(position, length),
      write: (position, bytes) => {
        this.#writtenBytes += bytes.length;
        return this.#noting(file.write(position, bytes));
      },
      writeDurable: (position, bytes) => {
        this.#writtenBytes += bytes.length;
        return this.#timing(file.writeDurable(position, bytes));
      },
      sync: () => this.#timing(file.sync()),
      truncate: (sizeBytes) => this.#noting(file.truncate(sizeBytes)),
      close: () => file.close(),
    };
  }

  /** Counts a refusal, beside whoever waits for the outcome. */
  #noting<T>(outcome: Promise<T>): Promise<T> {
    outcome.then(undefined, (error: unknown) => {
      if (error instanceof DiskError) this.#errors.set(error.code, (this.#errors.get(error.code) ?? 0) + 1);
    });
    return outcome;
  }

  #timing<T>(outcome: Promise<T>): Promise<T> {
    const beganMs = this.#clock.monotonicMs();
    const done = (): void => this.#syncs.observe((this.#clock.monotonicMs() - beganMs) / 1000);
    outcome.then(done, done);
    return this.#noting(outcome);
  }

  list(directory: string): Promise<readonly string[]> {
    return this.#disk.list(directory);
  }

  makeDirectory(path: string): Promise<void> {
    return this.#noting(this.#disk.makeDirectory(path));
  }

  remove(path: string): Promise<void> {
    return this.#noting(this.#disk.remove(path));
  }

  rename(from: string, to: string): Promise<void> {
    return this.#noting(this.#disk.rename(from, to));
  }

  syncDirectory(path: string): Promise<void> {
    return this.#timing(this.#disk.syncDirectory(path));
  }

  freeBytes(): Promise<number> {
    return this.#disk.freeBytes();
  }

  lock(path: string): Promise<{ release(): Promise<void> }> {
    return this.#disk.lock(path);
  }
}
