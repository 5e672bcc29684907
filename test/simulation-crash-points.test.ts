import assert from "node:assert/strict";
import { test } from "node:test";
import { failureText, type FaultsPlan, type Program, simulate } from "../src/sim/workload/index.ts";
import { crashMoments } from "../src/sim/life.ts";

type Action = Program["clients"][number]["actions"][number];

/** Two clients, some thirty requests: every kind of entity, request and protection once or twice. */
function fixedProgram(): Program {
  const client = (name: string, requests: readonly Action["request"][]) => ({
    name,
    actions: requests.map(
      (request, index): Action => ({
        request,
        protection: (["none", "session", "key"] as const)[index % 3]!,
        pauseMs: index % 4,
        isConcurrent: index % 2 === 1,
        deadlineMs: 20_000,
        isRepeated: index % 5 === 0,
      }),
    ),
  });
  const run = (tag: string, kind: "cell" | "shelf" | "ledger" | "mortal", id: string, plan: object) =>
    ({ type: "run", tag, kind, id, plan }) as const;
  const script = (tag: string, steps: readonly object[], more: object = {}) =>
    ({ type: "script", name: "script", tag, script: { tag, steps, ...more } }) as Action["request"];
  const cell = { kind: "cell", id: "c0" } as const;
  const shelf = { kind: "shelf", id: "g0/a" } as const;
  const ledger = { kind: "ledger", id: "g0/l" } as const;
  return {
    clients: [
      client("a", [
        run("a-0", "cell", "c0", { add: 50, put: [["k0", 1]] }),
        run("a-1", "shelf", "g0/a", { add: 20, put: [["k1", 2]], sends: [{ ...cell, plan: { add: 5 } }] }),
        script("a-2", [
          { ...cell, plan: { add: -10 } },
          { ...shelf, plan: { add: 10 } },
          { ...cell, plan: { add: 1 } },
          cell,
        ]),
        run("a-3", "mortal", "m0", { add: 3, put: [["k0", 9]] }),
        { type: "look", ...cell },
        script("a-4", [
          { ...shelf, plan: { add: -1000 }, catches: true },
          { ...ledger, plan: { add: 4, remove: ["k0"] } },
        ]),
        run("a-5", "mortal", "m0", { end: "delete" }),
        run("a-6", "mortal", "m0", { add: 1 }),
        script("a-7", [{ ...cell, plan: { add: 1 } }, shelf], { failsAfter: 1 }),
        run("a-8", "cell", "c0", { timers: [{ delayMs: 20, key: "t", plan: { add: 2 } }] }),
        run("a-9", "cell", "c0", { end: "refuse" }),
        run("a-10", "ledger", "g0/l", { add: 7, sends: [{ ...ledger, plan: { sends: [{ ...cell, plan: {} }] } }] }),
        { type: "look", ...shelf },
        run("a-11", "shelf", "g0/b", { end: "throw" }),
        run("a-12", "cell", "c0", { remove: ["k0"], cancel: "t" }),
      ]),
      client("b", [
        run("b-0", "ledger", "g0/l", { put: [["k0", 5]] }),
        run("b-1", "cell", "c0", { add: 1 }),
        script("b-2", [
          { ...shelf, plan: { add: 1 } },
          { ...cell, plan: { add: 2 } },
        ]),
        run("b-3", "cell", "c1", {
          sends: [
            { ...cell, plan: { end: "refuse" } },
            { kind: "cell", id: "c1", plan: {} },
          ],
        }),
        script("b-4", [cell, shelf, ledger]),
        { type: "delete", kind: "mortal", id: "m1" },
        run("b-5", "mortal", "m1", { timers: [{ delayMs: 5, key: "t", plan: { end: "delete" } }] }),
        run("b-6", "cell", "c0", { add: -100_000 }),
        run("b-7", "shelf", "g0/a", { put: [["k1", 3]], timers: [{ delayMs: 1, key: "x", plan: { end: "throw" } }] }),
        { type: "look", ...ledger },
        script(
          "b-8",
          [
            { ...cell, plan: { add: 1 } },
            { ...cell, plan: { add: 1 } },
          ],
          { isParallel: true },
        ),
        run("b-9", "ledger", "g0/l", { remove: ["k0"] }),
        { type: "list", kind: "cell" },
        run("b-10", "cell", "c1", { add: 1 }),
        run("b-11", "shelf", "g0/b", { add: 1 }),
      ]),
    ],
  };
}

function faultsPlan(lives: FaultsPlan["lives"]): FaultsPlan {
  const KiB = 1024;
  return {
    swarm: new Set(["crash"]),
    lives,
    disturbMs: 1000,
    limits: {
      batchBytesMax: 20 * KiB,
      effectsBytesMax: 16 * KiB,
      stateBytesMax: 12 * KiB,
      itemBytesMax: 4 * KiB,
      outputBytesMax: 12 * KiB,
    },
    syncMsMax: 2,
    cacheBytes: 4 * KiB,
    segmentBytes: 24 * KiB,
    reserveBytes: 16 * KiB,
    snapshotBytes: 8 * KiB,
  };
}

async function crashed(lives: FaultsPlan["lives"]) {
  return simulate({ seed: "crash-points", program: fixedProgram(), faults: faultsPlan(lives), settleMs: 1500 });
}

function lifeCrashing(operation: number, moment: (typeof crashMoments)[number]): FaultsPlan["lives"][number] {
  return { crash: { phase: "opening", operation, moment }, stopAfterMs: 100_000 };
}

test("a crash at every single operation of a fixed program, before, during and after it, loses nothing", async (t) => {
  const undisturbed = await crashed([{ crash: undefined, stopAfterMs: 100_000 }]);
  assert.deepEqual(undisturbed.wrongs, []);
  // The program's end: what follows is the same few idle operations over and over.
  const operationCount = Math.min(undisturbed.firstLifeOperations, 450);
  assert.ok(operationCount > 150, `only ${operationCount} operations`);
  let cutOff = 0;
  for (let operation = 1; operation <= operationCount; operation++) {
    for (const moment of crashMoments) {
      const report = await crashed([lifeCrashing(operation, moment)]);
      cutOff += report.unknownCount;
      if (report.wrongs.length > 0) assert.fail(failureText(report, `a crash ${moment} operation ${operation}`));
    }
  }
  t.diagnostic(`${3 * operationCount} crash points, ${cutOff} attempts cut off`);
});

test("a second crash at every operation of the recovery from the first loses nothing", async (t) => {
  let count = 0;
  for (let operation = 1; operation <= 60; operation++) {
    const moment = crashMoments[operation % crashMoments.length]!;
    for (const first of [130, 180, 230]) {
      const report = await crashed([lifeCrashing(first, "during"), lifeCrashing(operation, moment)]);
      count++;
      if (report.wrongs.length > 0) {
        assert.fail(
          failureText(report, `crashes during operation ${first} and ${moment} ${operation} of the recovery`),
        );
      }
    }
  }
  t.diagnostic(`${count} pairs of crashes`);
});
