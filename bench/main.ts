/** `npm run bench`: reads the options, runs what they ask for, prints it and writes the report. See `options.ts` for what there is. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { runCampaign } from "./campaign.ts";
import { inequalities } from "./comparison.ts";
import { measureMemory } from "./memory.ts";
import { type BenchOptions, parseOptions, usage } from "./options.ts";
import { progressOn } from "./progress.ts";
import { machineFacts } from "./report/machine.ts";
import { writeReport } from "./report/report.ts";
import { table } from "./table.ts";

/** What a shell says of a program that Ctrl-C has ended. */
const interruptedCode = 130;

async function main(args: readonly string[]): Promise<number> {
  let options: BenchOptions;
  try {
    options = parseOptions(args);
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    console.error(`${error.message}\n\n${usage}`);
    return 2;
  }
  if (options.help) {
    console.log(usage);
    return 0;
  }
  return options.memory ? await runMemory(options) : await runBenchmark(options);
}

async function runMemory({ dataParent, json }: BenchOptions): Promise<number> {
  const directory = await mkdtemp(join(dataParent ?? tmpdir(), "onefold-bench-"));
  try {
    await measureMemory(directory, { json });
    return 0;
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

async function runBenchmark(options: BenchOptions): Promise<number> {
  const interruption = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    process.once(signal, () => interruption.abort(new Error(`ended by ${signal}`)));
  }
  const progress = progressOn(process.stderr);
  const notes = inequalities(options.against);
  const { head, row } = table({
    cluster: options.engine === "nats",
    redis: options.against.includes("redis"),
    postgres: options.against.includes("postgres"),
  });
  const startedAt = new Date();
  if (!options.json) console.log(head);
  try {
    const { lines, opponents } = await runCampaign(
      options,
      {
        onProgress: (what) => progress.show(what),
        onLine: (line) => {
          progress.clear();
          console.log(options.json ? JSON.stringify(line) : row(line));
        },
      },
      interruption.signal,
    );
    progress.clear();
    // Where programs read standard output, people still read what is not equal.
    const say = options.json ? console.error : console.log;
    if (notes.length > 0) say(`\nWhat is not equal about this:\n${notes.map((note) => `- ${note}`).join("\n")}`);
    if (options.report !== null) {
      const facts = { startedAt, machine: await machineFacts(), opponents, options, notes };
      console.error(`\nReport: ${await writeReport(options.report, lines, facts)}`);
    }
    return 0;
  } catch (error) {
    progress.clear();
    if (interruption.signal.aborted) {
      console.error(interruption.signal.reason.message);
      return interruptedCode;
    }
    // A process of the benchmark has said above what was wrong there.
    console.error(`The benchmark failed: ${error instanceof Error ? error.message : error}`);
    return 1;
  }
}

process.exitCode = await main(process.argv.slice(2));
