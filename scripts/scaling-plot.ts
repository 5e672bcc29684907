/** The plot of `docs/scaling.md`: calls a second against nodes, both by powers of ten, as SVG that needs nothing from elsewhere. */
import type { ScalingReport } from "../src/sim/scaling/simulate-scaling.ts";

const [width, height] = [720, 420];
const frame = { left: 70, right: 130, top: 30, bottom: 50 };
const colours = ["#3b6fd4", "#c2571a", "#2f8f5b", "#8a4fbf"];

/** A line for each workload, and, dashed, what as many nodes as one would make. */
export function scalingPlot(reports: readonly ScalingReport[]): string {
  const workloads = [...new Set(reports.map(({ workload }) => workload))];
  const rates = reports.map(({ callsPerSecond }) => callsPerSecond);
  const nodesMax = Math.max(...reports.map(({ nodes }) => nodes));
  const firsts = reports.filter(({ nodes }) => nodes === 1).map(({ callsPerSecond }) => callsPerSecond);
  const low = Math.floor(Math.log10(Math.min(...rates)));
  const high = Math.ceil(Math.log10(Math.max(...rates, ...firsts.map((rate) => rate * nodesMax))));
  const across = Math.max(1, Math.log10(nodesMax));
  const x = (nodes: number): string =>
    (frame.left + (Math.log10(nodes) / across) * (width - frame.left - frame.right)).toFixed(1);
  const y = (rate: number): string =>
    (height - frame.bottom - ((Math.log10(rate) - low) / (high - low)) * (height - frame.top - frame.bottom)).toFixed(
      1,
    );
  const right = width - frame.right;

  const grid = Array.from({ length: high - low + 1 }, (_, index) => 10 ** (low + index)).map(
    (rate) =>
      `<line class="grid" x1="${frame.left}" x2="${right}" y1="${y(rate)}" y2="${y(rate)}"/>` +
      `<text x="${frame.left - 8}" y="${y(rate)}" dy="4" text-anchor="end">${rate.toLocaleString("en")}</text>`,
  );
  const sizes = [...new Set(reports.map(({ nodes }) => nodes))].map(
    (nodes) => `<text x="${x(nodes)}" y="${height - frame.bottom + 20}" text-anchor="middle">${nodes}</text>`,
  );
  const lines = workloads.map((workload, index) => {
    const own = reports.filter((report) => report.workload === workload);
    const colour = colours[index % colours.length]!;
    const points = own.map(({ nodes, callsPerSecond }) => `${x(nodes)},${y(callsPerSecond)}`).join(" ");
    const last = own.at(-1)!;
    const first = own.find(({ nodes }) => nodes === 1)?.callsPerSecond;
    const ideal =
      first === undefined || nodesMax === 1
        ? ""
        : `<line stroke="${colour}" class="ideal" x1="${x(1)}" y1="${y(first)}" x2="${x(nodesMax)}" y2="${y(first * nodesMax)}"/>`;
    const marks = own.map(
      ({ nodes, callsPerSecond, p50Ms, p99Ms }) =>
        `<circle fill="${colour}" cx="${x(nodes)}" cy="${y(callsPerSecond)}" r="4"><title>${workload}, ${nodes} nodes: ` +
        `${Math.round(callsPerSecond).toLocaleString("en")} calls a second, p50 ${p50Ms.toFixed(1)} ms, p99 ${p99Ms.toFixed(1)} ms</title></circle>`,
    );
    return (
      `${ideal}<polyline stroke="${colour}" points="${points}"/>${marks.join("")}` +
      `<text fill="${colour}" x="${Number(x(last.nodes)) + 10}" y="${y(last.callsPerSecond)}" dy="4">${workload}</text>`
    );
  });
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" aria-label="Calls a second against the number of nodes">
<style>text{font:12px system-ui,sans-serif;fill:#555}polyline{fill:none;stroke-width:2}.grid{stroke:#8884}.ideal{stroke-dasharray:4 4;opacity:.5}rect{fill:#fff}</style>
<rect width="${width}" height="${height}"/>
${grid.join("\n")}
${sizes.join("\n")}
<text x="${(frame.left + right) / 2}" y="${height - 10}" text-anchor="middle">nodes</text>
<text x="${frame.left}" y="16">calls a second (dashed: as many times one node's)</text>
${lines.join("\n")}
</svg>
`;
}
