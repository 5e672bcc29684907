/**
 * One process of `onefold dev` that loads the system's code once and serves it: `load`, then `open` and `release`, perhaps
 * several times, then `end`. Every wait is bounded: a worker that doesn't answer is killed.
 */
import { type ChildProcess, fork } from "node:child_process";
import { extname } from "node:path";
import { fileURLToPath } from "node:url";
import { exitCodes } from "../exit-code.ts";
import type { FromWorker, ToWorker, WorkerOptions } from "./messages.ts";

/** The worker said `failed`, ended, or didn't answer in time. `message` is for people. */
export class WorkerFailure extends Error {
  override readonly name = "WorkerFailure";
  /** Nothing is wrong with the code: the same may work later. */
  readonly mayPass: boolean;

  constructor(message: string, options: { readonly mayPass?: boolean } = {}) {
    super(message);
    this.mayPass = options.mayPass ?? false;
  }
}

type Answer<Kind extends FromWorker["kind"]> = Extract<FromWorker, { readonly kind: Kind }>;

const loadMs = 60_000;
const openMs = 120_000;
const releaseMs = 20_000;

export class Worker {
  readonly #process: ChildProcess;
  /** Set while a request to the worker waits for its answer. */
  #waiter: ((answer: FromWorker | WorkerFailure) => void) | undefined;
  #ended = false;

  /** `onEnd` is called once, when the process has ended, for whatever reason. */
  constructor(onEnd: (how: string) => void) {
    // The same file beside this one: TypeScript when run from source (the flags that make it run are inherited).
    const main = fileURLToPath(new URL(`./worker-main${extname(import.meta.url)}`, import.meta.url));
    this.#process = fork(main, [], { stdio: ["ignore", "inherit", "inherit", "ipc"] });
    this.#process.on("message", (message) => this.#waiter?.(message as FromWorker));
    const ended = (how: string): void => {
      if (this.#ended) return;
      this.#ended = true;
      this.#waiter?.(new WorkerFailure(`The process ended (${how}).`));
      onEnd(how);
    };
    this.#process.on("error", (error) => ended(error.message));
    this.#process.on("exit", (code, signal) => ended(signal ?? `exit code ${code}`));
  }

  get isAlive(): boolean {
    return !this.#ended;
  }

  load(options: WorkerOptions): Promise<Answer<"loaded">> {
    return this.#ask({ kind: "load", options }, "loaded", loadMs);
  }

  open(): Promise<Answer<"serving">> {
    return this.#ask({ kind: "open" }, "serving", openMs);
  }

  release(): Promise<Answer<"released">> {
    return this.#ask({ kind: "release" }, "released", releaseMs);
  }

  /** Ends the process at once. What it serves must have been released before, or is lost on purpose. */
  end(): void {
    if (!this.#ended) this.#process.kill("SIGKILL");
  }

  async #ask<Kind extends FromWorker["kind"]>(message: ToWorker, kind: Kind, limitMs: number): Promise<Answer<Kind>> {
    if (this.#ended) throw new WorkerFailure("The process has ended.");
    const answer = await new Promise<FromWorker | WorkerFailure>((resolve) => {
      const timer = setTimeout(() => {
        resolve(new WorkerFailure(`The process did not answer within ${limitMs / 1000} s and was stopped.`));
        this.end();
      }, limitMs);
      this.#waiter = (value) => {
        clearTimeout(timer);
        resolve(value);
      };
      this.#process.send(message, (error) => {
        if (error !== null) this.#waiter?.(new WorkerFailure(`The process can't be reached: ${error.message}`));
      });
    });
    this.#waiter = undefined;
    if (answer instanceof WorkerFailure) throw answer;
    if (answer.kind === "failed")
      throw new WorkerFailure(answer.message, { mayPass: answer.exitCode === exitCodes.tryLater });
    if (answer.kind !== kind) throw new WorkerFailure(`The process answered ${answer.kind} instead of ${kind}.`);
    return answer as Answer<Kind>;
  }
}
