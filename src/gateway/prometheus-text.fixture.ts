/**
 * Reads Prometheus' text format, version 0.0.4, strictly: for tests where `promtool` is not installed. Besides the grammar it
 * asks for what `promtool check metrics` asks for: help, types, names by the conventions.
 */

export interface ParsedFamily {
  readonly name: string;
  readonly type: string;
  readonly help: string;
  /** By series: the name and the labels as they stand in the text. */
  readonly samples: ReadonlyMap<string, number>;
}

const namePattern = /^[a-zA-Z_:][a-zA-Z0-9_:]*$/;
const samplePattern = /^([a-zA-Z_:][a-zA-Z0-9_:]*)(\{.*\})? (NaN|[+-]Inf|[+-]?\d+(?:\.\d+)?(?:e[+-]?\d+)?)$/;
const labelPattern = /([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\[\\"n])*)"(,|$)/y;
const types = ["counter", "gauge", "histogram", "summary"];
const wrongUnits = /_(ms|milliseconds|minutes|hours|kilobytes|kb|megabytes|percent)(_|$)/;

/** Throws an `Error` with the line that is wrong. */
export function parsePrometheusText(text: string): ReadonlyMap<string, ParsedFamily> {
  if (!text.endsWith("\n")) throw new Error("the text does not end in a line break");
  const families = new Map<string, ParsedFamily & { readonly samples: Map<string, number> }>();
  const helps = new Map<string, string>();
  let open: string | undefined;
  for (const line of text.slice(0, -1).split("\n")) {
    const fail = (why: string): never => {
      throw new Error(`${why}: ${line}`);
    };
    if (line === "") continue;
    const comment = /^# (HELP|TYPE) (\S+) (.+)$/.exec(line);
    if (comment !== null) {
      const [, kind, name, rest] = comment as unknown as [string, string, string, string];
      if (!namePattern.test(name)) fail("not a name");
      if (kind === "HELP") {
        if (helps.has(name)) fail("a second help");
        helps.set(name, rest);
        continue;
      }
      if (!types.includes(rest)) fail("not a type");
      if (families.has(name)) fail("a second type");
      families.set(name, { name, type: rest, help: helps.get(name) ?? fail("no help before it"), samples: new Map() });
      open = name;
      continue;
    }
    const sample = samplePattern.exec(line) ?? fail("neither a comment nor a sample");
    const [, name, labels = "", value] = sample as unknown as [string, string, string | undefined, string];
    const family = families.get(open ?? "") ?? fail("a sample before its type");
    const suffix = name.slice(family.name.length);
    const allowed =
      family.type === "histogram"
        ? ["_bucket", "_sum", "_count"]
        : family.type === "summary"
          ? ["", "_sum", "_count"]
          : [""];
    if (!name.startsWith(family.name) || !allowed.includes(suffix)) fail("not a sample of the family above it");
    checkLabels(labels, fail);
    if (family.samples.has(name + labels)) fail("the series twice");
    family.samples.set(name + labels, Number(value.replace("Inf", "Infinity")));
  }
  for (const family of families.values()) {
    checkConventions(family);
    if (family.type === "histogram") checkHistogram(family);
  }
  return families;
}

function checkLabels(text: string, fail: (why: string) => never): void {
  if (text === "") return;
  const inner = text.slice(1, -1);
  const seen = new Set<string>();
  labelPattern.lastIndex = 0;
  let end = 0;
  while (end < inner.length) {
    const match = labelPattern.exec(inner) ?? fail("not a label");
    if (seen.has(match[1]!)) fail("a label twice");
    seen.add(match[1]!);
    end = labelPattern.lastIndex;
  }
}

function checkConventions({ name, type, help, samples }: ParsedFamily): void {
  if (help.trim() === "") throw new Error(`${name} has no help`);
  if ((type === "counter") !== name.endsWith("_total"))
    throw new Error(`${name}: counters end in _total, nothing else does`);
  if (wrongUnits.test(name)) throw new Error(`${name} is not in a base unit`);
  if (type === "counter") {
    for (const [series, value] of samples) if (!(value >= 0)) throw new Error(`${series} is ${value}`);
  }
}

/** Each series' buckets in ascending order, cumulative, up to the count. */
function checkHistogram({ name, samples }: ParsedFamily): void {
  const buckets = new Map<string, { le: number; count: number }[]>();
  for (const [series, count] of samples) {
    const match = /^(.*)_bucket\{(.*?),?le="([^"]+)"\}$/.exec(series);
    if (match === null) continue;
    const [, , labels, le] = match as unknown as [string, string, string, string];
    const list = buckets.get(labels) ?? [];
    list.push({ le: Number(le.replace("+Inf", "Infinity")), count });
    buckets.set(labels, list);
  }
  for (const [labels, list] of buckets) {
    for (let i = 1; i < list.length; i++) {
      if (!(list[i]!.le > list[i - 1]!.le) || list[i]!.count < list[i - 1]!.count)
        throw new Error(`${name}{${labels}} falls`);
    }
    const last = list.at(-1)!;
    const rest = labels === "" ? "" : `{${labels}}`;
    if (last.le !== Number.POSITIVE_INFINITY) throw new Error(`${name}{${labels}} has no +Inf`);
    if (samples.get(`${name}_count${rest}`) !== last.count) throw new Error(`${name}{${labels}}: the count is another`);
    if (samples.get(`${name}_sum${rest}`) === undefined) throw new Error(`${name}{${labels}} has no sum`);
  }
}
