/**
 * One process of the run: a node or a server of the engine.
 *
 * PR1 It does not outlive the run, however that ends, and also while it is stopped by SIGSTOP: a watcher, a shell that reads a pipe which only
 *     the run holds, ends it when the pipe does.
 * PR2 What it prints goes to a file, and the lines of its standard output to `onLine` too.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { createWriteStream, type WriteStream } from "node:fs";
import { createInterface } from "node:readline";

export interface ProcessOptions {
  readonly command: readonly [program: string, ...words: string[]];
  readonly environment?: NodeJS.ProcessEnv;
  readonly logPath: string;
  readonly onLine?: (line: string) => void;
}

/** How it ended: a signal's name or an exit code, as text. */
export type ProcessEnd = string;

const watcherScript = 'cat >/dev/null; kill -KILL "$1"';

export class RunProcess {
  readonly ended: Promise<ProcessEnd>;
  readonly #child: ChildProcess;
  readonly #log: WriteStream;

  constructor({ command: [program, ...words], environment, logPath, onLine }: ProcessOptions) {
    const child = spawn(program, words, {
      stdio: ["ignore", "pipe", "pipe"],
      // In a group of its own: Ctrl-C is for the run, which ends what it has started in order.
      detached: true,
      env: { ...process.env, ...environment },
    });
    this.#child = child;
    this.#log = createWriteStream(logPath, { flags: "a" });
    this.ended = new Promise((resolve) => {
      child.once("error", (error) => resolve(error.message));
      child.once("exit", (code, signal) => resolve(signal ?? `exit code ${code}`));
    });
    createInterface({ input: child.stdout! }).on("line", (line) => {
      this.#log.write(`${line}\n`);
      onLine?.(line);
    });
    child.stderr!.pipe(this.#log, { end: false });
    const watcher = spawn("sh", ["-c", watcherScript, "sh", String(child.pid ?? 0)], {
      stdio: ["pipe", "ignore", "ignore"],
      detached: true,
    });
    // The watcher is gone before its pipe is.
    watcher.stdin!.on("error", () => undefined);
    void this.ended.then(() => {
      watcher.kill("SIGKILL");
      this.#log.end();
    });
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  get isRunning(): boolean {
    return this.#child.pid !== undefined && this.#child.exitCode === null && this.#child.signalCode === null;
  }

  /** Nothing where it has ended. */
  signal(name: "SIGKILL" | "SIGTERM" | "SIGSTOP" | "SIGCONT"): void {
    if (this.isRunning) this.#child.kill(name);
  }

  /** Asks it to end, kills it where it has not after `atMostMs`, and gives how it ended. */
  async stop(atMostMs: number): Promise<ProcessEnd> {
    this.signal("SIGTERM");
    this.signal("SIGCONT");
    const timer = setTimeout(() => this.signal("SIGKILL"), atMostMs);
    const end = await this.ended;
    clearTimeout(timer);
    return end;
  }
}
