/** An engine whose logs are in regions, as nodes in regions have it: what is far takes its time, and can be cut off. */
import { OnefoldError } from "../base/errors.ts";
import type { MemoryEngineServer } from "../log/engine/memory-engine.ts";
import type { EngineLog, LogEngine } from "../log/engine-log.ts";
import type { Scheduler } from "../sim/scheduler.ts";

export interface FarEngineOptions {
  readonly server: MemoryEngineServer;
  readonly scheduler: Scheduler;
  /** From one region to the other, one way. */
  readonly delayMs: number;
  /** Where logs are that are made for no region. */
  readonly home: string;
}

/** How long a question waits that gets no answer. */
const silenceMs = 300;

export class FarEngine {
  readonly #options: FarEngineOptions;
  /** Of each log, by its name. */
  readonly regions = new Map<string, string>();
  /** Nothing passes between regions. */
  isCut = false;

  constructor(options: FarEngineOptions) {
    this.#options = options;
  }

  /** As a node in that region has it. */
  connect(region: string): LogEngine {
    const engine = this.#options.server.connect();
    return {
      open: async (name) => {
        const log = await this.#far(region, name, () => engine.open(name));
        return log && this.#log(region, log);
      },
      create: async (name, options) => {
        if (!this.regions.has(name)) this.regions.set(name, options.region ?? this.#options.home);
        return this.#log(region, await this.#far(region, name, () => engine.create(name, options)));
      },
      laxities: (options) => engine.laxities(options),
      close: () => engine.close(),
    };
  }

  #isFar(region: string, name: string): boolean {
    return (this.regions.get(name) ?? this.#options.home) !== region;
  }

  async #far<T>(region: string, name: string, ask: () => Promise<T>): Promise<T> {
    if (!this.#isFar(region, name)) return ask();
    const { scheduler, delayMs } = this.#options;
    await scheduler.sleep(delayMs);
    if (this.isCut) await this.#silence();
    const answer = await ask();
    await scheduler.sleep(delayMs);
    if (this.isCut) await this.#silence();
    return answer;
  }

  async #silence(): Promise<never> {
    await this.#options.scheduler.sleep(silenceMs);
    throw new OnefoldError("unavailable", "The engine can't be reached.");
  }

  #log(region: string, log: EngineLog): EngineLog {
    const { scheduler, delayMs } = this.#options;
    const ask = <T>(question: () => Promise<T>): Promise<T> => this.#far(region, log.name, question);
    return {
      name: log.name,
      append: async (sequence, bytes) => {
        try {
          return await ask(() => log.append(sequence, bytes));
        } catch (cause) {
          if (!(cause instanceof OnefoldError)) throw cause;
          return { kind: "unknown", cause, isSilent: true };
        }
      },
      read: (sequence) => ask(() => log.read(sequence)),
      readMany: (sequence, bytesMax) => ask(() => log.readMany(sequence, bytesMax)),
      bounds: () => ask(() => log.bounds()),
      tail: (sequence, listener) => {
        if (!this.#isFar(region, log.name)) return log.tail(sequence, listener);
        let isOpen = true;
        const tail = log.tail(sequence, {
          record: (at, bytes) => {
            if (this.isCut) return;
            void scheduler.sleep(delayMs).then(() => {
              if (isOpen && !this.isCut) listener.record(at, bytes);
            });
          },
          ended: (cause) => listener.ended(cause),
        });
        return {
          close: () => {
            isOpen = false;
            tail.close();
          },
        };
      },
      trim: (sequence) => ask(() => log.trim(sequence)),
    };
  }
}
