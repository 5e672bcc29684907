/**
 * Finds the module that SYSTEM names: a file, or a folder with one.
 *
 * In a folder, in this order: the `main` of its package.json, `index` with one of the extensions, or its only module.
 */
import { readdir, readFile, stat } from "node:fs/promises";
import { basename, dirname, extname, join, resolve } from "node:path";
import { closest } from "../base/ids.ts";
import { CommandFailure, exitCodes } from "./exit-code.ts";

/** In order of preference where a folder has several `index` modules. */
export const moduleExtensions = [".ts", ".mts", ".cts", ".js", ".mjs", ".cjs"] as const;

/** The absolute path of the module. Throws `CommandFailure` (usage) that says what was looked for. */
export async function findSystemModule(path: string, directory: string): Promise<string> {
  const absolute = resolve(directory, path);
  const found = await kindOf(absolute);
  if (found === "file") {
    if (isModule(absolute)) return absolute;
    throw new CommandFailure(
      exitCodes.usage,
      `${path} is not a TypeScript or JavaScript module (${moduleExtensions.join(", ")}).`,
    );
  }
  if (found === "directory") return await moduleOfFolder(absolute, path);
  for (const extension of moduleExtensions) {
    if ((await kindOf(absolute + extension)) === "file") return absolute + extension;
  }
  throw new CommandFailure(exitCodes.usage, `There is no ${path} here.${await nearName(absolute)}`);
}

async function moduleOfFolder(folder: string, shown: string): Promise<string> {
  const main = await mainOfPackage(folder, shown);
  if (main !== undefined) return main;
  const modules = (await readdir(folder)).filter((name) => isModule(name) && !isAbout(name)).sort();
  for (const extension of moduleExtensions) {
    if (modules.includes(`index${extension}`)) return join(folder, `index${extension}`);
  }
  if (modules.length === 1) return join(folder, modules[0]!);
  const reason =
    modules.length === 0
      ? "it has no TypeScript or JavaScript module"
      : `it has several modules and none is called index: ${modules.slice(0, 8).join(", ")}`;
  throw new CommandFailure(exitCodes.usage, `The folder ${shown} does not say which module is the system: ${reason}.`);
}

async function mainOfPackage(folder: string, shown: string): Promise<string | undefined> {
  const path = join(folder, "package.json");
  if ((await kindOf(path)) !== "file") return undefined;
  let content: unknown;
  try {
    content = JSON.parse(await readFile(path, "utf8"));
  } catch (cause) {
    throw new CommandFailure(exitCodes.usage, `${join(shown, "package.json")} can't be read as JSON.`, { cause });
  }
  const main = content !== null && typeof content === "object" && "main" in content ? content.main : undefined;
  if (typeof main !== "string") return undefined;
  const target = join(folder, main);
  // `npm init` writes "main": "index.js" into every package.json, whether there is such a file or not.
  return (await kindOf(target)) === "file" ? target : undefined;
}

async function kindOf(path: string): Promise<"file" | "directory" | "absent"> {
  try {
    return (await stat(path)).isDirectory() ? "directory" : "file";
  } catch (error) {
    const code = error instanceof Error && "code" in error ? error.code : undefined;
    if (code === "ENOENT" || code === "ENOTDIR") return "absent";
    throw new CommandFailure(exitCodes.usage, `${path} can't be read (${String(code)}).`, { cause: error });
  }
}

async function nearName(absolute: string): Promise<string> {
  const folder = dirname(absolute);
  if ((await kindOf(folder)) !== "directory") return "";
  const near = closest(basename(absolute), await readdir(folder));
  return near === undefined ? "" : ` Did you mean ${near}?`;
}

function isModule(path: string): boolean {
  return moduleExtensions.some((extension) => extension === extname(path));
}

/** Not the system itself: a test, a declaration, a tool's configuration, or what `onefold sim` reads. */
function isAbout(name: string): boolean {
  return /\.(test|spec|d|config)\.[cm]?[jt]s$/.test(name) || /^simulation\.[cm]?[jt]s$/.test(name);
}
