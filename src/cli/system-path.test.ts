import assert from "node:assert/strict";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, before, describe, test } from "node:test";
import { CommandFailure, exitCodes } from "./exit-code.ts";
import { findSystemModule } from "./system-path.ts";

describe("finding the system's module", () => {
  let folder = "";
  const put = async (path: string, text = ""): Promise<void> => {
    await mkdir(dirname(join(folder, path)), { recursive: true });
    await writeFile(join(folder, path), text);
  };
  const finds = async (path: string): Promise<string> =>
    (await findSystemModule(path, folder)).slice(folder.length + 1);
  const refuses = (path: string, message: RegExp): Promise<void> =>
    assert.rejects(findSystemModule(path, folder), (error) => {
      assert.ok(error instanceof CommandFailure);
      assert.equal(error.exitCode, exitCodes.usage);
      assert.match(error.message, message);
      return true;
    });

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "onefold-path-"));
    await put("bank.ts");
    await put("indexed/index.ts");
    await put("indexed/bank.ts");
    await put("packaged/package.json", '{ "main": "lib/start.mjs" }');
    await put("packaged/lib/start.mjs");
    await put("packaged/index.ts");
    await put("careless/package.json", '{ "main": "index.js" }');
    await put("careless/shop.ts");
    await put("single/shop.ts");
    await put("single/shop.test.ts");
    await put("single/readme.md");
    await put("several/a.ts");
    await put("several/b.ts");
    await put("none/readme.md");
    await put("broken/package.json", "{");
  });
  after(() => rm(folder, { recursive: true }));

  test("takes a file as it is named, with or without its extension", async () => {
    assert.equal(await finds("bank.ts"), "bank.ts");
    assert.equal(await finds("./bank"), "bank.ts");
  });

  test("takes a folder's package main, else its index, else its only module", async () => {
    assert.equal(await finds("packaged"), join("packaged", "lib", "start.mjs"));
    assert.equal(await finds("indexed/"), join("indexed", "index.ts"));
    assert.equal(await finds("single"), join("single", "shop.ts"));
  });

  test("does not believe a package main that is not there", async () => {
    assert.equal(await finds("careless"), join("careless", "shop.ts"));
  });

  test("names the choices where a folder leaves it open", async () => {
    await refuses("several", /a\.ts, b\.ts/);
    await refuses("none", /no TypeScript or JavaScript module/);
  });

  test("refuses what is not there, and guesses what was meant", async () => {
    await refuses("bnak.ts", /There is no bnak\.ts here\. Did you mean bank\.ts\?/);
    await refuses("elsewhere/deep.ts", /There is no elsewhere\/deep\.ts here\./);
  });

  test("refuses files that are not modules, and unreadable packages", async () => {
    await refuses("none/readme.md", /not a TypeScript or JavaScript module/);
    await refuses("broken", /package\.json can't be read as JSON/);
  });
});
