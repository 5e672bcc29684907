import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { describe, test } from "node:test";
import { beatMs, loopWatch } from "./loop-watch.ts";
import { watchFields } from "./watched-thread.ts";

/** A process that hangs in `code`, watched by its own second thread, with a bound of two seconds. */
async function run(code: string, ...args: string[]) {
  const program = `
    const { endProcessThatHangs } = await import(${JSON.stringify(import.meta.resolve("./guard.ts"))});
    endProcessThatHangs({ hangMs: 2000, exitCode: 75 });
    process.on("exit", () => console.log("an exit handler"));
    ${code}
  `;
  const command = [...args, "--import", "tsx", "--input-type=module", "--eval", program];
  const child = spawn(process.execPath, command, { stdio: ["ignore", "pipe", "pipe"], timeout: 20_000 });
  let [stdout, stderr] = ["", ""];
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    stdout += text;
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    stderr += text;
  });
  const [exitCode, signal] = (await once(child, "close")) as [number | null, NodeJS.Signals | null];
  return { exitCode, signal, stdout, stderr };
}

describe("a process that is to end itself when it hangs", { concurrency: true }, () => {
  test("does so with its code and its reason in the middle of a microtask, and runs nothing more", async () => {
    const { exitCode, stdout, stderr } = await run(`
      setTimeout(async () => {
        await null;
        try { for (;;); } finally { console.log("finally"); }
      }, 100);
    `);
    assert.deepEqual([exitCode, stdout], [75, ""], stderr);
    const [line = ""] = stderr.split("\n");
    const { level, message, hangMs } = JSON.parse(line) as Record<string, unknown>;
    assert.deepEqual([level, hangMs], ["error", 2000]);
    assert.match(String(message), /has not come back to its event loop/);
  });

  test("is killed where it hangs in a native function that nothing interrupts", async () => {
    const { signal, stderr } = await run(`
      const { spawnSync } = await import("node:child_process");
      setTimeout(() => spawnSync(process.execPath, ["-e", "setTimeout(() => {}, 12000)"]), 100);
    `);
    assert.match(stderr, /has not come back/);
    assert.equal(signal, "SIGKILL");
  });

  test("ends as always where it only works, in slices shorter than the bound", async () => {
    const { exitCode, stdout, stderr } = await run(`
      const end = performance.now() + 3500;
      const slice = () => {
        const until = performance.now() + 1200;
        while (performance.now() < until);
        if (performance.now() < end) setTimeout(slice, 5);
      };
      slice();
    `);
    assert.deepEqual([exitCode, stdout, stderr], [0, "an exit handler\n", ""]);
  });
});

describe("the watch of the event loop", () => {
  const rig = () => {
    const fields = new Int32Array(watchFields.count);
    const parts = { watched: { fields, subject: new Uint8Array(0) }, places: watchFields, beatMs, hangMs: 3 * beatMs };
    return { fields, look: loopWatch(parts) };
  };

  test("finds a hang once, after as many looks without a beat", () => {
    const { fields, look } = rig();
    fields[watchFields.beat] = 5;
    assert.deepEqual(
      Array.from({ length: 8 }, () => look()),
      [false, false, false, true, false, false, false, false],
    );
  });

  test("counts looks, so that a pause of the whole process is nothing, and begins anew with each beat", () => {
    const { fields, look } = rig();
    for (let beat = 1; beat <= 5; beat++) {
      fields[watchFields.beat] = beat;
      for (let i = 0; i < 3; i++) assert.equal(look(), false);
    }
  });

  test("finds none where there are no beats, as under a debugger", () => {
    const { look } = rig();
    for (let i = 0; i < 10; i++) assert.equal(look(), false);
  });
});
