/**
 * The report's two kinds of picture, as SVG that needs nothing from elsewhere: colours come from the page's style, so that they suit
 * light and dark. Every mark is also told in words, by its label or as its title.
 */
import type { ResultLine } from "../result.ts";
import { isOnefold } from "../subject/subject.ts";
import { escapeHtml } from "./text.ts";

const width = 460;
const labelWidth = 92;
const valueWidth = 76;
const rowHeight = 20;
const headHeight = 24;
const axisHeight = 22;
const barHeight = 12;

/** A name for the subject that a line is about, and of its colour's class. */
export function subjectName({ engine, transport }: Pick<ResultLine, "engine" | "transport">): string {
  return isOnefold(engine) ? transport : engine;
}

const shownNames: Readonly<Record<string, string>> = {
  "in-process": "in process",
  websocket: "WebSocket",
  http: "HTTP",
  redis: "Redis",
  postgres: "PostgreSQL",
};

/** Subjects in the order in which people look for them. */
export function inShownOrder(lines: readonly ResultLine[]): readonly ResultLine[] {
  const order = Object.keys(shownNames);
  return lines.toSorted((a, b) => order.indexOf(subjectName(a)) - order.indexOf(subjectName(b)));
}

/** As people write it. */
export function shownName(line: Pick<ResultLine, "engine" | "transport">): string {
  return shownNames[subjectName(line)]!;
}

/** Bars of operations per second, one group for each concurrency, each with a scale of its own from 0. */
export function throughputPlot(title: string, lines: readonly ResultLine[]): string {
  const rows = rowsOf(lines, (group) => {
    const most = Math.max(...group.map((line) => line.operations_per_second));
    const room = width - labelWidth - valueWidth;
    return group.map((line) => {
      const length = Math.max(1, (line.operations_per_second / most) * room);
      const value = line.operations_per_second.toLocaleString("en");
      const top = (rowHeight - barHeight) / 2;
      return (
        `<rect class="${subjectName(line)}" x="${labelWidth}" y="${top}" width="${fixed(length)}" height="${barHeight}" rx="2">` +
        `<title>${shownName(line)}: ${value} operations a second</title></rect>` +
        `<text class="value" x="${fixed(labelWidth + length + 6)}" y="14">${value}</text>`
      );
    });
  });
  return picture(`${title}: operations a second`, rows.height, rows.svg);
}

/** A line from the median to the 99.9th percentile of the latency, with a mark at the 99th; one scale of powers of ten for all. */
export function latencyPlot(title: string, lines: readonly ResultLine[]): string {
  const lowest = Math.floor(Math.log10(Math.min(...lines.map((line) => Math.max(line.p50_ms, 0.0001)))));
  const highest = Math.max(lowest + 1, Math.ceil(Math.log10(Math.max(...lines.map((line) => line.p999_ms)))));
  const room = width - labelWidth - 24;
  const at = (ms: number) =>
    labelWidth + ((Math.log10(Math.max(ms, 10 ** lowest)) - lowest) / (highest - lowest)) * room;
  const rows = rowsOf(lines, (group) =>
    group.map((line) => {
      const [p50, p99, p999] = [at(line.p50_ms), at(line.p99_ms), at(line.p999_ms)].map(fixed);
      const middle = rowHeight / 2;
      return (
        `<g class="${subjectName(line)}"><title>${shownName(line)}: p50 ${line.p50_ms} ms, p99 ${line.p99_ms} ms, p99.9 ${line.p999_ms} ms</title>` +
        `<rect class="reach" x="${labelWidth}" y="0" width="${room}" height="${rowHeight}"/>` +
        `<line x1="${p50}" x2="${p999}" y1="${middle}" y2="${middle}"/>` +
        `<circle cx="${p50}" cy="${middle}" r="4.5"/>` +
        `<line x1="${p99}" x2="${p99}" y1="${middle - 5}" y2="${middle + 5}"/>` +
        `<line x1="${p999}" x2="${p999}" y1="${middle - 3}" y2="${middle + 3}"/></g>`
      );
    }),
  );
  const axis: string[] = [];
  for (let power = lowest; power <= highest; power++) {
    const x = fixed(at(10 ** power));
    axis.push(`<line class="grid" x1="${x}" x2="${x}" y1="${headHeight}" y2="${rows.height}"/>`);
    axis.push(`<text class="tick" x="${x}" y="${rows.height + 15}" text-anchor="middle">${milliseconds(power)}</text>`);
  }
  return picture(`${title}: latency`, rows.height + axisHeight, axis.join("") + rows.svg);
}

/** Groups by concurrency, under each other, with the name of each row's subject. */
function rowsOf(
  lines: readonly ResultLine[],
  marks: (group: readonly ResultLine[]) => readonly string[],
): { readonly svg: string; readonly height: number } {
  const parts: string[] = [];
  let y = 0;
  for (const concurrency of [...new Set(lines.map((line) => line.concurrency))].sort((a, b) => a - b)) {
    const group = lines.filter((line) => line.concurrency === concurrency);
    const callers = concurrency === 1 ? "1 caller" : `${concurrency} callers at once`;
    parts.push(`<text class="group" x="0" y="${y + 16}">${callers}</text>`);
    y += headHeight;
    marks(group).forEach((mark, i) => {
      const label = `<text class="label" x="${labelWidth - 8}" y="14" text-anchor="end">${shownName(group[i]!)}</text>`;
      parts.push(`<g transform="translate(0 ${y})">${label}${mark}</g>`);
      y += rowHeight;
    });
    y += 6;
  }
  return { svg: parts.join(""), height: y };
}

function picture(label: string, height: number, content: string): string {
  return `<svg viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" aria-label="${escapeHtml(label)}">${content}</svg>`;
}

function milliseconds(power: number): string {
  if (power >= 3) return `${10 ** (power - 3)} s`;
  return power >= 0 ? `${10 ** power} ms` : `${Number((10 ** (power + 3)).toPrecision(1))} µs`;
}

/** Enough for a picture. */
function fixed(value: number): string {
  return value.toFixed(1);
}
