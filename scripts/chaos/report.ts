/** The report of a run: one HTML file that needs nothing else, for looking at. */
import { countChart, escapeText, faultStrip, latencyChart } from "./chart.ts";
import type { RunResult } from "./run.ts";
import { faultTallies, slowestCalls, workloadTallies } from "./tally.ts";

export interface ReportFacts {
  readonly date: string;
  readonly machine: string;
  readonly engine: string;
}

const findingsShownMax = 50;

export function reportPage(result: RunResult, facts: ReportFacts): string {
  const { findings, facedMs, restMs } = result;
  const isGood = findings.length === 0;
  const verdict = isGood ? "Nothing was found" : `${findings.length} ${findings.length === 1 ? "finding" : "findings"}`;
  const calls = result.samples.length.toLocaleString("en");
  const rest = restMs === undefined ? "never served again" : `all served ${seconds(restMs)} after the last`;
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Onefold chaos ${escapeText(facts.date)}: ${verdict}</title><style>${style}</style></head><body><main>
<header><h1>Onefold under chaos</h1><p class="verdict ${isGood ? "good" : "bad"}">${verdict}</p></header>
<p class="lead">${calls} calls, ${result.struck.length} faults in ${seconds(facedMs)}, ${rest}.</p>
<dl>${Object.entries({
    When: facts.date,
    Seed: result.plan.seed,
    Network: result.network,
    Engine: facts.engine,
    Machine: facts.machine,
  })
    .map(([name, value]) => `<div><dt>${name}</dt><dd>${escapeText(value)}</dd></div>`)
    .join("")}</dl>
${findingsSection(result)}
<section><h2>Faults</h2>${faultStrip({ struck: result.struck, durationMs: facedMs })}
<p class="key"><i class="node"></i>a node <i class="server"></i>a server of the engine <i class="network"></i>the network <i class="all"></i>everything</p>
${faultTable(result)}${slowCalls(result)}</section>
<section><h2>Workloads</h2>${workloadTable(result)}</section>
${result.workloads.map(({ name, promise }) => workloadSection(result, name, promise)).join("")}
<section><h2>Plan</h2><p>Run it again with <code>npm run chaos -- --plan FILE</code>. Processes are real, so that only the schedule is the same.</p>
<details><summary>The file</summary><pre>${escapeText(JSON.stringify(result.plan, undefined, 1))}</pre></details></section>
</main></body></html>
`;
}

function findingsSection({ findings, notes, skipped }: RunResult): string {
  const items = (texts: readonly string[]): string => `<ul>${texts.map((text) => `<li>${text}</li>`).join("")}</ul>`;
  const shown = findings
    .slice(0, findingsShownMax)
    .map(({ anomaly, explanation }) => `<b>${escapeText(anomaly)}</b><pre>${escapeText(explanation)}</pre>`);
  const hidden = findings.length - shown.length;
  return [
    findings.length === 0 ? "" : `<section class="findings"><h2>Findings</h2>${items(shown)}`,
    hidden > 0 ? `<p>and ${hidden} more</p>` : "",
    findings.length === 0 ? "" : "</section>",
    notes.length === 0 ? "" : `<section><h2>Notes</h2>${items(notes.map(escapeText))}</section>`,
    skipped.length === 0
      ? ""
      : `<section><h2>Not on this machine</h2>${items(skipped.map(({ kind, why }) => `<b>${kind}</b>: ${escapeText(why)}`))}</section>`,
  ].join("");
}

function faultTable(result: RunResult): string {
  const rows = faultTallies(result).map(({ kind, what, count, pauseMs, slowestMs }) => [
    `<b>${kind}</b> <span>${escapeText(what)}</span>`,
    String(count),
    seconds(pauseMs),
    seconds(slowestMs),
  ]);
  return table(["Fault", "times", "longest pause", "slowest call"], rows);
}

function slowCalls(result: RunResult): string {
  const slow = slowestCalls(result);
  if (slow.length === 0) return "";
  const items = slow.map(
    ({ workload, atMs, tookMs, kind }) => `<li>${workload}, at ${seconds(atMs)}: ${seconds(tookMs)} (${kind})</li>`,
  );
  return `<details><summary>The slowest calls</summary><ul>${items.join("")}</ul></details>`;
}

function workloadTable(result: RunResult): string {
  const rows = workloadTallies(result).map((tally) => [
    `<b>${tally.workload}</b>`,
    ...[tally.calls, tally.ok, tally.refused, tally.failed, tally.unknown].map((count) => count.toLocaleString("en")),
    String(tally.perSecond),
    ...[tally.p50Ms, tally.p99Ms, tally.slowestMs, tally.pauseMs].map(seconds),
  ]);
  const heads = [
    "",
    "calls",
    "ok",
    "refused",
    "failed",
    "unknown",
    "a second",
    "p50",
    "p99",
    "slowest",
    "longest pause",
  ];
  return table(heads, rows);
}

function workloadSection(result: RunResult, name: string, promise: string): string {
  const samples = result.samples.filter(({ workload }) => workload === name);
  const options = { samples, struck: result.struck, durationMs: result.facedMs };
  return `<section><h2>${name} <small>${escapeText(promise)}</small></h2>
<h3>calls a second</h3>${countChart(options)}
<h3>latency: <span class="p50">p50</span> <span class="p99">p99</span> <span class="max">max</span></h3>${latencyChart(options)}</section>`;
}

function table(heads: readonly string[], rows: readonly (readonly string[])[]): string {
  const cells = (tag: string, texts: readonly string[]): string =>
    texts.map((text) => `<${tag}>${text}</${tag}>`).join("");
  return `<div class="scroll"><table><thead><tr>${cells("th", heads)}</tr></thead><tbody>${rows
    .map((row) => `<tr>${cells("td", row)}</tr>`)
    .join("")}</tbody></table></div>`;
}

function seconds(ms: number): string {
  return ms < 1000 ? `${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`;
}

const style = `
:root { color-scheme: light dark; --ink: #1d2433; --soft: #667085; --page: #f6f7f9; --card: #fff; --rule: #e4e7ec;
  --good: #12805c; --bad: #c0352b; --node: #e58a00; --server: #7a5af8; --network: #2e90fa; --all: #d92d20; --area: #34a37a; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ef; --soft: #98a2b3; --page: #10141c; --card: #181e29; --rule: #2a3342; } }
* { box-sizing: border-box; } body { margin: 0; background: var(--page); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
main { max-width: 1180px; margin: 0 auto; padding: 32px 20px 64px; }
header { display: flex; align-items: center; gap: 16px; flex-wrap: wrap; } h1 { margin: 0; font-size: 26px; letter-spacing: -.01em; }
.verdict { margin: 0; padding: 3px 14px; border-radius: 99px; color: #fff; font-weight: 600; } .good { background: var(--good); } .bad { background: var(--bad); }
.lead { margin: 8px 0 20px; font-size: 17px; color: var(--soft); }
dl { display: flex; flex-wrap: wrap; gap: 8px 32px; margin: 0 0 20px; } dt { color: var(--soft); font-size: 12px; } dd { margin: 0; }
section { background: var(--card); border: 1px solid var(--rule); border-radius: 12px; padding: 16px 20px; margin-bottom: 18px; }
h2 { margin: 0 0 8px; font-size: 18px; } h2 small { font-weight: 400; color: var(--soft); margin-left: 8px; } h3 { margin: 10px 0 2px; font-size: 13px; font-weight: 500; color: var(--soft); }
.findings { border-color: var(--bad); } pre { overflow-x: auto; font-size: 12px; } svg { width: 100%; height: auto; display: block; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th { text-align: right; font-weight: 500; font-size: 12px; color: var(--soft); } td { text-align: right; border-top: 1px solid var(--rule); padding: 5px 0 5px 14px; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; padding-left: 0; white-space: normal; } td span { color: var(--soft); }
.area { fill: var(--area); fill-opacity: .55; stroke: var(--area); } .line { fill: none; stroke-width: 1.6; stroke-linecap: round; stroke-linejoin: round; }
.line.p50 { stroke: var(--good); } .line.p99 { stroke: #b25e09; } .line.max { stroke: var(--soft); stroke-dasharray: 2 3; }
h3 .p50 { color: var(--good); } h3 .p99 { color: #b25e09; } h3 span { margin-right: 8px; }
.grid { stroke: var(--rule); } .tick, .label { fill: var(--soft); font-size: 11px; } .label { fill: var(--ink); }
.band { fill-opacity: .16; } .band.node { fill: var(--node); } .band.server { fill: var(--server); } .band.network { fill: var(--network); } .band.all { fill: var(--all); fill-opacity: .3; }
.key { color: var(--soft); font-size: 13px; } .key i { display: inline-block; width: 12px; height: 12px; border-radius: 3px; margin: 0 5px -1px 14px; opacity: .6; }
i.node { background: var(--node); } i.server { background: var(--server); } i.network { background: var(--network); } i.all { background: var(--all); }
`;
