/** `onefold init`: a new system, with a test, in an empty folder. */
import { existsSync } from "node:fs";
import { mkdir, readdir, writeFile } from "node:fs/promises";
import { basename, join, relative, resolve, sep } from "node:path";
import { fileURLToPath } from "node:url";
import { version } from "../base/version.ts";
import { CommandFailure, exitCodes } from "./exit-code.ts";
import { initFiles } from "./init/files.ts";
import type { Output } from "./output.ts";
import { quoted } from "./text.ts";

export interface InitOptions {
  readonly json?: boolean;
}

/** What an empty folder may have all the same. */
const ignored: ReadonlySet<string> = new Set([".git", ".DS_Store"]);

/** Prints what it wrote. Throws `CommandFailure` (usage) where the folder has anything in it; then it has written nothing. */
export async function init(folder: string, options: InitOptions, output: Output): Promise<void> {
  const directory = resolve(folder);
  await assertEmpty(directory, folder);
  const files = initFiles({ packageName: packageNameOf(basename(directory)), onefold: onefoldDependency(directory) });
  try {
    await mkdir(directory, { recursive: true });
    // `wx`: what somebody else has written there since is not overwritten.
    for (const [path, text] of files) await writeFile(join(directory, path), text, { flag: "wx" });
  } catch (cause) {
    const code = cause instanceof Error && "code" in cause ? String(cause.code) : String(cause);
    throw new CommandFailure(exitCodes.usage, `${folder} can't be written (${code}).`, { cause });
  }
  if (options.json === true) {
    output.result(JSON.stringify({ directory, files: [...files.keys()] }));
    return;
  }
  const place = relative(process.cwd(), directory);
  const steps = [...(place === "" ? [] : [`cd ${quoted(place)}`]), "npm install", "npm test", "npx onefold dev"];
  output.result(
    [
      `Wrote a system of counters to ${place === "" ? "this folder" : place}:`,
      ...[...files.keys()].map((path) => `  ${path}`),
      "",
      "Next:",
      ...steps.map((step) => `  ${step}`),
    ].join("\n"),
  );
}

async function assertEmpty(directory: string, shown: string): Promise<void> {
  let names: string[];
  try {
    names = await readdir(directory);
  } catch (cause) {
    const code = cause instanceof Error && "code" in cause ? cause.code : undefined;
    if (code === "ENOENT") return;
    const reason = code === "ENOTDIR" ? "is a file" : `can't be read (${String(code)})`;
    throw new CommandFailure(exitCodes.usage, `${shown} ${reason}; init needs an empty folder.`, { cause });
  }
  const found = names.filter((name) => !ignored.has(name)).sort();
  if (found.length === 0) return;
  const listed = found.slice(0, 5).join(", ") + (found.length > 5 ? ", …" : "");
  throw new CommandFailure(
    exitCodes.usage,
    `${shown === "." ? "This folder" : shown} is not empty (${listed}). Name another one: onefold init FOLDER.`,
  );
}

/** The folder's name as npm allows it (lower case, URL-safe, no leading dot or underscore). */
function packageNameOf(folder: string): string {
  const name = folder
    .toLowerCase()
    .replaceAll(/[^a-z0-9._-]+/g, "-")
    .replace(/^[._-]+/, "")
    .replace(/-+$/, "")
    .slice(0, 200);
  return name === "" || name === "node_modules" || name === "onefold" ? "my-system" : name;
}

/** This version from the registry; a program that runs from a clone is depended on where it lies. */
function onefoldDependency(directory: string): string {
  const root = fileURLToPath(new URL("../../", import.meta.url));
  const isInstalled = root.split(sep).includes("node_modules") || !existsSync(join(root, "src"));
  if (isInstalled) return `^${version}`;
  return `file:${relative(directory, root).split(sep).join("/")}`;
}
