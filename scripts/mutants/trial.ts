/** Running a trial in a directory with the sources, broken or not, until something is found, or nothing is. */
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import type { Trial } from "./mutant.ts";
import type { SeedLine } from "./seeds.ts";

/** `seed`: the one that found it. */
export type TrialOutcome =
  | { readonly kind: "found"; readonly seed: number; readonly what: string }
  | { readonly kind: "nothing" };

export interface TrialRun {
  /** With the sources. */
  readonly directory: string;
  readonly from: number;
  readonly count: number;
  /** A process that finishes no seed for so long loops for ever. */
  readonly hangsAfterMs: number;
  /** Called after each seed, with how long it took. */
  readonly onSeed?: (durationMs: number) => void;
}

export function runTrial(trial: Trial, run: TrialRun): Promise<TrialOutcome> {
  return trial.kind === "tests" ? runTests(trial.files, run) : runSeeds(trial, run);
}

async function runSeeds(trial: Exclude<Trial, { kind: "tests" }>, run: TrialRun): Promise<TrialOutcome> {
  const { from, count, onSeed } = run;
  const name = trial.kind === "cluster" ? trial.regime : trial.kind;
  let next = from;
  let found: string | undefined;
  let beganMs = performance.now();
  const args = ["--import", "tsx", "scripts/mutants/seeds.ts", name, String(from), String(count)];
  const end = await watchProcess(args, run, (line) => {
    const parsed = seedLine(line);
    if (parsed === undefined) return false;
    next = parsed.seed + 1;
    onSeed?.(performance.now() - beganMs);
    beganMs = performance.now();
    found ??= parsed.found ?? undefined;
    return true;
  });
  if (found !== undefined) return { kind: "found", seed: next - 1, what: found };
  if (end.hangs) return { kind: "found", seed: next, what: "the simulated program loops for ever" };
  // Whatever ends the process other than a verdict is a finding too, of the kind that users would see as a crash.
  if (end.code !== 0) return { kind: "found", seed: next, what: `the process ended with ${end.code}: ${end.errors}` };
  return { kind: "nothing" };
}

/** Each file in a process of its own, which is all that there is to be killed where it loops. */
async function runTests(files: readonly string[], run: TrialRun): Promise<TrialOutcome> {
  for (const file of files) {
    let failed: string | undefined;
    const end = await watchProcess(["--import", "tsx", "--test-reporter=tap", file], run, (line, stop) => {
      failed ??= /^\s*not ok \d+ - (.*)$/.exec(line)?.[1];
      // The others may take long, broken as they are.
      if (failed !== undefined) stop();
      return /^\s*(not )?ok \d+/.test(line);
    });
    if (failed !== undefined) return { kind: "found", seed: 0, what: `test '${failed}'` };
    if (end.hangs) return { kind: "found", seed: 0, what: `a test of ${file} loops for ever` };
    if (end.code !== 0) return { kind: "found", seed: 0, what: `${file} ended with ${end.code}: ${end.errors}` };
  }
  return { kind: "nothing" };
}

function seedLine(line: string): SeedLine | undefined {
  if (!line.startsWith('{"seed":')) return undefined;
  return JSON.parse(line) as SeedLine;
}

interface ProcessEnd {
  /** Null for a signal. */
  readonly code: number | null;
  readonly hangs: boolean;
  /** The beginning of what it wrote to its standard error. */
  readonly errors: string;
}

/** `onLine` says whether the line is a sign of progress; it may stop the process, where enough is known. */
function watchProcess(
  args: readonly string[],
  { directory, hangsAfterMs }: TrialRun,
  onLine: (line: string, stop: () => void) => boolean,
): Promise<ProcessEnd> {
  const { NODE_TEST_CONTEXT: _inherited, ...environment } = process.env;
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, args, {
      cwd: directory,
      stdio: ["ignore", "pipe", "pipe"],
      env: { ...environment, NODE_OPTIONS: "--conditions=onefold-source" },
    });
    let hangs = false;
    const timer = setTimeout(() => {
      hangs = true;
      child.kill("SIGKILL");
    }, hangsAfterMs);
    let errors = "";
    child.stderr.on("data", (chunk: Buffer) => {
      if (errors.length < 400) errors += chunk.toString();
    });
    createInterface({ input: child.stdout }).on("line", (line) => {
      if (onLine(line, () => child.kill("SIGKILL"))) timer.refresh();
    });
    child.on("error", reject);
    child.on("close", (code) => {
      clearTimeout(timer);
      resolve({ code, hangs, errors: errors.trim().replaceAll(/\s+/g, " ").slice(0, 300) });
    });
  });
}
