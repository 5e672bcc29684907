/**
 * The newcomer's path: from an empty folder, with the README and docs/getting-started.md in hand, typing what stands there. Serve
 * the first system, call it from the command line, from a program and from a page, break it, read what happened, back it up.
 */
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface, type Interface } from "node:readline";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { installOnefold, shellEnvironment } from "./installation.ts";
import { type Block, blocksOf, compile, type Ended, shell, typeIn } from "./page.fixture.ts";

const root = fileURLToPath(new URL("..", import.meta.url));
const url = (port: number): string => `http://127.0.0.1:${port}`;

/** A program that serves or watches, until it is ended. */
interface Program {
  readonly process: ChildProcess;
  readonly lines: Interface;
}

async function nextLine({ process, lines }: Program): Promise<string> {
  const line = once(lines, "line") as Promise<[string]>;
  const ended = once(process, "exit").then(([code, signal]) => assert.fail(`ended: ${code ?? signal}`));
  return (await Promise.race([line, ended]))[0]!;
}

async function lineThatIs(program: Program, wanted: string): Promise<void> {
  const seen: string[] = [];
  for (;;) {
    const line = await nextLine(program);
    if (line === wanted) return;
    seen.push(line);
    assert.ok(seen.length < 50, `waited for ${wanted}, saw ${seen.join(" ")}`);
  }
}

describe("a newcomer", { timeout: 60_000 }, () => {
  let folder = "";
  let port = 0;
  let readme: readonly Block[] = [];
  let page: readonly Block[] = [];
  const programs: Program[] = [];

  function start(program: string, parameters: readonly string[]): Program {
    const process = spawn(program, parameters, {
      cwd: folder,
      env: shellEnvironment(folder),
      stdio: ["pipe", "pipe", "inherit"],
    });
    const started = { process, lines: createInterface({ input: process.stdout }) };
    programs.push(started);
    return started;
  }

  async function dev(onPort: number): Promise<Program> {
    const node = start("onefold", ["dev", "counter.ts", "--port", String(onPort), "--json"]);
    port = Number(new URL((JSON.parse(await nextLine(node)) as { url: string }).url).port);
    return node;
  }

  /** What a page's shell block says, with the node's real port. */
  const type = (text: string): Promise<Ended> => shell(text, folder, { ONEFOLD_URL: url(port), NO_COLOR: "1" });
  const commands = (): readonly string[] => page.filter(({ language }) => language === "sh").map(({ text }) => text);
  const blockWith = (part: string): string => commands().find((text) => text.includes(part)) ?? assert.fail(part);

  before(async () => {
    [readme, page] = [await blocksOf("README.md"), await blocksOf("docs/getting-started.md")];
    folder = await mkdtemp(join(tmpdir(), "onefold-newcomer-"));
    await installOnefold(folder, ["tsx", "esbuild", "typescript"]);
    await writeFile(join(folder, "package.json"), "{}");
    const system = readme.find(({ text }) => text.includes("export const counters")) ?? assert.fail("no first system");
    await writeFile(join(folder, "counter.ts"), system.text);
  });
  after(async () => {
    for (const { process } of programs) {
      if (process.exitCode !== null || process.signalCode !== null) continue;
      process.kill("SIGTERM");
      await once(process, "exit");
    }
    await rm(folder, { recursive: true });
  });

  let node: Program;

  test("serves the README's first system and calls it from the command line", async () => {
    node = await dev(0);
    const calls = readme.find(({ text }) => text.includes("onefold call counter/visits increment")) ?? assert.fail();
    const { output, errors } = await type(calls.text);
    assert.deepEqual(output.trim().split("\n"), ["5", "3", "3"], errors);
  });

  test("types in the page's files, which compile", async () => {
    const [setUp] = commands();
    assert.match(setUp!, /^npm pkg set type=module\nnpm install --save-dev tsx esbuild\n$/);
    await type(setUp!.split("\n")[0]!);
    assert.deepEqual(await typeIn(page, folder), ["visit.ts", "index.html", "page.ts", "serve.js"]);
    const { exitCode, output } = await compile("counter.ts visit.ts page.ts", folder);
    assert.equal(exitCode, 0, output);
    const { text } = page.find(({ file }) => file === "visit.ts")!;
    await writeFile(join(folder, "misspelt.ts"), text.replace("visits.increment", "visits.incremet"));
    const misspelt = await compile("misspelt.ts", folder);
    assert.match(misspelt.output, /misspelt\.ts.*'incremet' does not exist .*\bincrement\b/);
  });

  test("calls it from a program, typed", async () => {
    const { output, errors } = await type(`${blockWith("tsx visit.ts").trim()} ${url(port)}`);
    assert.deepEqual(output.trim().split("\n"), ["6", "too-few { count: 6 }"], errors);
  });

  let browser: Program;

  test("counts on a page, which shows what others count at once", async () => {
    const [bundle, serve] = blockWith("esbuild page.ts").trim().split("\n");
    const bundled = await type(bundle!);
    assert.equal(bundled.exitCode, 0, bundled.errors);
    assert.equal(serve, "node serve.js");
    const pageServer = start(process.execPath, ["serve.js", "0", url(port)]);
    const pageUrl = await nextLine(pageServer);
    const fixture = join(root, "test", "browser-page.fixture.ts");
    browser = start(process.execPath, [
      "--import",
      join(root, "node_modules/tsx/dist/esm/index.mjs"),
      fixture,
      pageUrl,
    ]);
    await lineThatIs(browser, "6");
    browser.process.stdin!.write("\n");
    await lineThatIs(browser, "7");
    const shown = lineThatIs(browser, "9");
    await type(`onefold call counter/visits increment '{"by": 2}'`);
    await shown;
  });

  test("kills it in the middle of the work and finds every count again; the page goes on by itself", async () => {
    let counted = 9;
    let isDead = false;
    const count = async (): Promise<void> => {
      const answer = await fetch(`${url(port)}/v1/entities/counter/visits/increment`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: '{"by": 1}',
      }).catch((error: unknown) => {
        if (!isDead) throw error;
      });
      if (answer?.ok === true) counted = Math.max(counted, (await answer.json()) as number);
    };
    for (let call = 0; call < 20; call++) await count();
    const under = Array.from({ length: 20 }, () => count());
    isDead = true;
    node.process.kill("SIGKILL");
    await once(node.process, "exit");
    await Promise.all(under);
    const again = lineThatIs(browser, String(counted + 100));
    node = await dev(port);
    const found = Number((await type("onefold call counter/visits count")).output);
    assert.ok(found >= counted && found <= counted + 20, `${found} after ${counted}`);
    await type(`onefold call counter/visits increment '{"by": ${counted + 100 - found}}'`);
    await again;
  });

  test("sends it rubbish, and is told what is wrong", async () => {
    const before = Number((await type("onefold call counter/visits count")).output);
    const [wrongInput, wrongName, once, twice] = blockWith("--key once").trim().split("\n");
    const refused = await type(wrongInput!);
    assert.equal(refused.exitCode, 1);
    assert.match(refused.errors, /by/);
    const unknown = await type(wrongName!);
    assert.equal(unknown.exitCode, 1);
    assert.match(unknown.errors, /did you mean 'increment'\?/);
    assert.equal((await type(once!)).output.trim(), String(before + 1));
    assert.equal((await type(twice!)).output.trim(), String(before + 1));
    for (const rubbish of ["\u0000\u0001\u0002\r\n\r\n", "GET / HTTP/9.9\r\n\r\n", "x".repeat(100_000)]) {
      const socket = connect(port, "127.0.0.1");
      const closed = new Promise((resolve) => socket.once("close", resolve));
      socket.on("error", () => socket.destroy());
      socket.resume().end(rubbish);
      await closed;
    }
    for (const body of ["{", "[".repeat(100_000), '{"by": {"$bigint": "1e5"}}', '{"__proto__": {"by": 1}}']) {
      const options = { method: "POST", headers: { "content-type": "application/json" }, body };
      const { status } = await fetch(`${url(port)}/v1/entities/counter/visits/increment`, options);
      assert.ok(status === 400 || status === 422, `${status} for ${body.slice(0, 30)}`);
    }
    assert.equal(Number((await type("onefold call counter/visits count")).output), before + 1);
  });

  test("reads what happened, newest first", async () => {
    const { exitCode, output, errors } = await type(blockWith("onefold history"));
    assert.equal(exitCode, 0, errors);
    const [state, ...history] = output.trim().split("\n");
    const ids = history.pop();
    const { count } = JSON.parse(state!) as { count: number };
    assert.match(history[1]!, new RegExp(`increment +call +developer +\\{"count":${count}\\}`));
    assert.equal(ids, "visits");
  });

  test("backs it up while it runs, and starts another node on what the backup holds", async () => {
    const count = (await type("onefold call counter/visits count")).output;
    const lines = blockWith("onefold backup").trim().split("\n");
    const starts = lines.pop();
    const { exitCode, output, errors } = await type(`set -e\n${lines.join("\n")}`);
    assert.equal(exitCode, 0, output + errors);
    assert.match(output, /Whole: every record/);
    assert.equal(starts, "npx onefold start counter.ts --data restored --port 7401");
    const restored = start("onefold", ["start", "counter.ts", "--data", "restored", "--port", "0", "--json"]);
    const { url: restoredUrl } = JSON.parse(await nextLine(restored)) as { url: string };
    assert.equal((await type(`onefold call counter/visits count --url ${restoredUrl}`)).output, count);
  });
});
