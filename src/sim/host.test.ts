import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { SeededRandom } from "../base/random.ts";
import { guardSuite } from "../host/guard.suite.ts";
import { GuardTimeout } from "../host/host.ts";
import { chooseSwarm, FaultCounts, faultKinds } from "./faults.ts";
import { SimulatedNode, simulatedHost } from "./host.ts";
import { Scheduler } from "./scheduler.ts";

let present: ReturnType<typeof setup>;

function setup(options: { readonly driftPpm?: number } = {}) {
  const scheduler = new Scheduler();
  const node = new SimulatedNode({ scheduler, random: new SeededRandom("host"), ...options });
  return { scheduler, node };
}

describe("simulated clocks and timers", () => {
  test("fire timers in order, each once its node's own clock has passed its delay, and never synchronously (T2)", async () => {
    for (const driftPpm of [0, 50_000, -50_000]) {
      const { scheduler, node } = setup({ driftPpm });
      const { clock, timers } = node.start();
      const fired: number[] = [];
      const start = clock.monotonicMs();
      for (const delayMs of [100, 5, 50, 0]) {
        timers.after(delayMs, () => {
          const elapsedMs = clock.monotonicMs() - start;
          assert(elapsedMs >= delayMs && elapsedMs < delayMs + 1.1, `${delayMs}: ${elapsedMs}`);
          fired.push(delayMs);
        });
      }
      const cancelled = timers.after(20, () => fired.push(20));
      cancelled.cancel();
      cancelled.cancel();
      assert.deepEqual(fired, []);
      await scheduler.run();
      assert.deepEqual(fired, [0, 5, 50, 100]);
    }
  });

  test("run callbacks of `soon` in the order of the calls, after what is due already", async () => {
    const { scheduler, node } = setup();
    const { timers } = node.start();
    const log: number[] = [];
    scheduler.at(0, () => log.push(0));
    timers.soon(() => {
      log.push(1);
      timers.soon(() => log.push(3));
    });
    timers.soon(() => log.push(2));
    await scheduler.run();
    assert.deepEqual(log, [0, 1, 2, 3]);
  });

  test("drift apart, and jump on the wall only", async () => {
    const { scheduler, node } = setup({ driftPpm: 100 });
    const startWallMs = node.clock.wallMs();
    await scheduler.run({ untilMs: 1_000_000 });
    assert.equal(Math.round(node.clock.monotonicMs()), 1_000_100);
    assert.equal(node.clock.wallMs() - startWallMs, 1_000_100);
    node.jumpWall(-5000);
    assert.equal(node.clock.wallMs() - startWallMs, 995_100);
    assert(Number.isInteger(node.clock.wallMs()));
    assert.equal(Math.round(node.clock.monotonicMs()), 1_000_100);
    assert.deepEqual(node.counts.entries(), [
      ["clock-drift", 1],
      ["clock-jump", 1],
    ]);
  });
});

describe("a simulated node", () => {
  test("has no effect on the world after its crash, and can start again", async () => {
    const { scheduler, node } = setup();
    const old = node.start();
    let fired = 0;
    old.timers.after(10, () => fired++);
    old.timers.soon(() => fired++);
    void old.disk.open("f", { create: "new" }).then(() => fired++);
    node.crash();
    assert.equal(node.alive, false);
    old.timers.after(10, () => fired++).cancel();
    old.timers.soon(() => fired++);
    const hashBefore = scheduler.traceHash;
    old.trace("error", "too late");
    assert.equal(scheduler.traceHash, hashBefore);
    await scheduler.run();
    assert.equal(fired, 0);
    const next = node.start();
    next.timers.soon(() => fired++);
    await scheduler.run();
    assert.equal(fired, 1);
    assert.throws(() => node.start(), { name: "AssertionFailure" });
  });

  test("crashes at the chosen operation, timers among them", async () => {
    for (const [moment, expected] of [
      ["before", ["one"]],
      ["after", ["one", "two"]],
    ] as const) {
      const { scheduler, node } = setup();
      const { timers } = node.start();
      const log: string[] = [];
      let crashes = 0;
      node.crashAt(2, { moment, onCrash: () => crashes++ });
      for (const name of ["one", "two", "three"]) timers.soon(() => log.push(name));
      await scheduler.run();
      assert.deepEqual(log, expected);
      assert.equal(crashes, 1);
      assert.equal(node.counts.get("crash"), 1);
    }
  });

  test("draws other random numbers in each life, and the same ones for the same seed", () => {
    const draws = () => {
      const { node } = setup();
      const first = node.start().random.next();
      node.crash();
      return [first, node.start().random.next()];
    };
    const [first, second] = draws();
    assert.notEqual(first, second);
    assert.deepEqual(draws(), [first, second]);
  });

  test("carries scopes through awaits, timers and disk operations", async () => {
    const { scheduler, node } = setup();
    const host = node.start();
    const scope = host.newScope<string>();
    const found: (string | undefined)[] = [];
    scope.run("inside", () => {
      host.timers.soon(() => found.push(scope.current()));
      void host.disk.list("").then(() => found.push(scope.current()));
    });
    found.push(scope.current());
    await scheduler.run();
    assert.deepEqual(found, [undefined, "inside", "inside"]);
  });

  test("hands its trace to whoever asked for it", () => {
    const lines: string[] = [];
    const { host } = simulatedHost({
      scheduler: new Scheduler(),
      random: new SeededRandom(1),
      onTrace: ({ level, message, fields }) => lines.push(`${level} ${message} ${JSON.stringify(fields)}`),
    });
    host.trace("warn", "look at this", { path: "f" });
    host.trace("info", "and this");
    assert.deepEqual(lines, ['warn look at this {"path":"f"}', "info and this {}"]);
  });
});

guardSuite(
  "the simulated guard",
  () => {
    const { guard } = present.node.start();
    return { guard, spend: (durationMs) => guard.spend(durationMs) };
  },
  async (body) => {
    present = setup();
    await present.scheduler.complete(body());
  },
);

describe("the simulated guard", () => {
  test("charges virtual time for what is spent, up to the limit", async () => {
    const { scheduler, node } = setup();
    const { guard } = node.start();
    const log: string[] = [];
    const turns = guard.turns({
      run: () => {
        guard.call(10, () => guard.spend(10));
        log.push("in time");
        guard.call(10, () => {
          guard.spend(6);
          log.push("half");
          guard.spend(Number.POSITIVE_INFINITY);
          log.push("never");
        });
      },
      stopped: () => log.push("stopped"),
    });
    turns.soon();
    await scheduler.run();
    assert.deepEqual(log, ["in time", "half", "stopped"]);
    assert.equal(scheduler.nowMs, 20);
    assert.equal(node.counts.get("guard-timeout"), 1);
  });

  test("stops where the stopped code catches it, a chosen call at its end, and own code right after it (W1)", async () => {
    const { scheduler, node } = setup();
    const { guard } = node.start();
    const log: string[] = [];
    const stopped = async (run: () => void) => {
      let isStopped = false;
      const turns = guard.turns({
        run,
        stopped: () => {
          isStopped = true;
        },
      });
      turns.soon();
      await scheduler.run();
      assert(isStopped);
    };
    await stopped(() => {
      guard.call(1, () => {
        try {
          guard.spend(5);
        } catch (error) {
          assert(error instanceof GuardTimeout);
        }
      });
      log.push("never");
    });
    guard.stopCall(2);
    await stopped(() => {
      guard.call(1, () => log.push("first"));
      guard.call(1, () => log.push("second"));
      log.push("never");
    });
    guard.strikeAt(1);
    await stopped(() => {
      guard.call(1, () => {
        guard.own(() => {
          guard.passMoment();
          log.push("own");
        });
        log.push("never");
      });
    });
    assert.deepEqual(log, ["first", "second", "own"]);
  });
});

describe("fault counts and swarms", () => {
  test("count, merge and print by kind", () => {
    const counts = new FaultCounts();
    assert.equal(counts.toString(), "none");
    counts.add("torn-write", 2);
    const other = new FaultCounts();
    other.add("crash");
    other.add("torn-write");
    counts.merge(other);
    assert.equal(counts.toString(), "crash 1, torn-write 3");
    assert.equal(counts.total, 4);
  });

  test("choose other kinds for other seeds, and every kind for some seed", () => {
    const chosen = Array.from({ length: 50 }, (_, seed) => chooseSwarm(new SeededRandom(seed), faultKinds));
    assert(new Set(chosen.map((kinds) => [...kinds].join())).size > 40);
    assert.equal(new Set(chosen.flatMap((kinds) => [...kinds])).size, faultKinds.length);
  });
});
