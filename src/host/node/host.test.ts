import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, describe, test } from "node:test";
import { GuardTimeout, type Host } from "../host.ts";
import { nodeHost } from "./host.ts";
import { makeTrace } from "./trace.ts";

const temporary = mkdtempSync(path.join(tmpdir(), "onefold-host-"));
after(() => rmSync(temporary, { recursive: true, force: true }));
const host: Host = nodeHost({ dataDirectory: temporary });

describe("the real guard", () => {
  const { guard } = host;

  test("runs what ends in time, with its effects and in the same realm", () => {
    let made: unknown;
    guard.run(1000, () => {
      made = [new Map()];
    });
    assert(Array.isArray(made) && made[0] instanceof Map);
  });

  test("stops endless loops wherever they are, and no catch or finally of theirs sees it", () => {
    const seen: string[] = [];
    const loops: readonly (() => void)[] = [
      () => {
        for (;;);
      },
      () => {
        for (;;) {
          try {
            for (;;);
          } catch {
            seen.push("catch");
          } finally {
            seen.push("finally");
          }
        }
      },
      () => {
        [1].map(() => {
          for (;;);
        });
      },
      () => {
        /^(a+)+$/.test(`${"a".repeat(60)}b`);
      },
      () => {
        for (;;) JSON.stringify({ a: [1, 2, 3] });
      },
    ];
    for (const loop of loops) {
      assert.throws(() => guard.run(5, loop), GuardTimeout);
      let ran = false;
      guard.run(1000, () => {
        ran = true;
      });
      assert(ran);
    }
    assert.deepEqual(seen, []);
  });

  test("lets errors through unchanged, also what is no error and what looks like the limit's own (W2)", () => {
    const disguised = Object.assign(new Error("mine"), { code: "ERR_SCRIPT_EXECUTION_TIMEOUT" });
    for (const error of [new TypeError("own"), disguised, "text", undefined, null]) {
      let caught: unknown = "nothing";
      try {
        guard.run(1000, () => {
          throw error;
        });
      } catch (thrown) {
        caught = thrown;
      }
      assert.equal(caught, error);
    }
    const overflow = (): number => 1 + overflow();
    assert.throws(() => guard.run(1000, () => void overflow()), RangeError);
  });

  test("refuses runs inside of runs, and limits that are no whole milliseconds (W3)", () => {
    assert.throws(() => guard.run(1000, () => guard.run(1000, () => undefined)), { name: "AssertionFailure" });
    for (const limitMs of [0, 0.5, -1, Number.NaN]) {
      assert.throws(() => guard.run(limitMs, () => undefined), { name: "AssertionFailure" });
    }
    guard.run(1000, () => undefined);
  });

  test("leaves no global behind", () => {
    const before = Reflect.ownKeys(globalThis);
    nodeHost({ dataDirectory: temporary }).guard.run(1000, () => undefined);
    assert.deepEqual(Reflect.ownKeys(globalThis), before);
  });
});

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

  test("writes lines for programs and for people, and never throws", () => {
    const lines: string[] = [];
    const options = { write: (line: string) => lines.push(line), now: () => new Date(0) };
    const json = makeTrace({ ...options, format: "json" });
    const text = makeTrace({ ...options, level: "warn" });
    json("info", "started", { port: 7400n, hash: new Uint8Array([1, 255]) });
    json("debug", "not written");
    text("info", "not written");
    text("warn", "disk is nearly full", { path: "a/b", freeBytes: 5, note: "two words" });
    const circular: Record<string, unknown> = {};
    circular.self = circular;
    json("error", "circular", circular);
    json("error", "failed", {
      error: Object.assign(new Error("reason"), { code: "ENOENT", cause: new Error("root") }),
    });
    const last = JSON.parse(lines.pop()!);
    assert.equal(last.error.message, "reason");
    assert.equal(last.error.code, "ENOENT");
    assert.match(last.error.stack, /host\.test/);
    assert.equal(last.error.cause.message, "root");
    const circularLine = lines.pop()!;
    assert.match(circularLine, /unprintable/);
    assert.match(circularLine, /circular/);
    assert.deepEqual(lines, [
      '{"time":"1970-01-01T00:00:00.000Z","level":"info","message":"started","port":"7400","hash":"01ff"}\n',
      '1970-01-01T00:00:00.000Z warn  disk is nearly full path=a/b freeBytes=5 note="two words"\n',
    ]);
  });
});
