/** The README's first system, typed in and run as the README says. */
import assert from "node:assert/strict";
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { installOnefold, shellEnvironment } from "./installation.ts";

const root = fileURLToPath(new URL("..", import.meta.url));

interface Block {
  readonly language: string;
  readonly text: string;
}

describe("the README's first system", { timeout: 60_000 }, () => {
  let folder = "";
  let url = "";
  let program: ChildProcess;
  let blocks: readonly Block[] = [];

  before(async () => {
    const readme = await readFile(join(root, "README.md"), "utf8");
    const section = readme.slice(readme.indexOf("## A first system"), readme.indexOf("## What is guaranteed"));
    blocks = [...section.matchAll(/^```(\w+)\n([\s\S]*?)^```$/gm)].map((match) => ({
      language: match[1]!,
      text: match[2]!,
    }));
    folder = await mkdtemp(join(tmpdir(), "onefold-readme-"));
    await installOnefold(folder);
    const [code, dev] = blocks;
    assert.equal(code?.language, "ts");
    await writeFile(join(folder, "counter.ts"), code.text);
    assert.equal(dev?.text, "npx onefold dev counter.ts\n");
    program = spawn("onefold", ["dev", "counter.ts", "--port", "0", "--json"], {
      cwd: folder,
      env: shellEnvironment(folder),
      stdio: ["ignore", "pipe", "inherit"],
    });
    const [line] = (await once(createInterface({ input: program.stdout! }), "line")) as [string];
    ({ url } = JSON.parse(line) as { url: string });
  });
  after(async () => {
    program.kill("SIGTERM");
    if (program.exitCode === null) await once(program, "exit");
    await rm(folder, { recursive: true });
  });

  test("is no more than about twenty lines", () => {
    assert.ok(blocks[0]!.text.trim().split("\n").length <= 22);
  });

  test("answers the commands shown with the results shown", async () => {
    const readme = await readFile(join(root, "README.md"), "utf8");
    const promised = /^That prints `(\d+)`, `(\d+)` and `(\d+)`\./m.exec(readme)?.slice(1);
    const results: string[] = [];
    for (const command of blocks[2]!.text.trim().split("\n")) {
      const line = `${command.replace(/^npx /, "")} --url ${url}`;
      const { stdout } = await promisify(execFile)("sh", ["-c", line], { cwd: folder, env: shellEnvironment(folder) });
      results.push(stdout.trim());
    }
    assert.deepEqual(results, promised);
  });

  test("answers the curl command shown", async () => {
    const readme = await readFile(join(root, "README.md"), "utf8");
    const [, options, path] = /`curl (.*) http:\/\/127\.0\.0\.1:7400(\S+)`/.exec(readme) ?? [];
    assert.ok(options !== undefined && path !== undefined);
    const before = Number(await (await fetch(`${url}/v1/entities/counter/visits/count`)).text());
    const { stdout } = await promisify(execFile)("sh", ["-c", `curl -sS ${options} ${url}${path}`]);
    assert.equal(Number(stdout), before + 5);
  });

  test("refuses with the code and details that it says", async () => {
    const response = await fetch(`${url}/v1/entities/counter/none/decrement`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: '{"by": 1}',
    });
    assert.equal(response.status, 422);
    const problem = (await response.json()) as Readonly<Record<string, unknown>>;
    assert.deepEqual([problem.code, problem.details], ["too-few", { count: 0 }]);
  });
});
