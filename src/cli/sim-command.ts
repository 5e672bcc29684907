/**
 * `onefold sim`: simulates a system, seed after seed, under faults that each seed chooses, several at a time. The first seed that fails ends
 * it: its plan of faults is made small by running parts of it again, and what is left is shown with the end of its transcript.
 */
import { readFile, writeFile } from "node:fs/promises";
import { availableParallelism } from "node:os";
import type { SystemHandle } from "../entity/definition.ts";
import { systemFaults } from "../sim/testing/node-faults.ts";
import { type ShrunkFailure, shrinkFailure } from "../sim/testing/shrink-failure.ts";
import {
  briefTranscript,
  planText,
  shownTranscript,
  type SimulatedFault,
  type SystemSimulationOptions,
  transcriptLinesDefault,
} from "../sim/testing/simulation.ts";
import { clusterSystemFaults, type SimulationPlan } from "../sim/testing/simulation-plan.ts";
import { CommandFailure, exitCodes } from "./exit-code.ts";
import type { Output } from "./output.ts";
import { type CampaignReport, runCampaign, type SaidOptions, type Totals } from "./sim/campaign.ts";
import { findSimulation } from "./sim/simulation-module.ts";
import { enableTypeScript, isTypeScript, loadSystem } from "./system-module.ts";
import { findSystemModule } from "./system-path.ts";
import { bar, countText, printable, quoted, rateText, spanText } from "./text.ts";

export interface SimOptions {
  readonly nodes: number;
  readonly seeds: number;
  /** The first of the seeds. */
  readonly from: number;
  /** This one alone. */
  readonly seed?: string;
  /** Names with commas between. */
  readonly faults?: string;
  /** A file with a plan, as `--json` printed it. */
  readonly plan?: string;
  readonly shrink: boolean;
  /** Processes at a time; absent: as many as there are processors. */
  readonly jobs?: number;
  readonly shards?: number;
  /** A file for the whole transcript. */
  readonly transcript?: string;
  readonly json?: boolean;
}

/** Fails with exit code 1 where a seed does. */
export async function sim(systemPath: string, options: SimOptions, output: Output): Promise<void> {
  const path = await findSystemModule(systemPath, process.cwd());
  if (isTypeScript(path)) enableTypeScript();
  const module = await loadSystem(path);
  const { simulation, origin } = await findSimulation(module);
  const name = module.system.definition.name;
  const faults = faultsOf(options) ?? simulation.faults;
  const plan = await planOf(options);
  const said: SaidOptions = {
    nodes: options.nodes,
    ...(options.shards === undefined ? {} : { shards: options.shards }),
    ...(faults === undefined ? {} : { faults }),
    ...(plan === undefined ? {} : { plan }),
    transcriptLines: options.transcript === undefined ? transcriptLinesKept : Number.MAX_SAFE_INTEGER,
  };
  const how = { ...simulation, ...said };
  const seeds = seedsOf(options);
  if (options.json !== true) output.note(`Simulating ${name} on ${nodesText(options.nodes)}: ${origin}.`);
  const startMs = performance.now();
  const keepsTranscript = options.transcript !== undefined;
  const campaign = { path, said, keepsTranscript, seeds, jobs: options.jobs ?? availableParallelism() };
  const report = await runCampaign(module.system, how, campaign, ({ seed, doneCount }) => {
    const fraction = doneCount / seeds.length;
    output.progress(`${bar(fraction, 20)} seed ${seed}, ${doneCount} of ${seeds.length} done`);
  });
  const elapsedMs = performance.now() - startMs;
  const shrunk = await shrunkOf(module.system, how, report, options, output);
  output.progress("");
  const transcript = shrunk?.failure.transcript ?? report.transcript;
  if (options.transcript !== undefined) await writeFile(options.transcript, `${transcript.join("\n")}\n`);
  const facts = { report, shrunk, elapsedMs, seeds: seeds.length };
  if (options.json === true) output.result(JSON.stringify(plainResult(facts)));
  else output.result(resultText(facts, { systemPath, options, output }));
  if (shrunk === undefined) return;
  throw new CommandFailure(exitCodes.refused, `Seed ${shrunk.failure.seed} failed.`, { isReported: true });
}

function seedsOf({ seed, seeds, from }: SimOptions): readonly string[] {
  if (seed !== undefined) return [seed];
  return Array.from({ length: seeds }, (_, index) => String(from + index));
}

function faultsOf({ faults, nodes }: SimOptions): readonly SimulatedFault[] | undefined {
  if (faults === undefined) return undefined;
  const known: readonly string[] = nodes === 1 ? systemFaults : clusterSystemFaults;
  const names = faults.split(",").filter((name) => name !== "" && name !== "none");
  const unknown = names.find((name) => !known.includes(name));
  if (unknown === undefined) return names as readonly SimulatedFault[];
  throw new CommandFailure(
    exitCodes.usage,
    `There is no fault '${unknown}' on ${nodesText(nodes)}; there is ${known.join(", ")}.`,
  );
}

async function planOf({ plan }: SimOptions): Promise<SimulationPlan | undefined> {
  if (plan === undefined) return undefined;
  try {
    const parsed = JSON.parse(await readFile(plan, "utf8")) as Partial<SimulationPlan> & { plan?: SimulationPlan };
    const found = parsed.plan ?? parsed;
    if (Array.isArray(found.events)) return { events: found.events };
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new CommandFailure(exitCodes.usage, `The plan ${plan} can't be read: ${reason}`, { cause });
  }
  throw new CommandFailure(exitCodes.usage, `${plan} is no plan: it has no list of events.`);
}

async function shrunkOf(
  system: SystemHandle,
  how: Omit<SystemSimulationOptions<SystemHandle>, "seed">,
  { failure }: CampaignReport,
  { shrink }: SimOptions,
  output: Output,
): Promise<ShrunkFailure | undefined> {
  if (failure === undefined) return undefined;
  if (!shrink) return { failure, attemptCount: 0, isReproduced: true };
  return shrinkFailure(system, { ...how, seed: failure.seed }, failure, {
    onAttempt: ({ number, smallest }) =>
      output.progress(`Seed ${failure.seed} failed. Shrinking its plan: run ${number}, ${smallest} events left`),
  });
}

// ------------------------------------------------------------------------------------------------------------ results

interface Facts {
  readonly report: CampaignReport;
  readonly shrunk: ShrunkFailure | undefined;
  readonly elapsedMs: number;
  /** That were asked for. */
  readonly seeds: number;
}

function plainResult({ report, shrunk, elapsedMs }: Facts): unknown {
  const { totals, traceHash } = report;
  return {
    passed: shrunk === undefined,
    ...totals,
    faults: Object.fromEntries(totals.faults),
    elapsedMs: Math.round(elapsedMs),
    ...(traceHash === undefined ? {} : { traceHash }),
    ...(shrunk === undefined
      ? {}
      : {
          seed: shrunk.failure.seed,
          reason: shrunk.failure.reason,
          finding: shrunk.failure.finding,
          plan: shrunk.failure.plan,
          plannedEvents: report.failure?.plan?.events.length,
          shrinkRuns: shrunk.attemptCount,
          isReproduced: shrunk.isReproduced,
          transcript: shrunk.failure.transcript.slice(-transcriptLinesDefault),
        }),
  };
}

interface Shown {
  readonly systemPath: string;
  readonly options: SimOptions;
  readonly output: Output;
}

function resultText(facts: Facts, shown: Shown): string {
  const { report, shrunk, elapsedMs, seeds } = facts;
  const { output } = shown;
  const summary = summaryText(report.totals, elapsedMs, output);
  if (shrunk === undefined) {
    const verdict = output.styled("good", `All ${countText(seeds)} ${seeds === 1 ? "seed" : "seeds"} passed.`);
    const trace = seeds === 1 && report.traceHash !== undefined ? `\nIts trace is ${report.traceHash}.` : "";
    return `${summary}\n${verdict}${trace}`;
  }
  const before = report.totals.seeds === 0 ? "" : `${summary}\n\n`;
  return before + failureText(facts, shrunk, shown);
}

function failureText({ report }: Facts, shrunk: ShrunkFailure, { systemPath, options, output }: Shown): string {
  const { failure } = shrunk;
  const planned = report.failure?.plan?.events.length;
  const lines = [output.styled("bad", `Seed ${failure.seed} failed: ${printable(failure.finding)}`), ""];
  if (!shrunk.isReproduced) {
    lines.push(
      "Run again it did not fail like that: the system's code has chance or time of its own (Math.random, Date.now, fetch).",
      "",
    );
  }
  if (failure.plan !== undefined) {
    const tried =
      shrunk.attemptCount === 0 ? "" : ` It is what ${shrunk.attemptCount} runs have left of ${planned} events.`;
    lines.push(`What goes wrong in it.${tried}`, indented(planText(failure.plan)), "");
  }
  const shown = shownTranscript(briefTranscript(failure.transcript), { linesBefore });
  lines.push("Its faults, and its last lines (virtual ms):", indented(printable(shown)), "");
  const command = ["npx onefold sim", quoted(systemPath), `--nodes ${options.nodes}`, `--seed ${quoted(failure.seed)}`];
  if (options.faults !== undefined) command.push(`--faults ${quoted(options.faults)}`);
  if (options.shards !== undefined) command.push(`--shards ${options.shards}`);
  if (options.plan !== undefined) command.push(`--plan ${quoted(options.plan)}`);
  lines.push(
    "The same again, from the seed, with every line in a file:",
    `  ${command.join(" ")} --transcript run.txt`,
  );
  return lines.join("\n");
}

/** Enough for all that nodes and clients say in a run, between the lines of disks and network, which are most and not shown. */
const transcriptLinesKept = 50_000;
/** Of what led to a fault. */
const linesBefore = 4;

function summaryText(totals: Totals, elapsedMs: number, output: Output): string {
  const { seeds, virtualMs, operations, checks, lives } = totals;
  const faults = [...totals.faults].sort(([, one], [, other]) => other - one);
  const count = faults.reduce((total, [, each]) => total + each, 0);
  const rows = [
    ["seeds", `${countText(seeds)}, ${rateText((seeds * 1000) / elapsedMs)} a second`],
    ["simulated", `${spanText(virtualMs)}, ${rateText(virtualMs / elapsedMs)} times as fast as real time`],
    ["operations", countText(operations)],
    ["lives of nodes", countText(lives)],
    ["checks", countText(checks)],
    [
      "faults",
      `${countText(count)}${count === 0 ? "" : `: ${faults.map(([kind, each]) => `${kind} ${each}`).join(", ")}`}`,
    ],
  ];
  return rows.map(([title = "", text = ""]) => `${output.styled("faint", title.padEnd(16))}${text}`).join("\n");
}

function nodesText(nodes: number): string {
  return nodes === 1 ? "one node" : `${nodes} nodes`;
}

function indented(text: string): string {
  return text
    .split("\n")
    .map((line) => `  ${line}`)
    .join("\n");
}
