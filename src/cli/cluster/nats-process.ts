/**
 * One `nats-server` as a child of this process.
 *
 * NP1 It does not outlive this process, however that ends: a watcher, a shell that reads a pipe which only this process holds, ends it when
 *     the pipe does. A signal of the terminal reaches neither of the two.
 * NP2 `stop` and `kill` resolve when it is gone.
 */
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { promisify } from "node:util";

/** After so long a server that was asked to stop is killed. */
const stopMsMax = 10_000;

/** A paused one comes to rest after the system calls that it is in. */
const pausePollMs = 10;
const pauseLooksMax = 500;

/** Asks the server to stop, continues it if it is paused, and kills it if it is still there after five seconds. */
const watcherScript =
  'cat >/dev/null; kill -TERM "$1"; kill -CONT "$1"; i=0; while [ $i -lt 50 ] && kill -0 "$1"; do sleep 0.1; i=$((i+1)); done; kill -KILL "$1"';

export class NatsProcess {
  readonly #child: ChildProcess;
  readonly #watcher: ChildProcess;
  readonly #gone: Promise<void>;
  #stderr = "";

  constructor(program: string, configFile: string) {
    const child = spawn(program, ["--config", configFile], { stdio: ["ignore", "ignore", "pipe"], detached: true });
    this.#child = child;
    this.#gone = new Promise((resolve) => {
      child.once("exit", () => resolve());
      child.once("error", (error) => {
        this.#stderr += error.message;
        resolve();
      });
    });
    child.stderr!.setEncoding("utf8").on("data", (text: string) => {
      this.#stderr = (this.#stderr + text).slice(-4096);
    });
    this.#watcher = spawn("sh", ["-c", watcherScript, "sh", String(child.pid ?? 0)], {
      stdio: ["pipe", "ignore", "ignore"],
      detached: true,
    });
    // It is gone before its pipe is where it was ended.
    this.#watcher.stdin!.on("error", () => undefined);
    void this.#gone.then(() => this.#watcher.kill("SIGKILL"));
  }

  /** Resolves when it is gone, however that came. */
  get gone(): Promise<void> {
    return this.#gone;
  }

  /** Undefined where it could not be started. */
  get pid(): number | undefined {
    return this.#child.pid;
  }

  get isRunning(): boolean {
    return this.#child.pid !== undefined && this.#child.exitCode === null && this.#child.signalCode === null;
  }

  /** What it has said on its way down, if it went down by itself. */
  get lastWords(): string {
    return this.#stderr.trim();
  }

  /** Gracefully: it hands over what it leads, and closes its files. */
  async stop(): Promise<void> {
    if (!this.isRunning) return this.#gone;
    this.#child.kill("SIGTERM");
    this.#child.kill("SIGCONT");
    const timer = setTimeout(() => this.#child.kill("SIGKILL"), stopMsMax);
    await this.#gone;
    clearTimeout(timer);
  }

  async kill(): Promise<void> {
    if (this.isRunning) this.#child.kill("SIGKILL");
    await this.#gone;
  }

  /** Resolves when none of its threads runs any more. */
  async pause(): Promise<void> {
    this.#child.kill("SIGSTOP");
    for (let looks = 0; this.isRunning; looks++) {
      const states = await threadStates(this.#child.pid!);
      if (states.every((state) => state.startsWith("T"))) return;
      if (looks === pauseLooksMax)
        throw new Error(`The process ${this.#child.pid} is not paused: ${states.join(" ")}.`);
      await new Promise((resolve) => setTimeout(resolve, pausePollMs));
    }
  }

  resume(): void {
    this.#child.kill("SIGCONT");
  }
}

/** As `ps` has them, of each thread where the system shows threads; `T` is one that is stopped. */
async function threadStates(pid: number): Promise<readonly string[]> {
  const threads = process.platform === "linux" ? ["-L"] : [];
  const { stdout } = await promisify(execFile)("ps", [...threads, "-o", "stat=", "-p", String(pid)]);
  return stdout
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => line !== "");
}
