/** Every example in `docs/client.md`, run as it stands there: what it prints must be what it says behind `// →`. */
import assert from "node:assert/strict";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { fileURLToPath, pathToFileURL } from "node:url";
import { formatWithOptions } from "node:util";
import { type TestNode, testNode } from "./gateway.fixture.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
const markdown = await readFile(join(root, "docs", "client.md"), "utf8");
const examples = [...markdown.matchAll(/^```ts\n([\s\S]*?)^```$/gm)].map((match) => match[1]!);
const clientUrl = pathToFileURL(join(root, "src", "client", "index.ts")).href;

/** A module whose one export runs the example; the imports and the client that earlier ones have made are added to it. */
function moduleOf(example: string): string {
  const imports = example.match(/^import .*$/gm) ?? [];
  const body = example.replaceAll(/^import .*$/gm, "");
  const given = new Set(["connect", "OnefoldError", "Refused"].filter((name) => !imports.join().includes(name)));
  return [
    `import { ${[...given].join(", ")} } from "onefold/client";`,
    ...imports.filter((line) => !line.startsWith("import type")),
    "export async function run(url, console) {",
    body.includes("const client =") ? "" : "const client = connect(url); try {",
    body,
    body.includes("const client =") ? "" : "} finally { client.$close(); }",
    "}",
  ]
    .join("\n")
    .replaceAll('"onefold/client"', JSON.stringify(clientUrl));
}

describe("the examples of docs/client.md", () => {
  let server: TestNode;
  let folder = "";
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "onefold-examples-"));
  });
  after(() => rm(folder, { recursive: true }));

  test("are there", () => assert.ok(examples.length >= 10));

  for (const [index, example] of examples.entries()) {
    const title = example.split("\n").find((line) => !line.startsWith("import") && line !== "");
    test(`print what they say they print: ${title}`, async () => {
      server = await testNode();
      try {
        const path = join(folder, `example-${index}.ts`);
        await writeFile(path, moduleOf(example));
        const printed: string[] = [];
        const { run } = (await import(pathToFileURL(path).href)) as {
          run(url: string, console: { log(...values: readonly unknown[]): void }): Promise<void>;
        };
        await run(server.url, {
          log: (...values) => printed.push(formatWithOptions({ breakLength: Number.POSITIVE_INFINITY }, ...values)),
        });
        const promised = [...example.matchAll(/\/\/ → (.*)$/gm)].map((match) => match[1]!);
        assert.ok(promised.length > 0, "an example that shows nothing");
        assert.deepEqual(printed, promised);
      } finally {
        await server.close();
      }
    });
  }
});
