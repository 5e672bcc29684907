/**
 * A node of the cluster as a process of its own: `onefold start --cluster`, started, waited for, and ended.
 *
 * NP1 It does not outlive this process: it looks for its parent by itself.
 * NP2 What it says on its standard error goes where ours goes, line by line, with its name in front.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { endsWithParent } from "../stop-signals.ts";

export interface NodeProcessOptions {
  readonly name: string;
  /** Behind the program's name. */
  readonly words: readonly string[];
  readonly onNote: (line: string) => void;
}

export interface NodeReady {
  readonly pid: number;
  readonly url: string;
}

/** How it ended: a signal's name, or an exit code. */
export type NodeEnd = { readonly signal: string } | { readonly code: number };

export class NodeProcess {
  /** Resolves when it serves; undefined where it ended before. */
  readonly ready: Promise<NodeReady | undefined>;
  readonly ended: Promise<NodeEnd>;
  readonly #child: ChildProcess;

  constructor({ name, words, onNote }: NodeProcessOptions) {
    // In a group of its own: Ctrl-C is for us, who end what we started in order.
    const child = spawn(process.execPath, [...process.execArgv, process.argv[1]!, ...words], {
      stdio: ["ignore", "pipe", "pipe"],
      detached: true,
      env: { ...process.env, [endsWithParent]: "1", ONEFOLD_LOG_FORMAT: process.env.ONEFOLD_LOG_FORMAT ?? "text" },
    });
    this.#child = child;
    this.ended = new Promise((resolve) => {
      child.once("error", (error) => {
        onNote(`${name}: ${error.message}`);
        resolve({ code: -1 });
      });
      child.once("exit", (code, signal) => resolve(signal === null ? { code: code ?? -1 } : { signal }));
    });
    const said = new Promise<NodeReady>((resolve) => {
      createInterface({ input: child.stdout! }).on("line", (line) => {
        const said = parseServing(line);
        if (said === undefined) onNote(`${name}: ${line}`);
        else resolve({ pid: child.pid!, url: said });
      });
    });
    this.ready = Promise.race([said, this.ended.then(() => undefined)]);
    createInterface({ input: child.stderr! }).on("line", (line) => onNote(`${name}: ${line}`));
  }

  get isRunning(): boolean {
    return this.#child.pid !== undefined && this.#child.exitCode === null && this.#child.signalCode === null;
  }

  /** Asks it to finish and hand over. `ended` says when it has. */
  stop(): void {
    if (!this.isRunning) return;
    this.#child.kill("SIGTERM");
    this.#child.kill("SIGCONT");
  }

  kill(): void {
    if (this.isRunning) this.#child.kill("SIGKILL");
  }
}

/** The address in the line of JSON that says that the node serves; undefined for any other line. */
function parseServing(line: string): string | undefined {
  if (!line.startsWith("{")) return undefined;
  try {
    const said = JSON.parse(line) as { readonly kind?: unknown; readonly url?: unknown };
    return said.kind === "serving" && typeof said.url === "string" ? said.url : undefined;
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}
