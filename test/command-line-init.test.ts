/** `onefold init`: the folder that it makes, used as a newcomer does, with this repository in the place of what npm installs. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdir, readdir, readFile, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { ended, inProcess, only, ProgramFolder, stopped } from "./command-line.fixture.ts";
import { installOnefold } from "./installation.ts";

const root = fileURLToPath(new URL("..", import.meta.url));
const written = ["counters.ts", "counters.test.ts", "package.json", "tsconfig.json", ".gitignore", "README.md"];

interface PackageJson {
  readonly name: string;
  readonly scripts: Readonly<Record<string, string>>;
  readonly dependencies: Readonly<Record<string, string>>;
}

async function packageJsonIn(folder: string): Promise<PackageJson> {
  return JSON.parse(await readFile(join(folder, "package.json"), "utf8")) as PackageJson;
}

/** What npm would do with the other packages that the folder depends on. */
async function installTools(folder: string): Promise<void> {
  const modules = join(folder, "node_modules");
  for (const name of ["tsx", "typescript"]) {
    await symlink(join(root, "node_modules", name), join(modules, name), "junction");
  }
  await mkdir(join(modules, "@types"));
  await symlink(join(root, "node_modules", "@types", "node"), join(modules, "@types", "node"), "junction");
}

describe("onefold init", { timeout: 60_000 }, () => {
  let place: ProgramFolder;
  let made: ProgramFolder;

  before(async () => {
    place = await ProgramFolder.make();
    made = new ProgramFolder(join(place.path, "My Counters"));
  });
  after(async () => {
    await made.remove();
    await place.remove();
  });

  test("writes what it lists, and says what to do next", async () => {
    const { code, out, err } = await place.onefold("init", "My Counters");
    assert.equal(code, 0, err);
    const listed = [...out.matchAll(/^ {2}(\S+\.\w+|\.gitignore)$/gm)].map((match) => match[1]);
    assert.deepEqual(listed, written);
    assert.deepEqual((await readdir(made.path)).sort(), [...written].sort());
    assert.match(out, /^Next:\n {2}cd 'My Counters'\n {2}npm install\n {2}npm test\n {2}npx onefold dev$/m);
    const { name, dependencies } = await packageJsonIn(made.path);
    assert.equal(name, "my-counters");
    assert.match(dependencies.onefold!, /^file:\.\.\/.*$/, "a clone is depended on where it lies");
    assert.ok((await readFile(join(made.path, "counters.ts"), "utf8")).split("\n").length <= 22);
  });

  test("makes a folder that passes its own test and type check, and serves", async () => {
    await installOnefold(made.path);
    await installTools(made.path);
    const { scripts } = await packageJsonIn(made.path);
    const tested = await ended(made.spawn("sh", ["-c", scripts.test!]));
    assert.equal(tested.code, 0, tested.out + tested.err);
    assert.match(tested.out, /^(#|ℹ) pass 1$/m);
    const checked = await ended(made.spawn(process.execPath, ["node_modules/typescript/bin/tsc"]));
    assert.deepEqual(checked, { code: 0, out: "", err: "" });

    const dev = made.spawn("sh", ["-c", `exec ${scripts.dev} --port 0 --json`]);
    const [line] = (await once(createInterface({ input: dev.stdout! }), "line")) as [string];
    const { url, system } = JSON.parse(line) as { readonly url: string; readonly system: string };
    assert.equal(system, "counters");
    const readme = await readFile(join(made.path, "README.md"), "utf8");
    const [, call] = /^npx (onefold call .*)$/m.exec(readme)!;
    const [, history] = /^npx (onefold history .*)$/m.exec(readme)!;
    made.environment = { ONEFOLD_URL: url };
    assert.equal((await ended(made.spawn("sh", ["-c", call!]))).out, "5\n");
    assert.match((await ended(made.spawn("sh", ["-c", history!]))).out, /increment .*\{"count":5\}/);
    assert.equal(await stopped(dev), 0);
  });

  test("tells programs what it wrote, and does with a folder that has only a repository in it", async () => {
    const folder = join(place.path, "cloned");
    await mkdir(join(folder, ".git"), { recursive: true });
    assert.deepEqual(only(await inProcess("init", folder, "--json")), { directory: folder, files: written });
  });

  test("refuses a folder that is not empty, or is none, and writes nothing there", async () => {
    const full = await inProcess("init", made.path);
    assert.equal(full.code, 2);
    assert.match(full.err, /is not empty \(\.gitignore, .*, …\)\. Name another one: onefold init FOLDER\.$/m);
    const folder = join(place.path, "taken");
    await mkdir(folder);
    await writeFile(join(folder, "mine.txt"), "mine");
    const here = await new ProgramFolder(folder).onefold("init");
    assert.equal(here.code, 2);
    assert.equal(here.err, "This folder is not empty (mine.txt). Name another one: onefold init FOLDER.\n");
    assert.deepEqual(await readdir(folder), ["mine.txt"]);
    const file = await inProcess("init", join(folder, "mine.txt"));
    assert.equal(file.code, 2);
    assert.match(file.err, /is a file; init needs an empty folder/);
    const below = await inProcess("init", join(folder, "mine.txt", "below"));
    assert.deepEqual([below.code, below.out], [2, ""]);
  });
});
