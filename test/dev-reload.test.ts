/** `onefold dev` with real processes: reloads lose no request, bad code doesn't replace good, dead workers are replaced. */
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { after, before, describe, test } from "node:test";
import { installOnefold, mainPath } from "./installation.ts";

function source(version: number): string {
  return `
import { entity, system } from "onefold";
import { z } from "zod";
import { version } from "./lib/version.ts";
const counter = entity("counter")
  .state(z.object({ count: z.number() }), () => ({ count: 0 }))
  .command("increment", (state) => { state.count += 1; return state.count; })
  .command("die", () => process.kill(process.pid, "SIGKILL"))
  .query("version", (): number => version + ${version})
  .query("count", (state) => state.count);
export const counters = system("counters", { counter });
`;
}

interface DevEvent {
  readonly kind: string;
  readonly url: string;
  readonly isServing?: boolean;
  readonly message?: string;
  readonly loadMs?: number;
  readonly heldMs?: number;
}

describe("onefold dev", { timeout: 60_000 }, () => {
  let folder = "";
  let dev: ChildProcess;
  let url = "";
  const events: DevEvent[] = [];
  let wake: (() => void) | undefined;
  let errorText = "";

  /** The next event of the kind that was not waited for yet; the earlier ones are dropped. */
  const next = async (kind: string): Promise<DevEvent> => {
    for (;;) {
      for (let event = events.shift(); event !== undefined; event = events.shift())
        if (event.kind === kind) return event;
      if (dev.exitCode !== null || dev.signalCode !== null) assert.fail(`dev has ended:\n${errorText}`);
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
  };
  const increment = (): Promise<Response> => fetch(`${url}/v1/entities/counter/one/increment`, { method: "POST" });
  const read = async (query: string): Promise<unknown> =>
    (await fetch(`${url}/v1/entities/counter/one/${query}`)).json();

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "onefold-dev-"));
    await installOnefold(folder);
    await mkdir(join(folder, "lib"));
    await writeFile(join(folder, "lib", "version.ts"), "export const version = 0;");
    await writeFile(join(folder, "counter.ts"), source(0));
    dev = spawn(process.execPath, [mainPath, "dev", "counter.ts", "--port", "0", "--json"], {
      cwd: folder,
      stdio: ["ignore", "pipe", "pipe"],
    });
    dev.stderr?.setEncoding("utf8").on("data", (text: string) => {
      errorText += text;
    });
    dev.on("exit", () => wake?.());
    createInterface({ input: dev.stdout! }).on("line", (line) => {
      events.push(JSON.parse(line) as DevEvent);
      wake?.();
    });
    ({ url } = await next("serving"));
  });
  after(async () => {
    if (dev.exitCode === null && dev.signalCode === null) {
      dev.kill("SIGKILL");
      await once(dev, "exit");
    }
    await rm(folder, { recursive: true });
  });

  test("answers every request through five reloads, and runs the new code after each", async (context) => {
    let isRunning = true;
    let acknowledged = 0;
    let longestMs = 0;
    const failures: string[] = [];
    const callers = Array.from({ length: 2 }, async () => {
      while (isRunning) {
        const startedMs = performance.now();
        const response = await increment();
        const text = await response.text();
        longestMs = Math.max(longestMs, performance.now() - startedMs);
        if (response.ok) acknowledged++;
        else failures.push(`${response.status} ${text}`);
      }
    });
    const reloads: DevEvent[] = [];
    for (let version = 1; version <= 5; version++) {
      await writeFile(join(folder, "counter.ts"), source(version));
      reloads.push(await next("reloaded"));
      assert.equal(await read("version"), version);
    }
    isRunning = false;
    await Promise.all(callers);

    const round = (values: readonly (number | undefined)[]): string =>
      values.map((ms) => Math.round(ms ?? 0)).join(", ");
    context.diagnostic(
      `${acknowledged} requests, longest ${round([longestMs])} ms; held ${round(reloads.map((each) => each.heldMs))} ms; ` +
        `loaded in ${round(reloads.map((each) => each.loadMs))} ms`,
    );
    assert.deepEqual(failures, []);
    assert.ok(acknowledged > 5);
    assert.equal(await read("count"), acknowledged);
    assert.ok(longestMs < 5000, `a request took ${longestMs} ms`);
  });

  test("reloads when an imported file in a subfolder changes", async () => {
    await writeFile(join(folder, "lib", "version.ts"), "export const version = 100;");
    await next("reloaded");
    assert.equal(await read("version"), 105);
  });

  test("keeps the old code serving when the new code doesn't load, and takes the next that does", async () => {
    await writeFile(join(folder, "counter.ts"), `${source(6)}\nexport const broken = ;`);
    const failed = await next("load-failed");
    assert.equal(failed.isServing, true);
    assert.match(failed.message ?? "", /counter\.ts:\d+:\d+: Unexpected ";"/);
    assert.equal(await read("version"), 105);
    await writeFile(join(folder, "counter.ts"), source(7));
    await next("reloaded");
    assert.equal(await read("version"), 107);
  });

  test("replaces a worker that dies, and keeps what was acknowledged", async () => {
    const count = await read("count");
    const died = await fetch(`${url}/v1/entities/counter/one/die`, { method: "POST" });
    assert.equal(died.status, 503);
    assert.equal(((await died.json()) as { readonly code: string }).code, "outcome-unknown");
    await next("died");
    assert.equal(await read("count"), count);
    assert.equal((await increment()).status, 200);
  });

  test("stops at SIGTERM with exit code 0, and frees the data directory", async () => {
    dev.kill("SIGTERM");
    const [code] = (await once(dev, "exit")) as [number | null];
    assert.equal(code, 0, errorText);
    const again = spawn(process.execPath, [mainPath, "start", "counter.ts", "--port", "0", "--json"], {
      cwd: folder,
      stdio: ["ignore", "pipe", "inherit"],
    });
    const [line] = (await once(createInterface({ input: again.stdout }), "line")) as [string];
    assert.equal((JSON.parse(line) as DevEvent).kind, "serving");
    again.kill("SIGTERM");
    assert.deepEqual(await once(again, "exit"), [0, null]);
  });
});
