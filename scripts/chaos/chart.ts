/** Charts of one workload as SVG: calls a second, and how long they took, over time, with the faults as bands behind both. */
import { quantile, type Sample } from "./meter.ts";
import { strikeText } from "./plan.ts";
import type { Struck } from "./striker.ts";

export interface ChartOptions {
  readonly samples: readonly Sample[];
  readonly struck: readonly Struck[];
  readonly durationMs: number;
}

const width = 1100;
const margin = { left: 56, right: 12, top: 8, bottom: 22 } as const;
const inner = width - margin.left - margin.right;
const [countHeight, latencyHeight] = [120, 160];
const bucketsMax = 300;
const [latencyMsMin, latencyMsMax] = [1, 60_000];

interface Bucket {
  readonly atMs: number;
  readonly count: number;
  /** Of calls that ended in it; undefined where none did. */
  readonly p50: number | undefined;
  readonly p99: number | undefined;
  readonly max: number | undefined;
}

export function countChart(options: ChartOptions): string {
  const { buckets, bucketMs } = bucketsOf(options);
  const perSecond = buckets.map(({ count }) => (count * 1000) / bucketMs);
  const top = niceCeiling(Math.max(1, ...perSecond));
  const x = scaleX(options.durationMs);
  const y = (value: number): number => margin.top + countHeight * (1 - value / top);
  const points = perSecond.flatMap((value, index) => {
    const { atMs } = buckets[index]!;
    return [`${x(atMs)},${fixed(y(value))}`, `${x(atMs + bucketMs)},${fixed(y(value))}`];
  });
  const area = `M${x(0)},${y(0)} L${points.join(" L")} L${x(options.durationMs)},${y(0)} Z`;
  return svg(countHeight, [
    bands(options, countHeight, x),
    grid([0, top / 2, top], y, (value) => `${value}`),
    `<path class="area" d="${area}"/>`,
    axis(options.durationMs, countHeight, x),
  ]);
}

export function latencyChart(options: ChartOptions): string {
  const { buckets, bucketMs } = bucketsOf(options);
  const x = scaleX(options.durationMs);
  const y = (ms: number): number => {
    const share = Math.log10(Math.max(ms, latencyMsMin) / latencyMsMin) / Math.log10(latencyMsMax / latencyMsMin);
    return margin.top + latencyHeight * (1 - Math.min(1, share));
  };
  const line = (name: "p50" | "p99" | "max"): string => {
    // Where nothing was answered the line has a gap.
    let path = "";
    let isGap = true;
    for (const bucket of buckets) {
      const value = bucket[name];
      if (value !== undefined) {
        path += `${isGap ? "M" : "L"}${x(bucket.atMs + bucketMs / 2)},${fixed(y(value))} `;
        if (isGap) path += "h0.01 ";
      }
      isGap = value === undefined;
    }
    return `<path class="line ${name}" d="${path}"/>`;
  };
  return svg(latencyHeight, [
    bands(options, latencyHeight, x),
    grid([1, 10, 100, 1000, 10_000], y, (ms) => (ms < 1000 ? `${ms} ms` : `${ms / 1000} s`)),
    line("max"),
    line("p99"),
    line("p50"),
    axis(options.durationMs, latencyHeight, x),
  ]);
}

/** The faults alone, with their names: a legend of the bands. */
export function faultStrip({ struck, durationMs }: Omit<ChartOptions, "samples">): string {
  const x = scaleX(durationMs);
  const rowHeight = 16;
  const rowEnds: number[] = [];
  const labels = struck.map((each) => {
    const left = Number(x(each.fromMs));
    const text = strikeText(each.strike);
    const shown = text.length > 34 ? `${text.slice(0, 33)}…` : text;
    const right = left + Math.max(shown.length * 6.4 + 10, Number(x(each.toMs)) - left);
    const shift = Math.min(0, width - margin.right - right);
    let row = rowEnds.findIndex((end) => end <= left + shift);
    if (row < 0) row = rowEnds.push(0) - 1;
    rowEnds[row] = right + shift;
    const top = margin.top + row * rowHeight;
    const bandWidth = Math.max(2, Number(x(each.toMs)) - left);
    return [
      `<rect class="band ${groupOf(each)}" x="${fixed(left)}" y="${top}" width="${fixed(bandWidth)}" height="${rowHeight - 3}" rx="2"/>`,
      `<text class="label" x="${fixed(left + shift + 4)}" y="${top + 10}">${escapeText(shown)}</text>`,
    ].join("");
  });
  const height = Math.max(1, rowEnds.length) * rowHeight;
  return svg(height, [...labels, axis(durationMs, height, x)]);
}

function bucketsOf({ samples, durationMs }: ChartOptions): {
  readonly buckets: readonly Bucket[];
  readonly bucketMs: number;
} {
  const bucketMs = Math.max(500, Math.ceil(durationMs / bucketsMax / 500) * 500);
  const taken: number[][] = Array.from({ length: Math.ceil(durationMs / bucketMs) }, () => []);
  for (const { atMs, tookMs } of samples) taken[Math.floor((atMs + tookMs) / bucketMs)]?.push(tookMs);
  const buckets = taken.map((times, index): Bucket => {
    const sorted = times.sort((a, b) => a - b);
    const at = (share: number): number | undefined => (sorted.length === 0 ? undefined : quantile(sorted, share));
    return { atMs: index * bucketMs, count: sorted.length, p50: at(0.5), p99: at(0.99), max: sorted.at(-1) };
  });
  return { buckets, bucketMs };
}

function bands({ struck, durationMs }: ChartOptions, height: number, x: (ms: number) => string): string {
  return struck
    .map((each) => {
      const { fromMs, toMs, strike } = each;
      const bandWidth = Math.max(2, Number(x(Math.min(toMs, durationMs))) - Number(x(fromMs)));
      const title = `${strikeText(strike)}: ${(fromMs / 1000).toFixed(1)} to ${(toMs / 1000).toFixed(1)} s`;
      return `<rect class="band ${groupOf(each)}" x="${x(fromMs)}" y="${margin.top}" width="${fixed(bandWidth)}" height="${height}"><title>${escapeText(title)}</title></rect>`;
    })
    .join("");
}

/** What is struck gives its colour. */
function groupOf({ strike: { kind } }: Struck): string {
  if (kind === "kill-all") return "all";
  if (/^(cut|split|one-way|delay|loss)/.test(kind)) return "network";
  return kind.endsWith("-node") ? "node" : "server";
}

function grid(values: readonly number[], y: (value: number) => number, text: (value: number) => string): string {
  return values
    .map(
      (value) =>
        `<line class="grid" x1="${margin.left}" x2="${width - margin.right}" y1="${fixed(y(value))}" y2="${fixed(y(value))}"/>` +
        `<text class="tick" x="${margin.left - 6}" y="${fixed(y(value) + 4)}" text-anchor="end">${text(value)}</text>`,
    )
    .join("");
}

function axis(durationMs: number, height: number, x: (ms: number) => string): string {
  const seconds = durationMs / 1000;
  const step = [1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600].find((each) => seconds / each <= 12) ?? 7200;
  const ticks = Array.from({ length: Math.floor(seconds / step) + 1 }, (_, index) => index * step);
  return ticks
    .map(
      (at) =>
        `<text class="tick" x="${x(at * 1000)}" y="${margin.top + height + 15}" text-anchor="middle">${at} s</text>`,
    )
    .join("");
}

function scaleX(durationMs: number): (ms: number) => string {
  return (ms) => fixed(margin.left + (inner * ms) / durationMs);
}

function svg(height: number, parts: readonly string[]): string {
  const full = height + margin.top + margin.bottom;
  return `<svg viewBox="0 0 ${width} ${full}" role="img">${parts.join("")}</svg>`;
}

function niceCeiling(value: number): number {
  const magnitude = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 4, 6, 10].map((each) => each * magnitude).find((each) => each >= value)!;
}

function fixed(value: number): string {
  return value.toFixed(1);
}

export function escapeText(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;");
}
