/**
 * `npm run chaos`: a cluster of real processes under real faults, with the simulation's checkers over what clients were told.
 *
 * Exit codes: 0 nothing was found, 1 something was, 2 the run could not be made. What it does and how to read it: `docs/chaos.md`.
 */
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { setMaxListeners } from "node:events";
import { cpus, totalmem } from "node:os";
import { dirname, join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import type { SeededRandom } from "../src/base/random.ts";
import type { Party, RunNetwork } from "./chaos/links.ts";
import { LoopbackNetwork } from "./chaos/loopback-network.ts";
import { NamespaceNetwork } from "./chaos/namespace-network.ts";
import { allFaultKinds, faultKinds, parsePlan } from "./chaos/plan.ts";
import { reportPage } from "./chaos/report.ts";
import { type RunResult, run, workloadNames } from "./chaos/run.ts";
import { faultTallies, slowestCalls, workloadTallies } from "./chaos/tally.ts";
import { natsServerForTests } from "./nats-server.ts";

const root = fileURLToPath(new URL("..", import.meta.url));

const usage = `npm run chaos -- [options]

  --seconds N          how long faults strike (60)
  --seed TEXT          gives the same schedule of faults again; default: made of the time
  --plan FILE          the schedule in this file instead: one that an earlier run has printed
  --faults A,B         only these kinds; default: all of
${allFaultKinds.map((kind) => `                         ${kind.padEnd(13)} ${faultKinds[kind]}`).join("\n")}
  --workloads A,B      only these of ${workloadNames.join(", ")}
  --nodes N            how many nodes (3)
  --clients N          how many clients of each workload (3)
  --loopback           processes on loopback, behind proxies of our own
  --namespaces         processes in network namespaces with addresses of their own (root, iproute2); default where that can be
  --report FILE        where the report goes; default: reports/chaos-<date>.html
  --keep               leaves data and logs where they are, as a run that finds something does
  --json               prints the result as JSON, and nothing else on standard output
`;

async function main(words: readonly string[]): Promise<number> {
  const { values } = parseArgs({
    args: [...words],
    options: {
      seconds: { type: "string", default: "60" },
      seed: { type: "string" },
      plan: { type: "string" },
      faults: { type: "string" },
      workloads: { type: "string" },
      nodes: { type: "string", default: "3" },
      clients: { type: "string", default: "3" },
      loopback: { type: "boolean", default: false },
      namespaces: { type: "boolean", default: false },
      report: { type: "string" },
      keep: { type: "boolean", default: false },
      json: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) {
    console.log(usage);
    return 0;
  }
  const say = (sentence: string): void => (values.json ? console.error(sentence) : console.log(sentence));
  const date = new Date()
    .toISOString()
    .replace(/\.\d+Z$/, "")
    .replaceAll(":", "-");
  const stopping = new AbortController();
  // Each sleep of the run listens to it.
  setMaxListeners(0, stopping.signal);
  for (const name of ["SIGINT", "SIGTERM"] as const) process.once(name, () => stopping.abort(new Error(name)));
  const engine = await natsServerForTests(say);
  const result = await run({
    natsServer: engine.path,
    makeNetwork: await networkMaker(values, say),
    seed: values.seed ?? date,
    durationMs: whole("seconds", values.seconds, 86_400) * 1000,
    kinds: chosen("faults", values.faults, allFaultKinds),
    workloads: chosen("workloads", values.workloads, workloadNames),
    plan: values.plan === undefined ? undefined : parsePlan(await readFile(values.plan, "utf8")),
    nodeCount: whole("nodes", values.nodes, 4),
    clientsOfEach: whole("clients", values.clients, 64),
    keeps: values.keep,
    say,
    signal: stopping.signal,
  });
  const path = resolve(values.report ?? join(root, "reports", `chaos-${date}.html`));
  const facts = {
    date: new Date().toUTCString(),
    machine: `Node ${process.version}, ${process.platform} ${process.arch}, ${cpus().length} cores, ${Math.round(totalmem() / 2 ** 30)} GiB`,
    engine: `3 × nats-server ${engine.version}`,
  };
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, reportPage(result, facts));
  say(summaryOf(result, relative(process.cwd(), path)));
  if (values.json) console.log(JSON.stringify(jsonOf(result, path)));
  return result.findings.length === 0 ? 0 : 1;
}

async function networkMaker(
  { loopback, namespaces }: { readonly loopback: boolean; readonly namespaces: boolean },
  say: (sentence: string) => void,
): Promise<(parties: readonly Party[], random: SeededRandom) => Promise<RunNetwork>> {
  const onLoopback = async (_parties: readonly Party[], random: SeededRandom) => new LoopbackNetwork(random);
  if (loopback) return onLoopback;
  const lack = await NamespaceNetwork.lacks();
  if (lack === undefined) return (parties) => NamespaceNetwork.make(parties);
  if (namespaces) throw new Error(`--namespaces can't be: ${lack}.`);
  say(`On loopback, because ${lack}.`);
  return onLoopback;
}

function summaryOf(result: RunResult, path: string): string {
  const { findings, restMs, plan } = result;
  const lines = workloadTallies(result).map(
    ({ workload, calls, ok, refused, failed, unknown, p50Ms, p99Ms, slowestMs }) =>
      `  ${workload.padEnd(10)} ${String(calls).padStart(6)} calls: ${ok} ok, ${refused} refused, ${failed} failed, ${unknown} unknown; p50 ${p50Ms} ms, p99 ${p99Ms} ms, slowest ${slowestMs} ms`,
  );
  const faults = faultTallies(result).map(
    ({ kind, count, pauseMs, slowestMs }) =>
      `  ${kind.padEnd(13)} ${count} ×, longest pause ${pauseMs} ms, slowest call ${slowestMs} ms`,
  );
  const slow = slowestCalls(result).map(
    ({ workload, atMs, tookMs, kind }) =>
      `  slow: a call of ${workload} from ${(atMs / 1000).toFixed(1)} s took ${(tookMs / 1000).toFixed(1)} s (${kind})`,
  );
  const verdict =
    findings.length === 0
      ? `Nothing was found. All was served again after ${Math.round(restMs ?? 0)} ms.`
      : `${findings.length} findings, with the seed ${plan.seed}: ${[...new Set(findings.map(({ anomaly }) => anomaly))].join(", ")}.`;
  return ["", ...lines, ...faults, ...slow, verdict, `The report: ${path}`].join("\n");
}

function jsonOf(result: RunResult, path: string): object {
  const { plan, network, findings, notes, skipped, facedMs, restMs } = result;
  const tallies = { workloads: workloadTallies(result), faults: faultTallies(result) };
  return { seed: plan.seed, network, findings, ...tallies, notes, skipped, facedMs, restMs, report: path, plan };
}

function whole(name: string, text: string, max: number): number {
  const value = /^\d{1,6}$/.test(text) ? Number(text) : Number.NaN;
  if (value >= 1 && value <= max) return value;
  throw new Error(`--${name} must be a whole number, 1 to ${max}.`);
}

function chosen<Name extends string>(option: string, text: string | undefined, all: readonly Name[]): readonly Name[] {
  if (text === undefined) return all;
  const names = text.split(",").map((name) => name.trim());
  const strange = names.find((name) => !all.includes(name as Name));
  if (strange !== undefined) throw new Error(`--${option} knows no '${strange}'. It takes ${all.join(", ")}.`);
  return names as Name[];
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 2;
}
