import assert from "node:assert/strict";
import { readdir, readFile } from "node:fs/promises";
import { join, relative, sep } from "node:path";
import { describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { brokenRules, withoutCommentsAndText } from "../scripts/source-rules.ts";

const root = fileURLToPath(new URL("..", import.meta.url));

describe("the source tree", () => {
  test("keeps every rule of the architecture", async () => {
    const broken: string[] = [];
    let fileCount = 0;
    for (const folder of ["src", "scripts", "bench", "test", "examples"]) {
      for (const entry of await readdir(join(root, folder), { recursive: true, withFileTypes: true })) {
        const path = join(entry.parentPath, entry.name);
        if (!entry.isFile() || !entry.name.endsWith(".ts") || path.includes("node_modules")) continue;
        const shown = relative(root, path).split(sep).join("/");
        if (shown.startsWith("test/fixtures/")) continue;
        fileCount++;
        broken.push(...brokenRules({ path: shown, text: await readFile(path, "utf8") }));
      }
    }
    assert.ok(fileCount > 20, "the tree was not found");
    assert.deepEqual(broken, []);
  });
});

describe("the rules", () => {
  const breaks = (path: string, text: string): readonly string[] => brokenRules({ path, text });

  test("refuse an import that points up", () => {
    const [broken] = breaks("src/log/log.ts", 'import { a } from "../entity/fold.ts";');
    assert.match(broken ?? "", /imports src\/entity\/fold\.ts; imports only point down/);
  });

  test("see imports over several lines, of types, exports and on demand", () => {
    assert.equal(breaks("src/log/a.ts", 'import {\n  type A,\n  b,\n} from "../cli/main.ts";').length, 1);
    assert.equal(breaks("src/log/a.ts", 'import type { A } from "../cli/main.ts";').length, 1);
    assert.equal(breaks("src/log/a.ts", 'export { a } from "../cli/main.ts";').length, 1);
    assert.equal(breaks("src/log/a.ts", 'const a = await import("../cli/main.ts");').length, 1);
  });

  test("let imports point down and sideways", () => {
    assert.deepEqual(breaks("src/entity/a.ts", 'import { a } from "../log/log.ts";\nimport { b } from "./b.ts";'), []);
  });

  test("let only tests and the simulation itself import the simulation", () => {
    const text = 'import { a } from "../sim/host.ts";';
    assert.equal(breaks("src/runtime/node.ts", text).length, 1);
    assert.deepEqual(breaks("src/runtime/node.test.ts", text), []);
    assert.deepEqual(breaks("src/sim/run.ts", text), []);
    assert.equal(breaks("src/sim/run.ts", 'import { a } from "../cli/main.ts";').length, 1);
  });

  test("keep test code out of the product", () => {
    assert.equal(breaks("src/gateway/a.ts", 'import { a } from "./service.fake.ts";').length, 1);
  });

  test("refuse the world outside its folders", () => {
    for (const text of [
      'import { readFile } from "node:fs/promises";',
      "const now = Date.now();",
      "const now = new Date();",
      "const chance = Math.random();",
      "setTimeout(run, 5);",
      "const home = process.env;",
    ]) {
      assert.equal(breaks("src/entity/executor.ts", text).length, 1, text);
      assert.deepEqual(breaks("src/host/node/clock.ts", text), [], text);
      assert.deepEqual(breaks("src/entity/executor.test.ts", text), [], text);
    }
  });

  test("allow the listed exceptions and nothing beside them", () => {
    assert.deepEqual(breaks("src/base/digest.ts", 'import { createHash } from "node:crypto";'), []);
    assert.equal(breaks("src/base/digest.ts", 'import { readFile } from "node:fs";').length, 1);
    assert.deepEqual(breaks("src/gateway/a.ts", 'import type { Server } from "node:http";'), []);
    assert.equal(breaks("src/gateway/a.ts", 'import { createServer } from "node:http";').length, 1);
  });

  test("do not take words in comments, strings and patterns for code", () => {
    const text =
      '// Date.now\n/* Math.random */ const a = "setTimeout"; const b = /process.env "/; const c = `Date.now`;';
    assert.deepEqual(breaks("src/entity/a.ts", text), []);
    assert.match(withoutCommentsAndText("const url = 'http://x'; Date.now()"), /Date\.now/);
  });

  test("refuse a new folder without a rank, names without a concept, and files that are two concepts", () => {
    assert.match(breaks("src/misplaced/a.ts", "")[0] ?? "", /has no rank/);
    assert.match(breaks("src/base/string-utils.ts", "")[0] ?? "", /names no concept/);
    assert.match(breaks("src/base/someThing.ts", "")[0] ?? "", /not kebab-case/);
    assert.match(breaks("src/base/a.ts", "\n".repeat(601))[0] ?? "", /two concepts/);
  });
});
