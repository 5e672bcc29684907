/**
 * The embedded process dies in the middle of its move, at every question that it asks the engine and at operations of its disk, and another
 * is started: exactly one of the two is alive once the engine can be asked, whatever was acknowledged is there, once, and the move can be
 * done again.
 */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { OnefoldError } from "../base/errors.ts";
import { SeededRandom } from "../base/random.ts";
import { Load, MovingRig, promotionOptions } from "./promotion.fixture.ts";

const seed = "crash";
const diskOperations = 160;

/** How many questions the engine is asked in a move that nothing disturbs: before the seal, and in all. */
async function countQuestions(): Promise<{ readonly beforeSeal: number; readonly all: number }> {
  let beforeSeal = 0;
  let all = 0;
  await moveWithCrash((rig) => {
    rig.onProgress = ({ step }) => {
      if (step === "sealed") beforeSeal = rig.engineOperations;
      all = rig.engineOperations;
    };
  });
  return { beforeSeal, all };
}

/** Some of those before the seal, all behind it. */
async function pointsOf(name: string): Promise<readonly number[]> {
  const { beforeSeal, all } = await countQuestions();
  assert.ok(beforeSeal > 40 && all - beforeSeal > 8, `${all} questions, ${beforeSeal} of them before the seal`);
  const random = new SeededRandom(name);
  const early = Array.from({ length: 10 }, () => 1 + random.integer(beforeSeal));
  return [...early, ...Array.from({ length: all - beforeSeal }, (_, index) => beforeSeal + 1 + index)];
}

/** Moves, dies as `arrange` says, starts again, and moves again if it has to. True where it died. */
async function moveWithCrash(arrange: (rig: MovingRig) => void): Promise<boolean> {
  let hasDied = false;
  await MovingRig.run(seed, async (rig) => {
    const { scheduler } = rig.cluster;
    const node = await rig.open();
    for (let i = 0; i < 20; i++) await rig.deposit(`b${i}`, 7, `before ${i}`);
    const load = new Load(rig);
    const died = new Promise<"died">((resolve) => rig.machine.onDeath(() => resolve("died")));
    arrange(rig);
    const moving = node
      .promote(promotionOptions, (progress) => rig.onProgress(progress))
      .then(
        () => "moved" as const,
        (error: unknown) => ({ error }),
      );
    await scheduler.sleep(200);
    const started = rig.startNodes("a", "b");
    const outcome = await Promise.race([moving, died]);
    if (outcome === "died") {
      hasDied = true;
      rig.machine.cancelCrash();
      rig.crash = undefined;
      rig.kill();
      await scheduler.sleep(rig.cluster.random.integer(3000));
      await restartAndMove(rig);
    } else assert.equal(outcome, "moved");
    await started;
    assert.deepEqual(await rig.alive(), ["cluster"]);
    await load.check();
    for (let i = 0; i < 20; i++) {
      const { output } = await rig.deposit(`b${i}`, 7, `before ${i}`);
      assert.equal(output, 7, "what was done before the move is not done again");
      assert.equal(await rig.balance(`b${i}`), 7);
    }
    assert.deepEqual(rig.cluster.node("a").failures, []);
  });
  return hasDied;
}

async function restartAndMove(rig: MovingRig): Promise<void> {
  rig.restart();
  try {
    const node = await rig.open();
    await rig.cluster.until(() => node.service.health().state === "ready");
    assert.deepEqual(await rig.alive(), ["embedded"]);
    await node.promote(promotionOptions, () => undefined);
  } catch (error) {
    // The cluster had it already.
    if (!(error instanceof OnefoldError) || error.code !== "invalid-configuration") throw error;
    await rig.cluster.settled();
  }
}

describe("an embedded node that dies while its system moves", () => {
  for (const moment of ["before", "after"] as const) {
    test(`at questions to the engine, ${moment === "before" ? "before the engine hears them" : "before their answer is heard"}`, async () => {
      for (const operation of await pointsOf(moment)) {
        const hasDied = await moveWithCrash((rig) => {
          rig.crash = { operation, moment };
        });
        assert.equal(hasDied, true, `${operation}`);
      }
    });
  }

  test("at operations of its disk", async () => {
    const random = new SeededRandom("disk");
    for (let operation = 1; operation <= diskOperations; operation += 1 + random.integer(12)) {
      const moment = random.pick(["before", "during", "after"] as const);
      await moveWithCrash((rig) => rig.machine.crashAt(operation, { moment }));
    }
  });
});
