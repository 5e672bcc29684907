import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, describe, test } from "node:test";
import type { Host } from "../host.ts";
import { nodeHost } from "./host.ts";

const temporary = mkdtempSync(path.join(tmpdir(), "onefold-host-"));
after(() => rmSync(temporary, { recursive: true, force: true }));
const host: Host = nodeHost({ dataDirectory: temporary });

describe("real clocks and timers", () => {
  const { clock, timers } = host;
  /** Keeps the test's process alive while it waits for a timer, which by contract doesn't. */
  const awake = async (wait: Promise<void>) => {
    const alive = setInterval(() => undefined, 1000);
    await wait.finally(() => clearInterval(alive));
  };

  test("fire timers never early and never synchronously, unless they were cancelled", async () => {
    const log: number[] = [];
    const start = clock.monotonicMs();
    const waits = [20.7, 0, 3.2, 1].map(
      (delayMs) =>
        new Promise<void>((resolve) => {
          timers.after(delayMs, () => {
            assert(clock.monotonicMs() - start >= delayMs);
            log.push(delayMs);
            resolve();
          });
        }),
    );
    const cancelled = timers.after(2, () => log.push(2));
    cancelled.cancel();
    cancelled.cancel();
    assert.deepEqual(log, []);
    await awake(Promise.all(waits).then(() => undefined));
    assert.deepEqual(
      [...log].sort((a, b) => a - b),
      [0, 1, 3.2, 20.7],
    );
    assert.equal(log.at(-1), 20.7);
  });

  test("don't fire at once what is due in more than the platform's 24.8 days", async () => {
    let fired = false;
    const timer = timers.after(2 ** 31 + 5, () => {
      fired = true;
    });
    await awake(new Promise((resolve) => timers.after(5, resolve)));
    assert.equal(fired, false);
    timer.cancel();
  });

  test("run callbacks of `soon` in the order of the calls, each with its microtasks", async () => {
    const log: string[] = [];
    await new Promise<void>((resolve) => {
      timers.soon(() => {
        log.push("one");
        queueMicrotask(() => log.push("one's microtask"));
      });
      timers.soon(() => log.push("two"));
      timers.soon(resolve);
    });
    assert.deepEqual(log, ["one", "one's microtask", "two"]);
  });

  test("do not keep a process alive", () => {
    const program = `
      import { nodeTimers } from ${JSON.stringify(new URL("./clock.ts", import.meta.url).href)};
      nodeTimers.after(3_600_000, () => undefined);`;
    const args = ["--import", "tsx", "--input-type=module", "--eval", program];
    const result = spawnSync(process.execPath, args, { timeout: 9000, encoding: "utf8" });
    assert.equal(result.status, 0, result.stderr);
  });

  test("show whole wall milliseconds, and a monotonic clock that goes on", () => {
    assert(Number.isInteger(clock.wallMs()));
    const first = clock.monotonicMs();
    assert(clock.monotonicMs() >= first);
  });
});

describe("the real random generator, scope and trace", () => {
  test("gives bytes of any count that do not repeat, and numbers below 1", () => {
    const { random } = host;
    const seen = new Set<string>();
    for (let i = 0; i < 2000; i++) seen.add(Buffer.from(random.bytes(16)).toString("hex"));
    assert.equal(seen.size, 2000);
    for (const count of [0, 1, 4096, 4097, 100_000]) assert.equal(random.bytes(count).length, count);
    let sum = 0;
    for (let i = 0; i < 10_000; i++) {
      const next = random.next();
      assert(next >= 0 && next < 1);
      sum += next;
    }
    assert(Math.abs(sum / 10_000 - 0.5) < 0.05);
  });

  test("carries scopes through awaits, each its own", async () => {
    const [one, two] = [host.newScope<string>(), host.newScope<string>()];
    const found = await one.run("outer", async () => {
      await undefined;
      return two.run("inner", async () => {
        await new Promise<void>((resolve) => setImmediate(resolve));
        return [one.current(), two.current()];
      });
    });
    assert.deepEqual(found, ["outer", "inner"]);
    assert.equal(one.current(), undefined);
  });
});
