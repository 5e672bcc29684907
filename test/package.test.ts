/** What `npm publish` would publish: all that the package's entries need, and nothing that is not theirs. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { join, posix } from "node:path";
import { before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const root = fileURLToPath(new URL("..", import.meta.url));

interface Manifest {
  readonly bin: Readonly<Record<string, string>>;
  readonly exports: Readonly<Record<string, string | Readonly<Record<string, string>>>>;
  readonly dependencies: Readonly<Record<string, string>>;
}

const text = (path: string): Promise<string> => readFile(join(root, path), "utf8");

/** Specifiers of imports and exports, on demand and of types too, in compiled code and in declarations. */
function importsOf(code: string): readonly string[] {
  const found = code.matchAll(/^(?:import|export)\b[^;"']*?\bfrom ["']([^"']+)["']|^import ["']([^"']+)["']/gm);
  const onDemand = code.matchAll(/\bimport\(\s*["']([^"']+)["']\s*\)/g);
  return [...[...found].map((match) => match[1] ?? match[2]!), ...[...onDemand].map((match) => match[1]!)];
}

/** `./a.js` beside a declaration means `./a.d.ts`, and so does `./a.ts`. */
function fileOf(specifier: string, from: string): string {
  const path = posix.join(posix.dirname(from), specifier);
  return from.endsWith(".d.ts") ? path.replace(/(\.d)?\.[jt]s$/, ".d.ts") : path;
}

interface Reached {
  readonly files: ReadonlySet<string>;
  readonly packages: ReadonlySet<string>;
}

async function reach(entries: readonly string[]): Promise<Reached> {
  const files = new Set(entries);
  const packages = new Set<string>();
  for (const file of files) {
    const code = await text(file);
    const urls = code.matchAll(/new URL\(["'](\.{1,2}\/[^"']+\.js)["'], import\.meta\.url\)/g);
    for (const specifier of [...importsOf(code), ...[...urls].map((match) => match[1]!)]) {
      // Code that `onefold init` writes stands in text, and imports `.ts`.
      if (specifier.startsWith(".") && file.endsWith(".js") && !specifier.endsWith(".js")) continue;
      if (specifier.startsWith(".")) files.add(fileOf(specifier, file));
      else if (!specifier.startsWith("node:")) packages.add(/^(@[^/]+\/)?[^/]+/.exec(specifier)![0]);
    }
  }
  return { files, packages };
}

describe("the package", () => {
  let packed: readonly string[] = [];
  let manifest: Manifest;
  let entries: readonly string[] = [];

  before(async () => {
    const options = { cwd: root, maxBuffer: 16 * 1024 * 1024 };
    const { stdout } = await promisify(execFile)("npm", ["pack", "--dry-run", "--json", "--ignore-scripts"], options);
    const [report] = JSON.parse(stdout) as [{ files: { path: string }[] }];
    packed = report.files.map(({ path }) => path);
    manifest = JSON.parse(await text("package.json")) as Manifest;
    const targets = Object.values(manifest.exports).flatMap((target) =>
      typeof target === "string"
        ? [target]
        : Object.entries(target).flatMap(([on, path]) => (on === "onefold-source" ? [] : [path])),
    );
    entries = [...new Set([...targets, ...Object.values(manifest.bin)].map((path) => posix.normalize(path)))];
  });

  test("has every file that an entry names, and all that those need", async () => {
    assert.deepEqual(Object.keys(manifest.exports), [".", "./client", "./sim", "./package.json"]);
    const code = entries.filter((path) => /\.[jt]s$/.test(path));
    const { files, packages } = await reach(code);
    const missing = [...entries, ...files].filter((path) => !packed.includes(path));
    assert.deepEqual(missing, []);
    const undeclared = [...packages].filter((name) => name !== "onefold" && manifest.dependencies[name] === undefined);
    assert.deepEqual(undeclared, []);
  });

  test("has nothing that no entry needs (else, after a file was removed: rm -r dist && npm run build)", async () => {
    const compiled = new Set(packed.filter((path) => path.endsWith(".js")));
    let all = (await reach(entries.filter((path) => /\.[jt]s$/.test(path)))).files;
    // A process of its own has a program of its own: who starts it names it in text, without its ending.
    const started = new Set<string>();
    for (const file of all) {
      for (const [, path] of (await text(file)).matchAll(/["'`](\.{1,2}\/[\w/-]+)/g)) {
        const program = `${posix.join(posix.dirname(file), path!)}.js`;
        if (compiled.has(program)) started.add(program);
      }
    }
    all = (await reach([...all, ...started])).files;
    // What a file declares may be of types that are in files of their own.
    const declared = [...all].map((path) => path.replace(/\.js$/, ".d.ts")).filter((path) => packed.includes(path));
    all = (await reach([...all, ...declared])).files;
    const stems = new Set([...all].map((path) => path.replace(/(\.d\.ts|\.js)$/, "")));
    const idle = packed.filter(
      (path) => path.startsWith("dist/") && !stems.has(path.replace(/(\.d\.ts|\.js(\.map)?)$/, "")),
    );
    assert.deepEqual(idle, []);
  });

  test("has no tests, fixtures, examples of its own making, or sources, but the documents that it is described by", () => {
    const others = packed.filter((path) => !path.startsWith("dist/"));
    for (const path of others) {
      assert.match(path, /^(docs\/.*\.(md|svg)|deploy\/[\w./-]+|[A-Z]+\.md|LICENSE|package\.json)$/);
    }
    for (const path of [
      "README.md",
      "LICENSE",
      "CHANGELOG.md",
      "docs/client.md",
      "docs/testing.md",
      "docs/operating.md",
    ]) {
      assert.ok(packed.includes(path), path);
    }
    for (const path of [
      "deploy/onefold.service",
      "deploy/Containerfile",
      "deploy/dockerignore",
      "deploy/onefold-node.service",
      "deploy/compose.yaml",
      "deploy/kubernetes/nodes.yaml",
      "docs/clusters.md",
    ]) {
      assert.ok(packed.includes(path), path);
    }
    assert.deepEqual(
      packed.filter((path) => /\.(test|suite|fake|fixture|child|test-d)\./.test(path)),
      [],
    );
  });

  test("has maps that bring their source with them", async () => {
    for (const path of packed.filter((each) => each.endsWith(".js.map")).slice(0, 20)) {
      const { sourcesContent } = JSON.parse(await text(path)) as { sourcesContent?: readonly string[] };
      assert.ok(sourcesContent?.[0] !== undefined, `${path} points to a source that is not there`);
    }
  });

  test("starts the program with Node", async () => {
    for (const path of Object.values(manifest.bin)) {
      assert.ok((await text(posix.normalize(path))).startsWith("#!/usr/bin/env node\n"), path);
    }
  });
});
