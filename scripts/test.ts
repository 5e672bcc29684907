/**
 * Runs the tests: `npm test` all of them, `npm test -- log gateway/` those whose path contains one of the words.
 *
 * Node's own runner does the work, and its summary is the last thing printed; the exit code is the runner's. Files that are named by a word, and
 * all that are not beside their sources, have a process each. Of all others those of a folder of `src` share one: to start a process and to load
 * what it tests costs most of a second of processor, more than most of them take. The package is built first where sources are newer, because tests of the command line run what users run. `nats-server` is brought
 * into the project's cache first where the machine has none that is new enough, so that no two tests do so at once.
 */
import { spawn } from "node:child_process";
import { mkdir, readdir, rm, stat, writeFile } from "node:fs/promises";
import { join, relative, sep } from "node:path";
import { fileURLToPath } from "node:url";

import { natsServerForTests } from "./nats-server.ts";

const root = fileURLToPath(new URL("..", import.meta.url));
const folders = ["src", "test", "examples", "scripts", "bench"];
/** Two at a time: more would make the tests with real processes wait for each other on a small machine. */
const concurrency = 2;

async function main(filters: readonly string[]): Promise<number> {
  const tests: string[] = [];
  for (const folder of folders) tests.push(...(await filesUnder(folder)).filter((path) => path.endsWith(".test.ts")));
  const chosen = tests.filter((path) => filters.length === 0 || filters.some((word) => path.includes(word))).sort();
  if (chosen.length === 0) {
    console.error(`No test file's path contains ${filters.join(" or ")}.`);
    return 2;
  }
  if (await isBuildStale()) {
    const compiled = await run(["node_modules/typescript/bin/tsc", "-p", "tsconfig.build.json"]);
    const built = compiled === 0 ? await run(["--import", "tsx", "scripts/link-program.ts"]) : compiled;
    if (built !== 0) {
      console.error("The build failed, so the tests were not run.");
      return built;
    }
  }
  await natsServerForTests((sentence) => console.error(sentence));
  const runs = filters.length === 0 ? await grouped(chosen) : chosen;
  return await run(["--import", "tsx", "--test", `--test-concurrency=${concurrency}`, "--test-reporter=spec", ...runs]);
}

/** The tests with one module for those of each folder of `src` that imports them. What takes longest, real processes, comes first. */
async function grouped(tests: readonly string[]): Promise<readonly string[]> {
  const directory = join(root, ".cache", "test-groups");
  await rm(directory, { recursive: true, force: true });
  await mkdir(directory, { recursive: true });
  const groups = new Map<string, string[]>();
  for (const path of tests) {
    const folder = /^src\/([^/]+)\//.exec(path)?.[1];
    if (folder !== undefined) groups.set(folder, [...(groups.get(folder) ?? []), path]);
  }
  const modules = [...groups].map(async ([folder, paths]) => {
    const lines = paths.map((path) => `import "../../${path}";\n`);
    await writeFile(join(directory, `${folder}.test.mts`), lines.join(""));
    return `.cache/test-groups/${folder}.test.mts`;
  });
  const alone = tests.filter((path) => !/^src\/[^/]+\//.test(path));
  const isOfProcesses = (path: string): boolean => path.startsWith("test/");
  return [
    ...alone.filter(isOfProcesses),
    ...(await Promise.all(modules)),
    ...alone.filter((path) => !isOfProcesses(path)),
  ];
}

/** Paths relative to the root with `/`, whatever the platform; none for an absent folder. */
async function filesUnder(folder: string): Promise<string[]> {
  try {
    const entries = await readdir(join(root, folder), { recursive: true, withFileTypes: true });
    return entries
      .filter((entry) => entry.isFile())
      .map((entry) => relative(root, join(entry.parentPath, entry.name)).split(sep).join("/"))
      .filter((path) => !path.includes("node_modules/"));
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return [];
    throw error;
  }
}

async function isBuildStale(): Promise<boolean> {
  const sources = [...(await filesUnder("src")), "package.json", "tsconfig.json", "tsconfig.build.json"];
  const built = await filesUnder("dist");
  if (!built.includes("dist/index.js")) return true;
  const newestSourceMs = Math.max(...(await Promise.all(sources.map(changedMs))));
  return newestSourceMs > Math.max(...(await Promise.all(built.map(changedMs))));
}

async function changedMs(path: string): Promise<number> {
  return (await stat(join(root, path))).mtimeMs;
}

/** Node with these arguments, on this terminal. A signal counts as a failure. */
function run(args: readonly string[]): Promise<number> {
  const { NODE_TEST_CONTEXT: _inherited, ...environment } = process.env;
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, args, {
      cwd: root,
      stdio: ["ignore", "inherit", "inherit"],
      env: environment,
    });
    child.on("error", reject);
    child.on("exit", (code) => resolve(code ?? 1));
  });
}

process.exitCode = await main(process.argv.slice(2));
