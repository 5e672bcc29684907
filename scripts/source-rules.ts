/**
 * The architecture's rules as a program: which folder may import which, who may touch the world, how files are called and how
 * long they may be. `test/source-rules.test.ts` holds the tree to them.
 */

/** Lower may not import higher. A folder that isn't listed here is refused, so that a new one gets its place on purpose. */
const ranks: Readonly<Record<string, number>> = {
  base: 0,
  wire: 0.5,
  host: 1,
  metrics: 1,
  log: 2,
  store: 3,
  backup: 3.5,
  entity: 4,
  transaction: 5,
  cluster: 5.5,
  gateway: 6,
  // Of what is below, the client takes types only (`src/client/bundle.test.ts`).
  client: 6,
  runtime: 7,
  // The public face stands on everything but the command line.
  index: 8,
  cli: 9,
};

/** Beside the ranks: the simulation may import everything but `cli`; only tests, benchmarks and scripts may import it … */
const simulation = "sim";
/** … and the one command that runs it for users, which is itself imported only when it is asked for. */
const simulating = /^src\/cli\/(sim-command\.ts|sim\/)/;
const linesMax = 600;
const forbiddenNames = /^(utils?|helpers?|common|manager|shared|misc)$/;

/** Where Node's built-ins, ambient time, randomness and the environment may be touched. */
const worldly = [
  /^src\/host\/node\//,
  /^src\/log\/engine\//,
  /^src\/store\/engine\//,
  /^src\/cli\//,
  /^src\/client\/platform\//,
  /^(scripts|bench|test)\//,
];

/** Single exceptions, each with its reason. */
const allowances: readonly { readonly path: RegExp; readonly what: RegExp; readonly reason: string }[] = [
  { path: /^src\/base\/digest\.ts$/, what: /^node:(crypto|zlib)$/, reason: "pure functions of their input" },
  { path: /^src\/gateway\//, what: /^type node:/, reason: "types of the framework's requests; erased" },
  { path: /^src\/sim\/scheduler\.ts$/, what: /^(setImmediate|process\.nextTick)$/, reason: "drains microtasks" },
  { path: /^src\/sim\/scope\.ts$/, what: /^node:async_hooks$/, reason: "a scope has no simulated twin" },
  { path: /^src\/sim\//, what: /^node:vm$/, reason: "the real guard under simulated time" },
];

export interface SourceFile {
  /** Relative to the root, with `/`. */
  readonly path: string;
  readonly text: string;
}

/** Every broken rule of one file, as sentences; empty for a file that keeps them all. */
export function brokenRules(file: SourceFile): readonly string[] {
  return [...brokenNames(file.path), ...brokenLength(file), ...brokenImports(file), ...brokenAmbience(file)].map(
    (what) => `${file.path}: ${what}`,
  );
}

function brokenNames(path: string): string[] {
  const broken: string[] = [];
  const parts = path.split("/");
  for (const part of parts) {
    const [stem = ""] = part.split(".");
    if (stem.split("-").some((word) => forbiddenNames.test(word))) broken.push(`${part} names no concept`);
  }
  const name = parts.at(-1)!;
  if (!/^[a-z0-9]+(-[a-z0-9]+)*(\.(test|suite|fake|fixture|child|test-d|d))?\.ts$/.test(name))
    broken.push(`${name} is not kebab-case`);
  return broken;
}

function brokenLength(file: SourceFile): string[] {
  const lines = file.text.split("\n").length;
  return lines > linesMax ? [`${lines} lines; more than ${linesMax} are two concepts`] : [];
}

/** Test code may import anything: it is what checks the rest. */
function isTestCode(path: string): boolean {
  return /\.(test|suite|fake|fixture|child|test-d)\.ts$/.test(path) || /^(test|bench|scripts|examples)\//.test(path);
}

function folderOf(path: string): string | undefined {
  const [top, second] = path.split("/");
  if (top !== "src" || second === undefined) return undefined;
  return second.replace(/\.ts$/, "");
}

function brokenImports(file: SourceFile): string[] {
  const folder = folderOf(file.path);
  if (folder === undefined || isTestCode(file.path)) return [];
  const rank = ranks[folder];
  if (rank === undefined && folder !== simulation) return [`src/${folder} has no rank; give it one in source-rules.ts`];
  const broken: string[] = [];
  for (const { specifier } of importsOf(file.text)) {
    if (!specifier.startsWith(".")) continue;
    const target = resolvePath(file.path, specifier);
    const targetFolder = folderOf(target);
    if (targetFolder === undefined) broken.push(`imports ${target}, which is outside src`);
    else if (isTestCode(target)) broken.push(`imports ${target}, which is for tests`);
    else if (folder === simulation) {
      if (targetFolder === "cli") broken.push("the simulation must not import cli");
    } else if (targetFolder === simulation) {
      if (!simulating.test(file.path)) broken.push(`imports ${target}; only tests may import the simulation`);
    } else if ((ranks[targetFolder] ?? Number.POSITIVE_INFINITY) > rank!) {
      broken.push(`imports ${target}; imports only point down, and ${folder} is below ${targetFolder}`);
    }
  }
  return broken;
}

const ambient = [
  /\bDate\.now\b/,
  /\bnew Date\(\)/,
  /\bMath\.random\b/,
  /\bperformance\.now\b/,
  /\bsetTimeout\b/,
  /\bsetInterval\b/,
  /\bsetImmediate\b/,
  /\bprocess\.\w+/,
  /\bcrypto\.(randomUUID|getRandomValues)\b/,
];

function brokenAmbience(file: SourceFile): string[] {
  if (isTestCode(file.path) || worldly.some((path) => path.test(file.path))) return [];
  const touched: string[] = [];
  for (const { specifier, isType } of importsOf(file.text)) {
    if (specifier.startsWith("node:")) touched.push(isType ? `type ${specifier}` : specifier);
  }
  const code = withoutCommentsAndText(file.text);
  for (const pattern of ambient) {
    const found = pattern.exec(code)?.[0];
    if (found !== undefined) touched.push(found);
  }
  return touched
    .filter((what) => !allowances.some((each) => each.path.test(file.path) && each.what.test(what)))
    .map((what) => `touches ${what}; the world comes through the ports of src/host`);
}

interface Import {
  readonly specifier: string;
  /** True where nothing is left of it at run time. */
  readonly isType: boolean;
}

function importsOf(text: string): readonly Import[] {
  const found: Import[] = [];
  for (const match of text.matchAll(/^(?:import|export)\s+(type\s)?[^;"]*?from\s+"([^"]+)"/gm)) {
    found.push({ specifier: match[2]!, isType: match[1] !== undefined });
  }
  for (const match of text.matchAll(/^import\s+"([^"]+)"/gm)) found.push({ specifier: match[1]!, isType: false });
  for (const match of text.matchAll(/\bimport\(\s*"([^"]+)"\s*\)/g))
    found.push({ specifier: match[1]!, isType: false });
  return found;
}

function resolvePath(from: string, specifier: string): string {
  const parts = from.split("/").slice(0, -1);
  for (const part of specifier.split("/")) {
    if (part === "..") parts.pop();
    else if (part !== ".") parts.push(part);
  }
  return parts.join("/");
}

/** The code alone: comments and the contents of strings, templates and regular expressions become spaces. */
export function withoutCommentsAndText(text: string): string {
  const skipped =
    /\/\/[^\n]*|\/\*[\s\S]*?\*\/|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|`(?:\\.|[^`\\])*`|(?<=[(,=:[!&|?{};\n]\s*)\/(?![/*])(?:\\.|\[(?:\\.|[^\]\\\n])*\]|[^/\\\n[])+\//g;
  return text.replace(skipped, " ");
}
