/** The real watchdog: endless loops of all sorts, its races, and a worker's guard. */
import assert from "node:assert/strict";
import { AsyncLocalStorage } from "node:async_hooks";
import { spawnSync } from "node:child_process";
import { once } from "node:events";
import { describe, test } from "node:test";
import { Worker } from "node:worker_threads";
import { guardSuite, turn } from "../guard.suite.ts";
import { nodeGuard } from "./guard.ts";
import { WorkerGuard } from "./worker-guard.ts";

const guard = nodeGuard();

function spend(durationMs: number): void {
  const end = performance.now() + durationMs;
  while (performance.now() < end);
}

guardSuite(
  "the real watchdog",
  () => ({ guard, spend }),
  (body) => body(),
);

guardSuite(
  "the guard of workers",
  () => ({ guard: new WorkerGuard(), spend }),
  (body) => body(),
);

describe("the real watchdog", () => {
  const seen: string[] = [];
  const loops: Readonly<Record<string, () => void>> = {
    "a bare loop": () => {
      for (;;);
    },
    "a loop that catches": () => {
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
    "a loop inside of a built-in's callback": () => {
      [1].map(() => {
        for (;;);
      });
    },
    "a loop in a generator": () => {
      const numbers = (function* () {
        try {
          for (;;);
        } finally {
          seen.push("generator");
        }
        yield 0;
      })();
      numbers.next();
    },
    "a regular expression": () => {
      /^(a+)+$/.test(`${"a".repeat(60)}b`);
    },
    "many short native calls": () => {
      for (;;) JSON.stringify({ a: [1, 2, 3] });
    },
    "many callbacks to own code": () => {
      let count = 0;
      for (;;) guard.own(() => count++);
    },
  };
  for (const [name, loop] of Object.entries(loops)) {
    test(`ends ${name}`, async () => {
      const before = turn(guard, () => guard.call(1000, () => undefined));
      assert.equal(await turn(guard, () => guard.call(5, loop)), "time");
      assert.equal(await before, "ran");
      assert.equal(await turn(guard, () => guard.call(1000, () => undefined)), "ran");
      assert.deepEqual(seen, []);
    });
  }

  test("ends what eats memory, long before its time is over", async () => {
    const eaten: unknown[] = [];
    const eat = () => {
      for (;;) eaten.push(new Uint8Array(1 << 20).fill(1));
    };
    const began = performance.now();
    assert.equal(await turn(guard, () => guard.call(60_000, eat)), "memory");
    eaten.length = 0;
    assert(performance.now() - began < 30_000);
  });

  test("never stops own code: neither between calls nor what user code calls back", async () => {
    let whole = 0;
    for (let round = 0; round < 40; round++) {
      await turn(guard, () => {
        const limitMs = 1 + (round % 4);
        // Ends just when the strike is due, so that each of the two is first now and then.
        guard.call(limitMs, () => {
          guard.own(() => {
            whole++;
            spend(limitMs + (round % 3));
            whole--;
          });
          spend(0.2);
        });
        whole++;
        spend(3);
        whole--;
      });
      assert.equal(whole, 0);
    }
  });

  test("keeps promises, immediates, timers and other turns: what a stop cuts off is that turn alone", async () => {
    const log: string[] = [];
    const events = [
      new Promise<void>((resolve) => setImmediate(() => resolve(void log.push("immediate")))),
      new Promise<void>((resolve) => setTimeout(() => resolve(void log.push("timeout")), 1)),
      new Promise<void>((resolve) => process.nextTick(() => resolve(void log.push("tick")))),
      turn(guard, () => log.push("turn before")),
      turn(guard, () => {
        Promise.resolve().then(() => log.push("microtask"));
        setImmediate(() => log.push("immediate of the stopped"));
        process.nextTick(() => log.push("tick of the stopped"));
        guard.call(5, () => spend(Number.POSITIVE_INFINITY));
      }),
      turn(guard, () => log.push("turn behind")),
    ];
    await Promise.all(events);
    while (log.length < 8) await new Promise((resolve) => setImmediate(resolve));
    assert.deepEqual(log.sort(), [
      "immediate",
      "immediate of the stopped",
      "microtask",
      "tick",
      "tick of the stopped",
      "timeout",
      "turn before",
      "turn behind",
    ]);
  });

  test("lets I/O in between turns that follow each other at once", async () => {
    let turns = 0;
    let isOver = false;
    const endless = guard.turns({
      run: () => {
        turns++;
        if (!isOver) endless.soon();
      },
      stopped: () => undefined,
    });
    endless.soon();
    await new Promise((resolve) => setTimeout(resolve, 5));
    isOver = true;
    assert(turns > 1);
  });

  test("lets I/O in between turns that are asked for as soon as the one before is answered", async () => {
    let turns = 0;
    let isOver = false;
    const endless = guard.turns({
      run: () => {
        turns++;
        // As a caller that waits for a promise and calls again.
        Promise.resolve().then(() => isOver || endless.soon());
      },
      stopped: () => undefined,
    });
    endless.soon();
    for (let round = 0; round < 50; round++) {
      const before = turns;
      await new Promise((resolve) => setImmediate(resolve));
      assert(turns - before <= 20, `${turns - before} turns before the event loop came round`);
    }
    isOver = true;
    assert(turns > 50);
  });

  test("leaves nothing of an asynchronous context that user code was stopped in to later turns", async () => {
    const storage = new AsyncLocalStorage<string>();
    const found: unknown[] = [];
    const look = () => found.push(storage.getStore());
    const stopped = new Promise<void>((resolve) => {
      const turns = guard.turns({
        run: () => guard.call(5, () => storage.run("its caller's", () => spend(Number.POSITIVE_INFINITY))),
        stopped: () => resolve(void look()),
      });
      turns.soon();
    });
    // Due already when the stop comes, and asked for after it.
    await Promise.all([stopped, turn(guard, look), turn(guard, look)]);
    await turn(guard, look);
    assert.deepEqual(found, [undefined, undefined, undefined, undefined]);
  });

  test("sleeps when there is nothing to watch, and wakes again", async () => {
    for (let round = 0; round < 2; round++) {
      assert.equal(await turn(guard, () => guard.call(5, () => spend(Number.POSITIVE_INFINITY))), "time");
      // Long enough for its patience at one look every millisecond.
      await new Promise((resolve) => setTimeout(resolve, 150));
    }
  });

  test("keeps a process alive for a turn that is due, not for itself, and leaves no global behind", () => {
    const program = `
      const { nodeGuard } = await import(${JSON.stringify(import.meta.resolve("./guard.ts"))});
      const before = Reflect.ownKeys(globalThis).length;
      const guard = nodeGuard();
      const turns = guard.turns({
        run: () => guard.call(100, () => console.log(Reflect.ownKeys(globalThis).length - before)),
        stopped: () => console.log("stopped"),
      });
      turns.soon();
    `;
    const args = ["--import", "tsx", "--input-type=module", "--eval", program];
    const { stdout, stderr, status } = spawnSync(process.execPath, args, { encoding: "utf8", timeout: 20_000 });
    assert.deepEqual({ stdout, stderr, status }, { stdout: "0\n", stderr: "", status: 0 });
  });

  test("is the slower one in a worker, with the same promises", async () => {
    const program = `
      import { parentPort } from "node:worker_threads";
      import { register } from ${JSON.stringify(import.meta.resolve("tsx/esm/api"))};
      register();
      const { nodeGuard } = await import(${JSON.stringify(import.meta.resolve("./guard.ts"))});
      const guard = nodeGuard();
      const log = [];
      const turns = guard.turns({
        run: () => {
          if (log.length > 0) return parentPort.postMessage(log);
          log.push(guard.call(100, () => "value"));
          guard.call(20, () => { try { for (;;); } finally { log.push("finally"); } });
          log.push("never");
        },
        stopped: (reason) => { log.push(reason); turns.soon(); },
      });
      turns.soon();
    `;
    const worker = new Worker(new URL(`data:text/javascript,${encodeURIComponent(program)}`));
    const [log] = await once(worker, "message");
    await worker.terminate();
    assert.deepEqual(log, ["value", "time"]);
  });
});
