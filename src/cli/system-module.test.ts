import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, before, describe, test } from "node:test";
import { fileURLToPath, pathToFileURL } from "node:url";
import { promisify } from "node:util";

const root = fileURLToPath(new URL("../../", import.meta.url));
const built = pathToFileURL(join(root, "dist", "cli", "system-module.js")).href;
const errors = pathToFileURL(join(root, "dist", "base", "errors.js")).href;

/** Loads a module in a process of its own, as the built program does, and prints what came of it. */
const probe = `
import { enableTypeScript, isTypeScript, loadSystem } from ${JSON.stringify(built)};
import { Refused } from ${JSON.stringify(errors)};
const path = process.argv[2];
if (isTypeScript(path)) enableTypeScript();
try {
  const { system, examples } = await loadSystem(path);
  const entity = [...system.definition.entities.values()][0];
  let isSameRefused;
  try { entity.commands.get("refuse").run({}, undefined, undefined); } catch (error) { isSameRefused = error.constructor === Refused; }
  console.log(JSON.stringify({ name: system.definition.name, isSameRefused, examples }));
} catch (error) {
  console.log(JSON.stringify({ exitCode: error.exitCode, message: error.message }));
}
`;

const counterSource = `
import { entity, Refused, system } from "onefold";
const anything = { "~standard": { version: 1, vendor: "none", validate: (value%TYPE%) => ({ value }) } };
const counter = entity("counter")
  .state(anything%ANY%, () => ({ count: 0 }))
  .command("refuse", () => { throw new Refused("never"); });
export const made = system("made", { counter });
export const examples = [{ title: "Refuse", entity: "counter/a", command: "refuse" }];
`;
const counterInTypeScript = counterSource.replace("%TYPE%", ": unknown").replace("%ANY%", " as never");
const counterInJavaScript = counterSource.replace("%TYPE%", "").replace("%ANY%", "");

interface Probed {
  readonly name?: string;
  readonly isSameRefused?: boolean;
  readonly examples?: readonly unknown[];
  readonly exitCode?: number;
  readonly message?: string;
}

describe("loading a system", () => {
  let folder = "";
  const put = async (path: string, text: string): Promise<void> => {
    await mkdir(dirname(join(folder, path)), { recursive: true });
    await writeFile(join(folder, path), text);
  };
  const load = async (path: string): Promise<Probed> => {
    const probePath = join(folder, "probe.mjs");
    const { stdout } = await promisify(execFile)(process.execPath, [probePath, join(folder, path)], { cwd: folder });
    return JSON.parse(stdout) as Probed;
  };
  const fails = async (path: string, message: RegExp): Promise<void> => {
    const probed = await load(path);
    assert.equal(probed.exitCode, 2, JSON.stringify(probed));
    assert.match(probed.message ?? "", message);
    assert.doesNotMatch(probed.message ?? "", /esbuild|node_modules\/tsx|node:internal/);
  };

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "onefold-load-"));
    await mkdir(join(folder, "node_modules"));
    await symlink(root, join(folder, "node_modules", "onefold"), "junction");
    await put("probe.mjs", probe);
  });
  after(() => rm(folder, { recursive: true }));

  for (const type of ["module", "commonjs", undefined]) {
    test(`gives TypeScript the very classes that run here, in a package of type ${type ?? "none"}`, async () => {
      const name = `typed-${type ?? "none"}`;
      await put(`${name}/package.json`, JSON.stringify(type === undefined ? {} : { type }));
      await put(`${name}/counter.ts`, counterInTypeScript);
      await put(`${name}/index.ts`, 'export * from "./counter.ts";\nexport type Nothing = never;');
      const probed = await load(`${name}/index.ts`);
      assert.deepEqual([probed.name, probed.isSameRefused], ["made", true], JSON.stringify(probed));
      assert.equal(probed.examples?.length, 1);
    });
  }

  test("gives JavaScript the same, as ECMAScript or CommonJS", async () => {
    await put("plain/counter.mjs", counterInJavaScript);
    assert.equal((await load("plain/counter.mjs")).isSameRefused, true);
    const required = counterInJavaScript
      .replace(/import (\{.*\}) from "onefold";/, 'const $1 = require("onefold");')
      .replace("export const made", "exports.made")
      .replace("export const examples", "exports.examples");
    await put("plain/counter.cjs", required);
    assert.equal((await load("plain/counter.cjs")).isSameRefused, true);
  });

  test("names file, line and column of a syntax error", async () => {
    await put("bad/typed.ts", "export const a: number = 1;\nexport const b = ;");
    await fails("bad/typed.ts", /bad\/typed\.ts:2:17: Unexpected ";"/);
    await put("bad/imports.ts", 'export * from "./typed.ts";');
    await fails("bad/imports.ts", /bad\/typed\.ts:2:17/);
    await put("bad/plain.mjs", "export const a = 1;\nexport const b = ;");
    await fails("bad/plain.mjs", /plain\.mjs:2[\s\S]*Unexpected token/);
  });

  test("says where a module threw, and what is missing", async () => {
    await put("bad/throws.ts", "const a = 1;\nthrow new Error('boom');");
    await fails("bad/throws.ts", /Error: boom[\s\S]*throws\.ts:2/);
    await put("bad/missing.ts", 'import { z } from "no-such-package";\nexport const a = z;');
    await fails("bad/missing.ts", /no-such-package[\s\S]*npm install no-such-package/);
  });

  test("says what a module exports that is not a system, and names several", async () => {
    await put("bad/none.ts", "export const a = 1;\nexport const b = { definition: {} };");
    await fails("bad/none.ts", /exports a, b, none a system/);
    await put("bad/empty.ts", "export {};");
    await fails("bad/empty.ts", /exports nothing/);
    await put("bad/several.ts", `${counterInTypeScript}\nexport const other = system("other", { counter });`);
    await fails("bad/several.ts", /several systems \(made, other\)/);
  });

  test("takes one system under several names for one", async () => {
    await put("twice.ts", `${counterInTypeScript}\nexport const again = made;`);
    assert.equal((await load("twice.ts")).name, "made");
  });
});
