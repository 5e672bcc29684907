/**
 * Processes of the benchmark: a parent starts a module of this folder with a job, the child says when it is ready, and ends when it is
 * told to or when its parent is gone, however that ended.
 */
import { type ChildProcess, fork } from "node:child_process";
import { extname } from "node:path";
import { fileURLToPath } from "node:url";

/** The modules that can be started. */
export type ChildName = "load" | "node" | "cluster-node" | "bare-http" | "bare-socket";

export interface Child {
  /** What the child said when it was ready. */
  readonly ready: unknown;
  /** Resolves when it has ended well, rejects when it has failed. */
  readonly ended: Promise<void>;
  /** Asks it to end, and is `ended`. Idempotent. */
  close(): Promise<void>;
  /** Ends it at once, without a word to it. Resolves when it is gone. */
  kill(): Promise<void>;
}

type FromChild =
  | { readonly type: "ready"; readonly value: unknown }
  | { readonly type: "told"; readonly value: unknown };

/**
 * Starts a child with `job`, which must be made of JSON, and resolves when it is ready. What the child tells later goes to `onTold`.
 * Rejects where it ends before it is ready; what it had to say about that is on standard error.
 */
export async function startChild(name: ChildName, job: unknown, onTold?: (value: unknown) => void): Promise<Child> {
  const process = fork(pathOf(name), [], { serialization: "advanced" });
  const ended = endOf(name, process);
  const ready = new Promise<unknown>((resolve) => {
    process.on("message", (message: FromChild) => {
      if (message.type === "ready") resolve(message.value);
      else onTold?.(message.value);
    });
  });
  process.send({ job });
  const first = await Promise.race([ready.then((value) => ({ value })), ended.then(() => undefined)]);
  if (first === undefined) throw new Error(`the process ${name} ended before it was ready`);
  return {
    ready: first.value,
    ended,
    close: () => {
      if (process.connected) process.disconnect();
      return ended;
    },
    kill: async () => {
      const gone = new Promise<void>((resolve) => process.once("exit", () => resolve()));
      if (process.kill("SIGKILL")) await gone;
    },
  };
}

/** This module's own extension: the benchmark also runs uncompiled. */
function pathOf(name: ChildName): string {
  const own = fileURLToPath(import.meta.url);
  return fileURLToPath(new URL(`./${name}${extname(own)}`, import.meta.url));
}

/** Resolves when it has ended well, rejects when it has not. */
function endOf(name: string, process: ChildProcess): Promise<void> {
  const ended = new Promise<void>((resolve, reject) => {
    process.once("error", reject);
    process.once("exit", (code, signal) => {
      if (code === 0) resolve();
      else reject(new Error(`the process ${name} ended with ${signal ?? `code ${code}`}`));
    });
  });
  // Whoever awaits it hears of it; nobody may be listening just now.
  ended.catch(() => undefined);
  return ended;
}

const closeMsMax = 60_000;

export interface ChildWork {
  /** Told to the parent. */
  readonly ready: unknown;
  /** Called once, when the parent wants it or is gone. */
  close(): Promise<void>;
}

/** In a child: begins the work that the parent asks for, and ends the process with it. */
export function beChild(begin: (job: unknown) => Promise<ChildWork>): void {
  let work: Promise<ChildWork> | undefined;
  process.once("message", ({ job }: { readonly job: unknown }) => {
    work = begin(job);
    work.then(({ ready }) => tell({ type: "ready", value: ready }), fail);
  });
  process.once("disconnect", () => {
    if (work === undefined) return process.exit();
    // Where the engine is gone before the node, that may wait for ever.
    setTimeout(() => process.exit(1), closeMsMax).unref();
    work.then(({ close }) => close()).then(() => process.exit(), fail);
  });
  // The terminal's Ctrl-C goes to all processes at once; the parent decides what becomes of it.
  process.on("SIGINT", () => undefined);
}

/** In a child: tells the parent something. */
export function tellParent(value: unknown): void {
  tell({ type: "told", value });
}

function tell(message: FromChild): void {
  if (process.connected) process.send!(message);
}

function fail(error: unknown): void {
  console.error(error);
  process.exit(1);
}
