/** Prometheus text (version 0.0.4) as numbers: as much of it as a node's `/metrics` uses. */

export type Labels = Readonly<Record<string, string>>;

export interface Sample {
  readonly labels: Labels;
  readonly value: number;
}

/** All samples of one reading, by metric. */
export interface Scrape {
  /** When it was read: milliseconds of a clock that never goes back. */
  readonly atMs: number;
  readonly samples: ReadonlyMap<string, readonly Sample[]>;
}

/** Name, labels, value, and perhaps a time, which a node does not give. */
const linePattern = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? ([+-]?(?:Inf|NaN|\d[\d.]*(?:[eE][+-]?\d+)?))(?: -?\d+)?$/;
const labelPattern = /([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)"/g;
const escapes: Readonly<Record<string, string>> = { "\\n": "\n", '\\"': '"', "\\\\": "\\" };

/** Lines that are no samples are left out: comments, and what a later version may add. */
export function parseScrape(text: string, atMs: number): Scrape {
  const samples = new Map<string, Sample[]>();
  for (const line of text.split("\n")) {
    const [, name, labels, value] = linePattern.exec(line) ?? [];
    if (name === undefined || value === undefined) continue;
    const sample = { labels: labels === undefined ? {} : parseLabels(labels), value: parseValue(value) };
    const of = samples.get(name);
    if (of === undefined) samples.set(name, [sample]);
    else of.push(sample);
  }
  return { atMs, samples };
}

function parseLabels(text: string): Labels {
  const labels: Record<string, string> = {};
  for (const [, name, value] of text.matchAll(labelPattern)) {
    labels[name!] = value!.replaceAll(/\\[n"\\]/g, (escaped) => escapes[escaped]!);
  }
  return labels;
}

function parseValue(text: string): number {
  if (text === "+Inf") return Number.POSITIVE_INFINITY;
  return text === "-Inf" ? Number.NEGATIVE_INFINITY : Number(text);
}

/** The sum of a metric's samples with these labels; undefined where it has none. */
export function total({ samples }: Scrape, name: string, labels: Labels = {}): number | undefined {
  const found = (samples.get(name) ?? []).filter((sample) => hasLabels(sample.labels, labels));
  return found.length === 0 ? undefined : found.reduce((sum, { value }) => sum + value, 0);
}

function hasLabels(labels: Labels, wanted: Labels): boolean {
  return Object.entries(wanted).every(([name, value]) => labels[name] === value);
}

/** How a counter grew between two scrapes; 0 where there is none. One that fell began anew: what it shows is what it grew. */
export function growth(before: Scrape, now: Scrape, name: string, labels: Labels = {}): number {
  const was = total(before, name, labels) ?? 0;
  const is = total(now, name, labels) ?? 0;
  return is >= was ? is - was : is;
}

/**
 * The quantile of what a histogram has counted between two scrapes, within its bucket by proportion; the greatest bound for what
 * exceeds all. Undefined where it has counted nothing.
 */
export function quantile(
  before: Scrape,
  now: Scrape,
  of: { readonly name: string; readonly labels?: Labels; readonly quantile: number },
): number | undefined {
  const bounds = new Set<string>();
  for (const { labels } of now.samples.get(`${of.name}_bucket`) ?? []) {
    if (labels.le !== undefined && hasLabels(labels, of.labels ?? {})) bounds.add(labels.le);
  }
  const buckets = [...bounds]
    .map((le) => ({
      bound: parseValue(le),
      count: growth(before, now, `${of.name}_bucket`, { ...of.labels, le }),
    }))
    .sort((a, b) => a.bound - b.bound);
  const all = buckets.at(-1)?.count ?? 0;
  if (all === 0) return undefined;
  const rank = of.quantile * all;
  let lowerBound = 0;
  let lowerCount = 0;
  for (const { bound, count } of buckets) {
    if (count >= rank) {
      if (bound === Number.POSITIVE_INFINITY) return lowerBound;
      const share = count === lowerCount ? 1 : (rank - lowerCount) / (count - lowerCount);
      return lowerBound + (bound - lowerBound) * share;
    }
    lowerBound = bound;
    lowerCount = count;
  }
  return lowerBound;
}
