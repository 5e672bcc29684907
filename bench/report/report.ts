/** The report: one HTML file that explains itself, with pictures, tables and everything that one has to know to believe them. */
import { mkdir, writeFile } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import type { BenchOptions } from "../options.ts";
import type { ResultLine } from "../result.ts";
import { isOnefold } from "../subject/subject.ts";
import { workloadFamilies } from "../workload/workload.ts";
import type { MachineFacts } from "./machine.ts";
import { inShownOrder, latencyPlot, shownName, subjectName, throughputPlot } from "./plot.ts";
import { reportStyle } from "./style.ts";
import { escapeHtml } from "./text.ts";

export interface ReportFacts {
  readonly startedAt: Date;
  readonly machine: MachineFacts;
  /** Names and versions of what Onefold was held against. */
  readonly opponents: readonly string[];
  readonly options: Pick<BenchOptions, "seconds" | "isQuick" | "sizes">;
  /** What is not equal about the comparison. */
  readonly notes: readonly string[];
}

/** Writes the report to `path`, or to a new file in `reports/`; resolves to its absolute path. */
export async function writeReport(
  path: string | undefined,
  lines: readonly ResultLine[],
  facts: ReportFacts,
): Promise<string> {
  const stamp = facts.startedAt.toISOString().slice(0, 19).replaceAll(":", "-");
  const target = resolve(path ?? `reports/bench-${stamp}.html`);
  await mkdir(dirname(target), { recursive: true });
  await writeFile(target, reportHtml(lines, facts));
  return target;
}

/** The whole page. */
export function reportHtml(measured: readonly ResultLine[], facts: ReportFacts): string {
  const lines = inShownOrder(measured);
  const workloads = workloadFamilies(facts.options.sizes).flatMap((family) => family.workloads);
  const sections = workloads
    .map((workload) => ({ workload, own: lines.filter((line) => line.workload === workload.name) }))
    .filter(({ own }) => own.length > 0)
    .map(({ workload, own }) => workloadSection(workload.name, workload.description, own));
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Onefold benchmark, ${facts.startedAt.toISOString().slice(0, 10)}</title>
<style>${reportStyle}</style>
</head>
<body>
<h1>Onefold benchmark</h1>
<p>Onefold runs a TypeScript team's entities and transactions and keeps every acknowledged write: an operation counts here once it is
synced to disk. This is how many it does in a second, and how long each takes, called in three ways${facts.opponents.length > 0 ? ", beside what a team might use instead, doing the same work in the same run" : ""}.</p>
${key(lines)}
${factsSection(facts)}
${sections.join("\n")}
${notesSection(facts.notes)}
${readingSection()}
</body>
</html>
`;
}

function key(lines: readonly ResultLine[]): string {
  const shown = new Map(lines.map((line) => [subjectName(line), line]));
  const items = [...shown].map(([name, line]) => {
    const text = isOnefold(line.engine) ? `Onefold, ${shownName(line)}` : shownName(line);
    return `<li class="${name}"><span>${text}</span></li>`;
  });
  return `<ul class="key">${items.join("")}</ul>`;
}

function factsSection({ startedAt, machine, opponents, options }: ReportFacts): string {
  const facts: readonly (readonly [string, string])[] = [
    ["When", startedAt.toISOString()],
    ["Machine", `${machine.processor}, ${machine.processors} processors, ${machine.memoryGiB} GiB`],
    ["System", `${machine.system}, Node ${machine.node}`],
    ["Sources", machine.commit ?? "not in a repository"],
    [
      "Measured for",
      `${options.seconds} s each, after a third of that to warm up${options.isQuick ? "; a quick look on less data" : ""}`,
    ],
    ...opponents.map((opponent) => ["Beside", opponent] as const),
  ];
  const items = facts.map(([name, value]) => `<dt>${name}</dt><dd>${escapeHtml(value)}</dd>`);
  return `<section><h2>Where and how</h2><dl>${items.join("")}</dl></section>`;
}

function workloadSection(name: string, description: string, lines: readonly ResultLine[]): string {
  return `<section>
<h2>${escapeHtml(name)}</h2>
<p>${escapeHtml(description)}.</p>
<div class="plots">
<div><h3>Operations a second (more is better; each group has its own scale)</h3>${throughputPlot(name, lines)}</div>
<div><h3>Latency: dot p50, long tick p99, short tick p99.9 (less is better)</h3>${latencyPlot(name, lines)}</div>
</div>
<details><summary>Figures</summary><div class="scroll">${figures(lines)}</div></details>
</section>`;
}

interface Column {
  readonly title: string;
  readonly value: (line: ResultLine) => string | number | null;
}

const columns: readonly Column[] = [
  { title: "over", value: shownName },
  { title: "callers", value: (line) => line.concurrency },
  { title: "operations/s", value: (line) => line.operations_per_second.toLocaleString("en") },
  { title: "p50 ms", value: (line) => line.p50_ms },
  { title: "p99 ms", value: (line) => line.p99_ms },
  { title: "p99.9 ms", value: (line) => line.p999_ms },
  { title: "of its limit", value: (line) => line.limit_ratio },
  { title: "p50/append", value: (line) => line.p50_to_bare_append },
  { title: "× plain stream", value: (line) => line.plain_stream_throughput_ratio },
  { title: "× counter", value: (line) => line.counter_throughput_ratio },
  { title: "load CPU", value: (line) => line.load_cpu },
  { title: "× Redis", value: (line) => line.redis_throughput_ratio },
  { title: "p50 × Redis", value: (line) => line.redis_p50_ratio },
  { title: "× PostgreSQL", value: (line) => line.postgres_throughput_ratio },
  { title: "p50 × PostgreSQL", value: (line) => line.postgres_p50_ratio },
];

/** Without the columns that have nothing in them. */
function figures(lines: readonly ResultLine[]): string {
  const shown = columns.filter(({ value }) => lines.some((line) => value(line) !== null));
  const head = shown.map(({ title }) => `<th scope="col">${title}</th>`).join("");
  const rows = lines.map((line) => `<tr>${shown.map(({ value }) => `<td>${value(line) ?? ""}</td>`).join("")}</tr>`);
  return `<table><thead><tr>${head}</tr></thead><tbody>${rows.join("")}</tbody></table>`;
}

function notesSection(notes: readonly string[]): string {
  if (notes.length === 0) return "";
  const items = notes.map((note) => `<li>${escapeHtml(note)}</li>`).join("");
  return `<section><h2>What is not equal about the comparison</h2><ul>${items}</ul></section>`;
}

function readingSection(): string {
  return `<section><h2>How to read this</h2>
<p>The load is a closed loop: so many callers, each with one call under way, the next one as soon as it is answered. So throughput and latency
belong together, and nothing is said about calls that would have come at fixed times. Each workload checks its own result; one that were
wrong would have ended the run.</p>
<p>“Of its limit” is the throughput against a bare loop of the same parts in the same run: in process, one that encodes, chains and appends the same bytes
with the same syncs (reads: a plain map); over HTTP, a bare server that parses and answers the same JSON; over the WebSocket, a bare server that
sends the same messages back. “p50/append” is the median against one bare synced append of the same size. “Load CPU” is how many processors
the load's own process kept busy; in process, Onefold is in it.</p></section>`;
}
