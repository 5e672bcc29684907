/**
 * Runs seeds in several processes, as many at a time as there are processors, and gives the results as if they had been run one after the other.
 *
 * PO1  Results come in the order of the seeds, up to the first that ends the campaign and no further: how many processes there are, and which
 *      of them is faster, changes nothing.
 * PO2  A seed whose process gives no sign of life is run once more in another one, with a limit of time on each call of user code; if that one
 *      is silent too, or a process ends by itself, the campaign ends with `SeedCrash`.
 * PO3  No process outlives `runSeeds`; each ends by itself when the one that began it is gone.
 */
import { type ChildProcess, fork } from "node:child_process";
import { extname } from "node:path";
import { fileURLToPath } from "node:url";
import { type ErrorCode, errorTable, OnefoldError } from "../../base/errors.ts";
import type { ChildMessage, ParentMessage } from "./seed-child.ts";

export interface SeedPoolOptions<R> {
  /** What a child runs, without the extension: a module that calls `serveSeeds`. */
  readonly entry: URL;
  /** What each child is told once; can be cloned. */
  readonly task: unknown;
  readonly seeds: readonly string[];
  /** Processes at a time, at most. */
  readonly jobs: number;
  /** The result ends the campaign: no seed behind it counts. */
  readonly isLast: (result: R) => boolean;
  /** A seed was done; they come in any order. */
  readonly onDone?: (progress: { readonly seed: string; readonly result: R; readonly doneCount: number }) => void;
  /** A process that has said nothing for so many seconds hangs. Default 30. */
  readonly silentSecondsMax?: number;
}

/** A process that simulated has ended by itself, or hangs. */
export class SeedCrash extends Error {
  override readonly name = "SeedCrash";
  readonly seed: string;

  constructor(seed: string, message: string) {
    super(message);
    this.seed = seed;
  }
}

const silentSecondsMaxDefault = 30;

/** Throws `SeedCrash`, and what a child threw that is no result: an `OnefoldError` as one, else an `Error` with its stack. */
export async function runSeeds<R>(options: SeedPoolOptions<R>): Promise<readonly R[]> {
  const campaign = new Campaign(options);
  const count = Math.max(1, Math.min(options.jobs, options.seeds.length));
  try {
    await Promise.all(Array.from({ length: count }, () => campaign.work()));
  } finally {
    campaign.end();
  }
  return campaign.results();
}

type Outcome<R> = { readonly value: R } | { readonly error: unknown };

class Campaign<R> {
  readonly #options: SeedPoolOptions<R>;
  readonly #outcomes = new Map<number, Outcome<R>>();
  readonly #children = new Set<SeedChild<R>>();
  #next = 0;
  /** Seeds from here on don't count. */
  #end: number;

  constructor(options: SeedPoolOptions<R>) {
    this.#options = options;
    this.#end = options.seeds.length;
  }

  /** PO1. */
  results(): readonly R[] {
    return Array.from({ length: this.#end }, (_, index) => {
      const outcome = this.#outcomes.get(index)!;
      if ("error" in outcome) throw outcome.error;
      return outcome.value;
    });
  }

  /** One process's part, and that of those that come in its place. */
  async work(): Promise<void> {
    const { seeds, isLast, onDone } = this.#options;
    let child: SeedChild<R> | undefined;
    while (this.#next < this.#end) {
      const index = this.#next++;
      const seed = seeds[index]!;
      child ??= this.#begin();
      let outcome = await child.run(seed, { isGuarded: false });
      if (outcome === "silent") {
        this.#kill(child);
        child = this.#begin();
        outcome = await child.run(seed, { isGuarded: true });
      }
      if (outcome === "silent") {
        const message = `Seed ${seed} comes to no end: some code of the system or its simulation loops, and gives way to nothing else.`;
        outcome = { error: new SeedCrash(seed, message) };
      }
      this.#outcomes.set(index, outcome);
      if ("error" in outcome || isLast(outcome.value)) this.#end = Math.min(this.#end, index + 1);
      if ("error" in outcome) break;
      onDone?.({ seed, result: outcome.value, doneCount: this.#outcomes.size });
    }
    if (child !== undefined) this.#kill(child);
  }

  #begin(): SeedChild<R> {
    const child = new SeedChild<R>(this.#options);
    this.#children.add(child);
    return child;
  }

  #kill(child: SeedChild<R>): void {
    this.#children.delete(child);
    child.kill();
  }

  /** PO3. */
  end(): void {
    for (const child of this.#children) child.kill();
    this.#children.clear();
  }
}

class SeedChild<R> {
  readonly #process: ChildProcess;
  readonly #silentSecondsMax: number;

  constructor({ entry, task, silentSecondsMax = silentSecondsMaxDefault }: SeedPoolOptions<R>) {
    this.#silentSecondsMax = silentSecondsMax;
    // Sources have their modules under another name than what is built of them.
    const path = fileURLToPath(entry) + extname(fileURLToPath(import.meta.url));
    const { NODE_TEST_CONTEXT: _inherited, ...env } = process.env;
    this.#process = fork(path, [], { serialization: "advanced", env });
    this.#say({ type: "begin", task });
  }

  /** `silent` where there was no sign of life for too long. */
  run(seed: string, { isGuarded }: { readonly isGuarded: boolean }): Promise<Outcome<R> | "silent"> {
    const child = this.#process;
    return new Promise((resolve) => {
      let silentSeconds = 0;
      // Seconds that this process has lived through: while the whole machine stands still, nobody is silent.
      const watch = setInterval(() => {
        if (++silentSeconds > this.#silentSecondsMax) settle("silent");
      }, 1000);
      const settle = (outcome: Outcome<R> | "silent"): void => {
        clearInterval(watch);
        child.off("message", onMessage);
        child.off("exit", onExit);
        child.off("error", onError);
        resolve(outcome);
      };
      const onMessage = (message: ChildMessage): void => {
        silentSeconds = 0;
        if (message.type === "result") settle({ value: message.value as R });
        else if (message.type === "threw") settle({ error: errorOf(message) });
      };
      const onExit = (code: number | null, signal: string | null): void => {
        const how = signal === null ? `with the exit code ${code}` : `by the signal ${signal}`;
        const message =
          `The process that simulated seed ${seed} has ended by itself, ${how}: it may have run out of memory, or some code of the ` +
          "system or its simulation ends the process.";
        settle({ error: new SeedCrash(seed, message) });
      };
      const onError = (error: Error): void => {
        settle({ error: new SeedCrash(seed, `No process could simulate seed ${seed}: ${error.message}`) });
      };
      child.on("message", onMessage);
      child.on("exit", onExit);
      child.on("error", onError);
      if (child.exitCode !== null || child.signalCode !== null) onExit(child.exitCode, child.signalCode);
      else this.#say({ type: "run", seed, isGuarded });
    });
  }

  kill(): void {
    this.#process.kill("SIGKILL");
  }

  #say(message: ParentMessage): void {
    // One that is gone says so by its exit.
    this.#process.send(message, () => undefined);
  }
}

function errorOf({ error }: Extract<ChildMessage, { type: "threw" }>): Error {
  const { message, stack, code = "" } = error;
  const thrown = Object.hasOwn(errorTable, code) ? new OnefoldError(code as ErrorCode, message) : new Error(message);
  if (stack !== undefined) thrown.stack = stack;
  return thrown;
}
