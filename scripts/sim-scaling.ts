/**
 * How a cluster scales, by simulation with measured costs: `npm run sim:scaling` prints a table of clusters of 1, 3, 10, 30 and 100 nodes, and with
 * `--write` puts it, its figures and the plot into `docs/`. What is assumed is in `docs/scaling.md`, what is charged in
 * `src/sim/scaling/costs.ts`.
 *
 * `--nodes 1,3`: other sizes. `--clients 64`: of each node. `--shards 32`: of all, a power of two. `--json`: a line for each result. A hundred nodes take some minutes: a
 * tenth of a second under each load is all that is simulated of them.
 */
import assert from "node:assert/strict";
import { readFile, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { scalingWorkloads } from "../src/sim/scaling/load.ts";
import { type ScalingReport, simulateScaling } from "../src/sim/scaling/simulate-scaling.ts";
import { scalingPlot } from "./scaling-plot.ts";

const { values } = parseArgs({
  options: {
    nodes: { type: "string", default: "1,3,10,30,100" },
    clients: { type: "string", default: "64" },
    shards: { type: "string" },
    json: { type: "boolean", default: false },
    write: { type: "boolean", default: false },
  },
});

const tableBegins = "<!-- table -->\n\n";
const tableEnds = "<!-- end of the table -->";
/** The program runs compiled, from elsewhere; the documents are where it was started. */
const documents = new URL("docs/", `file://${process.cwd()}/`);

/** Of virtual time: less of more nodes, which have more calls in it. */
function durations(nodes: number): { readonly warmMs: number; readonly measuredMs: number } {
  if (nodes <= 3) return { warmMs: 200, measuredMs: 500 };
  if (nodes <= 10) return { warmMs: 150, measuredMs: 300 };
  return nodes <= 30 ? { warmMs: 100, measuredMs: 200 } : { warmMs: 60, measuredMs: 100 };
}

const percent = (share: number): string => `${Math.round(share * 100)} %`;
const whole = (count: number): string => Math.round(count).toLocaleString("en");
const short = (count: number): string => String(Number(count.toPrecision(3)));

const columns: readonly (readonly [string, (report: ScalingReport) => string])[] = [
  ["Nodes", ({ nodes }) => String(nodes)],
  ["Servers", ({ servers }) => String(servers)],
  ["Shards", ({ shards }) => String(shards)],
  ["Workload", ({ workload }) => workload],
  ["Calls/s", ({ callsPerSecond }) => whole(callsPerSecond)],
  ["p50 ms", ({ p50Ms }) => short(p50Ms)],
  ["p99 ms", ({ p99Ms }) => short(p99Ms)],
  ["Forwarded", ({ forwardedShare }) => percent(forwardedShare)],
  ["Appends/s", ({ appendsPerSecond }) => whole(appendsPerSecond)],
  ["Calls/append", ({ callsPerAppend }) => short(callsPerAppend)],
  ["Frames' ends/call", ({ framesPerCall }) => short(framesPerCall)],
  ["Node, mean", ({ nodeLoad }) => percent(nodeLoad.mean)],
  ["most", ({ nodeLoad }) => percent(nodeLoad.max)],
  ["Controller", ({ controllerLoad }) => percent(controllerLoad)],
  ["Server, mean", ({ serverLoad }) => percent(serverLoad.mean)],
  ["most", ({ serverLoad }) => percent(serverLoad.max)],
  ["Disk, most", ({ diskLoad }) => percent(diskLoad.max)],
  ["System log/s", ({ system }) => whole(system.recordsPerSecond)],
  ["outrun", ({ system }) => percent(system.refusedShare)],
  ["its share of a node", ({ system }) => `${(system.followLoad * 100).toFixed(1)} %`],
];

function line(report: ScalingReport): string {
  return `| ${columns.map(([, text]) => text(report)).join(" | ")} |`;
}

const head = [`| ${columns.map(([name]) => name).join(" | ")} |`, `|${columns.map(() => "---|").join("")}`];
const reports: ScalingReport[] = [];
if (!values.json) console.log(head.join("\n"));
for (const nodes of values.nodes.split(",").map(Number)) {
  const clientsPerNode = Number(values.clients);
  const some = await simulateScaling({
    nodes,
    workloads: scalingWorkloads,
    clientsPerNode,
    ...durations(nodes),
    ...(values.shards === undefined ? {} : { shards: Number(values.shards) }),
  });
  reports.push(...some);
  for (const report of some) console.log(values.json ? JSON.stringify(report) : line(report));
}

if (values.write) {
  await writeFile(new URL("scaling.svg", documents), scalingPlot(reports));
  const page = new URL("scaling.md", documents);
  const text = await readFile(page, "utf8");
  const [from, to] = [text.indexOf(tableBegins) + tableBegins.length, text.indexOf(tableEnds)];
  assert.ok(from >= tableBegins.length && to >= from, "the document has a place for the table");
  const table = [...head, ...reports.map(line)].join("\n");
  await writeFile(page, `${text.slice(0, from)}${table}\n\n${text.slice(to)}`);
  console.error(`${fileURLToPath(page)} and its plot are written.`);
}
