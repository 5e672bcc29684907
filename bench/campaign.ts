/**
 * A whole run of the benchmark: what is measured in which order, and what is started and ended for it.
 *
 * C1  One thing at a time: while something is measured, nothing else runs that the benchmark has started.
 * C2  Every family of workloads on every subject has a load process and data of its own.
 * C3  What was started is ended, and what was written is removed, however the run ends.
 */
import { chmod, mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startPostgres } from "./database/postgres-server.ts";
import { startRedis } from "./database/redis-server.ts";
import type { DatabaseServer } from "./database/server-process.ts";
import type { Measurement } from "./measurement.ts";
import type { BenchOptions } from "./options.ts";
import { startChild } from "./process/child.ts";
import type { LoadJob, LoadNews, SubjectPlace } from "./process/load.ts";
import { type ResultLine, resultLine } from "./result.ts";
import { isOnefold, type Opponent } from "./subject/subject.ts";
import { workloadFamilies } from "./workload/workload.ts";

export interface CampaignListener {
  onLine(line: ResultLine): void;
  onProgress(what: string): void;
}

export interface CampaignResult {
  readonly lines: readonly ResultLine[];
  /** Names and versions of what Onefold was held against. */
  readonly opponents: readonly string[];
}

/**
 * Measures what the options ask for: first what Onefold is held against, so that its own lines can say how they compare.
 * Rejects where anything fails, a workload's check included, and with the signal's reason.
 */
export async function runCampaign(
  options: BenchOptions,
  listener: CampaignListener,
  signal: AbortSignal,
): Promise<CampaignResult> {
  const parent = options.dataParent ?? tmpdir();
  await mkdir(parent, { recursive: true });
  const directory = await mkdtemp(join(parent, "onefold-bench-"));
  try {
    // PostgreSQL may have to run as somebody else, who must get through to its own folder.
    await chmod(directory, 0o711);
    return await new Campaign(options, listener, signal, directory).run();
  } finally {
    // A node that was stopped in the middle may still be writing its last bytes.
    await rm(directory, { recursive: true, force: true, maxRetries: 10 });
  }
}

class Campaign {
  readonly #options: BenchOptions;
  readonly #listener: CampaignListener;
  readonly #signal: AbortSignal;
  readonly #directory: string;
  readonly #lines: ResultLine[] = [];
  readonly #opponents: string[] = [];
  #begunCount = 0;

  constructor(options: BenchOptions, listener: CampaignListener, signal: AbortSignal, directory: string) {
    this.#options = options;
    this.#listener = listener;
    this.#signal = signal;
    this.#directory = directory;
  }

  async run(): Promise<CampaignResult> {
    for (const opponent of this.#options.against) await this.#runOpponent(opponent);
    for (const { family, workloads } of this.#families()) {
      for (const transport of this.#options.transports) {
        const directory = join(this.#directory, `${transport}-${family}`);
        const { engine, nodeCount, shardCount } = this.#options;
        const place: SubjectPlace =
          engine === "nats"
            ? { engine, transport, directory, nodeCount, shardCount }
            : { engine, transport, directory };
        await this.#load(place, transport, { family, workloads });
        await rm(directory, { recursive: true, force: true });
      }
    }
    return { lines: this.#lines, opponents: this.#opponents };
  }

  async #runOpponent(opponent: Opponent): Promise<void> {
    this.#listener.onProgress(`${opponent}: starts`);
    const directory = join(this.#directory, opponent);
    const server = await start(opponent, directory);
    try {
      this.#opponents.push(server.version);
      const transport = opponent === "redis" ? "resp" : "postgres";
      for (const wanted of this.#families()) {
        await this.#load({ engine: opponent, port: server.port }, transport, wanted);
      }
    } finally {
      await server.close();
    }
    await rm(directory, { recursive: true, force: true });
  }

  /** Of measurements. */
  #count(): number {
    const { against, transports, workloads, concurrencies } = this.#options;
    return (against.length + transports.length) * workloads.length * concurrencies.length;
  }

  /** The families that have one of the workloads that are wanted, with those. */
  #families(): readonly Wanted[] {
    return workloadFamilies(this.#options.sizes)
      .map(({ name, workloads }) => ({
        family: name,
        workloads: workloads.map((workload) => workload.name).filter((each) => this.#options.workloads.includes(each)),
      }))
      .filter(({ workloads }) => workloads.length > 0);
  }

  async #load(place: SubjectPlace, transport: ResultLine["transport"], wanted: Wanted): Promise<void> {
    const { sizes, concurrencies, seconds } = this.#options;
    const title = isOnefold(place.engine) ? transport : place.engine;
    await runLoad({ place, ...wanted, sizes, concurrencies, seconds }, this.#signal, {
      onBegin: (what) => {
        this.#begunCount++;
        this.#listener.onProgress(`${this.#begunCount} of ${this.#count()}: ${what}, ${title}`);
      },
      onMeasurement: (measurement) => {
        const line = resultLine({ engine: place.engine, transport }, measurement, this.#lines);
        this.#lines.push(line);
        this.#listener.onLine(line);
      },
    });
  }
}

interface Wanted {
  readonly family: string;
  readonly workloads: readonly string[];
}

function start(opponent: Opponent, directory: string): Promise<DatabaseServer> {
  return opponent === "redis" ? startRedis(directory) : startPostgres(directory);
}

interface LoadListener {
  onBegin(what: string): void;
  onMeasurement(measurement: Measurement): void;
}

/** Rejects where the load fails, and with the signal's reason once the load has ended. */
async function runLoad(job: LoadJob, signal: AbortSignal, listener: LoadListener): Promise<void> {
  signal.throwIfAborted();
  let isDone = false;
  let onDone: () => void = () => undefined;
  const done = new Promise<void>((resolve) => {
    onDone = resolve;
  });
  const load = await startChild("load", job, (value) => {
    const news = value as LoadNews;
    switch (news.type) {
      case "begin":
        return listener.onBegin(`${news.workload} at ${news.concurrency}`);
      case "measurement":
        return listener.onMeasurement(news.measurement);
      case "done":
        isDone = true;
        onDone();
    }
  });
  const stop = () => void load.close().catch(() => undefined);
  signal.addEventListener("abort", stop, { once: true });
  try {
    await Promise.race([done, load.ended]);
    await load.close();
  } catch (error) {
    signal.throwIfAborted();
    throw error;
  } finally {
    signal.removeEventListener("abort", stop);
  }
  if (!isDone) throw new Error(`the load ended before ${job.family} was measured`);
}
