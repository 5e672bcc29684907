/**
 * The table of limits in docs/operating.md, made of src/base/limits.ts: `node --import tsx scripts/limits-table.ts` writes it
 * into the page. A test holds the page to it.
 */
import { readFile, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { limits } from "../src/base/limits.ts";

const sourcePath = fileURLToPath(new URL("../src/base/limits.ts", import.meta.url));
export const pagePath = fileURLToPath(new URL("../docs/operating.md", import.meta.url));
const [begin, end] = ["<!-- limits: begin -->\n", "<!-- limits: end -->"];
/** Nothing uses the network between nodes yet. */
const left = /^network/;

/** The page with the table that `src/base/limits.ts` gives. Throws where the page has no place for it. */
export async function pageWithTable(page: string): Promise<string> {
  const [from, to] = [page.indexOf(begin), page.indexOf(end)];
  if (from < 0 || to < from) throw new Error(`${pagePath} has no place for the limits (${begin.trim()} … ${end}).`);
  return page.slice(0, from + begin.length) + limitsTable(await readFile(sourcePath, "utf8")) + page.slice(to);
}

/** Markdown, in the order of the source: its sections, and of each limit name, value and comment. */
function limitsTable(source: string): string {
  const body = source.slice(source.indexOf("export const limits = {"), source.indexOf("} as const;"));
  const lines = ["| Limit | | |", "|---|---|---|"];
  for (const [, section, comment, name] of body.matchAll(
    /^ {2}\/\/ -+ (.*)$|^ {2}(?:\/\*\* (.*?) \*\/\n {2})?(\w+): /gm,
  )) {
    if (section !== undefined) {
      if (!left.test(section)) lines.push(`| **${section}** | | |`);
    } else if (name !== undefined && !left.test(name)) {
      lines.push(`| \`${name}\` | ${shown(name)} | ${comment ?? ""} |`);
    }
  }
  return `${lines.join("\n")}\n`;
}

const kibibyte = 1024;

function shown(name: string): string {
  const value = limits[name as keyof typeof limits] as number | undefined;
  if (value === undefined) throw new Error(`There is no limit ${name}.`);
  if (/Bytes/.test(name))
    return inUnit(value, [
      ["MiB", kibibyte ** 2],
      ["KiB", kibibyte],
      ["bytes", 1],
    ]);
  if (/Ms/.test(name)) {
    return inUnit(value, [
      ["days", 48 * 3_600_000],
      ["h", 3_600_000],
      ["min", 60_000],
      ["s", 1000],
      ["ms", 1],
    ]);
  }
  return value.toLocaleString("en");
}

/** In the first unit that is not larger than the value and divides it. A number of days begins at two. */
function inUnit(value: number, units: readonly (readonly [name: string, size: number])[]): string {
  for (const [name, least] of units) {
    const size = name === "days" ? least / 2 : least;
    if (value >= least && value % size === 0) return `${(value / size).toLocaleString("en")} ${name}`;
  }
  return String(value);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  await writeFile(pagePath, await pageWithTable(await readFile(pagePath, "utf8")));
}
