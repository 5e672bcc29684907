import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { OnefoldError } from "../../base/errors.ts";
import { NodeLife } from "../life.ts";
import { EngineWorld, record, textOf } from "./engine.fixture.ts";
import { noEngineFaults } from "./engine-faults.ts";

const isUnavailable = (error: unknown) => error instanceof OnefoldError && error.code === "unavailable";
const seeds = Array.from({ length: 20 }, (_, seed) => seed);

/** Sends a record until it is `appended`; gives how long that took. */
async function appendUntilDone(world: EngineWorld, log: Awaited<ReturnType<EngineWorld["logOf"]>>, sequence: number) {
  const startedMs = world.scheduler.nowMs;
  for (let attempt = 0; attempt < 200; attempt++) {
    if ((await log.append(sequence, record(sequence))).kind === "appended") return world.scheduler.nowMs - startedMs;
    if (textOf(await log.read(sequence).catch(() => undefined)) === textOf(record(sequence))) {
      return world.scheduler.nowMs - startedMs;
    }
    await world.scheduler.sleep(10);
  }
  return assert.fail("no progress");
}

describe("a simulated engine whose servers fail", () => {
  test("elects another leader within 4 to 9 s of a crash, and keeps what it acknowledged", async () => {
    for (const seed of seeds) {
      const world = new EngineWorld(seed);
      await world.run(async () => {
        const log = await world.logOf(5);
        world.engine.crashServer("e1");
        const tookMs = await appendUntilDone(world, log, 6);
        assert.ok(tookMs > 3900 && tookMs < 11_100, `${tookMs} ms`);
        assert.notEqual(world.group.leader?.server, "e1");
        for (let sequence = 1; sequence <= 6; sequence++) {
          assert.equal(textOf(await log.read(sequence)), `record ${sequence}`);
        }
        world.engine.restartServer("e1");
        await world.scheduler.sleep(1100);
        assert.equal(world.group.replicaOf("e1")!.commit, 6);
      });
      assert.equal(world.count("server-crash"), 1);
      assert.ok(world.count("election") >= 1);
    }
  });

  test("has another leader within 0.33 s of a stop in good order", async () => {
    for (const seed of seeds) {
      const world = new EngineWorld(seed, { times: { answerMs: 100 } });
      await world.run(async () => {
        const log = await world.logOf(5);
        const startedMs = world.scheduler.nowMs;
        world.engine.stopServer("e1");
        while (world.group.leader === undefined) await world.scheduler.sleep(1);
        assert.ok(world.scheduler.nowMs - startedMs <= 332);
        await appendUntilDone(world, log, 6);
      });
      assert.equal(world.count("server-stop"), 1);
    }
  });

  test("carries out what was sent to a paused leader after the pause: late, and checked against the end then", async () => {
    const world = new EngineWorld("paused", { times: { electionMs: [60_000, 60_000] } });
    await world.run(async () => {
      const log = await world.logOf(5);
      world.engine.pauseServer("e1");
      const outcome = await log.append(6, record(6));
      assert.equal(outcome.kind, "unknown");
      assert.equal(world.group.replicaOf("e1")!.last, 5);
      world.engine.resumeServer("e1");
      await world.scheduler.sleep(2000);
      assert.equal(textOf(await log.read(6)), "record 6");
    });
    assert.equal(world.count("late-append"), 1);
    assert.equal(world.count("ambiguous-append"), 1);
    assert.equal(world.count("server-pause"), 1);
  });

  test("loses its quorum with two servers, says nothing, and goes on when one is back", async () => {
    const world = new EngineWorld("quorum");
    await world.run(async () => {
      const log = await world.logOf(5);
      world.engine.crashServer("e2");
      world.engine.crashServer("e3");
      assert.equal((await log.append(6, record(6))).kind, "unknown");
      await world.scheduler.sleep(20_000);
      await assert.rejects(log.read(5), isUnavailable);
      const other = world.connect("n2");
      await assert.rejects(other.create("another", { firstSequence: 1 }), isUnavailable);
      await assert.rejects(other.open("log"), isUnavailable);
      world.engine.heal();
      await appendUntilDone(world, log, 6);
      assert.equal(textOf(await log.read(5)), "record 5");
    });
    assert.equal(world.count("quorum-loss"), 1);
  });

  test("counts nothing that a lagging server doesn't have, and lets it catch up", async () => {
    const world = new EngineWorld("lag");
    await world.run(async () => {
      const log = await world.logOf(5);
      world.engine.lagServer("e3", true);
      await log.append(6, record(6));
      assert.equal(world.group.replicaOf("e3")!.last, 5);
      world.engine.crashServer("e2");
      assert.equal((await log.append(7, record(7))).kind, "unknown");
      world.engine.lagServer("e3", false);
      await appendUntilDone(world, log, 7);
      assert.equal(world.group.replicaOf("e3")!.commit, 7);
    });
    assert.equal(world.count("server-lag"), 1);
  });

  test("has placed its logs on servers of different zones", async () => {
    const servers = ["a", "a", "b", "b", "c"].map((zone, index) => ({ name: `e${index + 1}`, zone }));
    for (const seed of seeds) {
      const world = new EngineWorld(seed, { servers });
      await world.run(() => world.connect("n1").create("log", { firstSequence: 1 }));
      const zones = world.group.replicas.map(({ server }) => servers.find(({ name }) => name === server)!.zone);
      assert.deepEqual([...zones].sort(), ["a", "b", "c"]);
    }
  });
});

describe("a leader of a simulated log that is cut off with its client", () => {
  /** e1 leads a log of 5 records, and is cut off from the other servers together with n1; n2 is on their side. */
  async function cutOff(world: EngineWorld) {
    const log = await world.logOf(5);
    const other = (await world.connect("n2").open("log"))!;
    const cut = world.network.obstruct({ kind: "cut", from: ["e1", "n1"], isBothWays: true });
    return { log, other, cut };
  }

  test("takes a record, refuses it when it comes again, and drops it when it is back", async () => {
    for (const seed of seeds) {
      const world = new EngineWorld(seed);
      await world.run(async () => {
        const { log, other, cut } = await cutOff(world);
        const kinds: string[] = [];
        while (!kinds.includes("refused") && kinds.length < 4) kinds.push((await log.append(6, record("mine"))).kind);
        assert.equal(kinds.at(-1), "refused");
        assert.ok(!kinds.includes("appended"));
        await appendUntilDone(world, other, 6);
        cut.clear();
        await world.scheduler.sleep(5000);
        assert.equal(textOf(await log.read(6)), "record 6");
      });
      assert.equal(world.count("discarded-append"), 1, `seed ${seed}`);
      assert.ok(world.count("false-refusal") >= 1);
    }
  });

  test("has a record that doesn't count for the next leader's record of the same sequence", async () => {
    const world = new EngineWorld("other-record");
    await world.run(async () => {
      const { log, other } = await cutOff(world);
      while (world.group.replicaOf("e1")!.last === 5) await log.append(6, record("mine"));
      while (world.group.leader === undefined || world.group.leader.server === "e1") await world.scheduler.sleep(100);
      // Of the majority, only the leader takes the record: e1 has one there as well, but another.
      world.engine.lagServer(world.group.leader.server === "e2" ? "e3" : "e2", true);
      const { leader } = world.group;
      // What n2 sends first is lost if its home was e1.
      for (let attempt = 0; attempt < 3 && leader.last === 5; attempt++) {
        assert.equal((await other.append(6, record("theirs"))).kind, "unknown");
      }
      assert.deepEqual([leader.last, leader.commit], [6, 5]);
    });
  });

  test("answers reads as of long ago until it gives up", async () => {
    let staleRuns = 0;
    for (const seed of seeds) {
      const world = new EngineWorld(seed);
      await world.run(async () => {
        const { log, other } = await cutOff(world);
        const startedMs = world.scheduler.nowMs;
        const writing = appendUntilDone(world, other, 6);
        while (world.group.replicaOf("e1")!.leadsTerm !== undefined) {
          const last = await log.bounds().then(
            (bounds) => bounds.last,
            (error) => assert.ok(isUnavailable(error)),
          );
          assert.ok(last === 5 || last === undefined);
          await world.scheduler.sleep(20);
        }
        // A request to another server than e1 takes 2 s to be given up.
        const gaveUpMs = world.scheduler.nowMs - startedMs;
        assert.ok(gaveUpMs > 6500 && gaveUpMs < 10_600, `gave up after ${gaveUpMs} ms`);
        await assert.rejects(log.bounds(), isUnavailable);
        await writing;
      });
      if (world.count("stale-read") > 0) staleRuns++;
    }
    assert.ok(staleRuns >= 5, `stale in ${staleRuns} of ${seeds.length} runs`);
  });

  test("has its last record committed by the next leader, where it had reached that one", async () => {
    let lateCount = 0;
    for (const seed of seeds) {
      const world = new EngineWorld(seed, { times: { commitMs: [50, 50] } });
      await world.run(async () => {
        const log = await world.logOf(2);
        const appending = log.append(3, record(3));
        await world.scheduler.sleep(20);
        world.engine.crashServer("e1");
        assert.equal((await appending).kind, "unknown");
        await world.scheduler.sleep(9000);
        const standing = textOf(await log.read(3));
        assert.equal(standing !== undefined, world.count("late-commit") === 1);
        if (standing !== undefined) lateCount++;
        await appendUntilDone(world, log, 3);
      });
    }
    assert.ok(lateCount > 2 && lateCount < seeds.length, `${lateCount} of ${seeds.length}`);
  });

  test("carries out what a node asks that hears no answers, one way being cut", async () => {
    const world = new EngineWorld("one-way");
    await world.run(async () => {
      const log = await world.logOf(5);
      const cut = world.network.obstruct({ kind: "cut", from: ["e1", "e2", "e3"], to: ["n1"] });
      assert.equal((await log.append(6, record(6))).kind, "unknown");
      assert.equal(world.group.leader?.commit, 6);
      assert.equal(world.count("ambiguous-append"), 1);
      cut.clear();
      assert.equal(textOf(await log.read(6)), "record 6");
    });
    assert.equal(world.count("cut-request"), 1);
  });

  test("is sent what a clog has held once that is cleared, when the sender has long given up", async () => {
    const world = new EngineWorld("clog");
    await world.run(async () => {
      const log = await world.logOf(5);
      const clog = world.network.obstruct({ kind: "clog", from: ["n1"] });
      assert.equal((await log.append(6, record(6))).kind, "unknown");
      await world.scheduler.sleep(10_000);
      assert.equal(world.group.leader?.commit, 5);
      clog.clear();
      await world.scheduler.sleep(10);
      assert.equal(world.group.leader?.commit, 6);
    });
    assert.equal(world.count("late-append"), 1);
  });
});

describe("what goes wrong with a simulated engine by chance", () => {
  test("is nothing while all rates are zero", async () => {
    const world = new EngineWorld("calm");
    await world.run(() => world.logOf(200));
    assert.equal(world.engine.counts.total, world.count("election"));
  });

  test("an ambiguous append is carried out, and its sender never told", async () => {
    const world = new EngineWorld("ambiguous");
    await world.run(async () => {
      const log = await world.logOf(1);
      world.engine.rates = { ...noEngineFaults, ambiguousAppend: 1 };
      const startedMs = world.scheduler.nowMs;
      assert.equal((await log.append(2, record(2))).kind, "unknown");
      assert.ok(world.scheduler.nowMs - startedMs >= world.engine.times.answerMs);
      assert.equal(textOf(await log.read(2)), "record 2");
    });
    assert.equal(world.count("ambiguous-append"), 1);
  });

  test("a late append arrives when its sender has given up, and is refused if others were there", async () => {
    for (const isOvertaken of [true, false]) {
      const world = new EngineWorld("late");
      await world.run(async () => {
        const log = await world.logOf(1);
        world.engine.rates = { ...noEngineFaults, lateAppend: 1 };
        assert.equal((await log.append(2, record("late"))).kind, "unknown");
        assert.equal(await log.read(2), undefined);
        world.engine.rates = noEngineFaults;
        if (isOvertaken) assert.equal((await log.append(2, record(2))).kind, "appended");
        await world.scheduler.sleep(7000);
        assert.equal(textOf(await log.read(2)), isOvertaken ? "record 2" : "record late");
      });
      assert.equal(world.count("late-append"), 1);
    }
  });

  test("a false refusal leaves nothing", async () => {
    const world = new EngineWorld("refusal");
    await world.run(async () => {
      const log = await world.logOf(1);
      world.engine.rates = { ...noEngineFaults, falseRefusal: 1 };
      assert.equal((await log.append(2, record(2))).kind, "refused");
      world.engine.rates = noEngineFaults;
      assert.equal(await log.read(2), undefined);
      assert.equal((await log.append(2, record(2))).kind, "appended");
    });
    assert.equal(world.count("false-refusal"), 1);
  });

  test("a stale read is an answer of some records ago", async () => {
    const world = new EngineWorld("stale");
    await world.run(async () => {
      const log = await world.logOf(20);
      world.engine.rates = { ...noEngineFaults, staleRead: 1 };
      const { first, last } = await log.bounds();
      assert.ok(first === 1 && last < 20 && last >= 10);
      assert.equal(await log.read(20), undefined);
      assert.equal(textOf(await log.read(10)), "record 10");
    });
    assert.equal(world.count("stale-read"), 2);
  });

  test("a read of any replica may be one of a replica that is behind", async () => {
    const world = new EngineWorld("replica");
    await world.run(async () => {
      const log = await world.logOf(5);
      world.engine.lagServer("e3", true);
      await log.append(6, record(6));
      world.engine.rates = { ...noEngineFaults, replicaRead: 1 };
      const ends = new Set<number>();
      for (let look = 0; look < 40; look++) ends.add((await log.bounds()).last);
      assert.deepEqual([...ends].sort(), [5, 6]);
    });
    assert.ok(world.count("stale-read") > 0);
  });

  test("a tail skips, repeats, falls silent, ends: each as it is told to", async () => {
    for (const [rate, kind] of [
      ["tailSkip", "tail-skip"],
      ["tailRepeat", "tail-repeat"],
      ["tailSilence", "tail-silence"],
      ["tailEnd", "tail-end"],
    ] as const) {
      const world = new EngineWorld(kind);
      await world.run(async () => {
        const log = await world.logOf(100);
        world.engine.rates = { ...noEngineFaults, [rate]: 0.1 };
        const sequences: number[] = [];
        let endedCount = 0;
        log.tail(1, {
          record: (sequence, bytes) => {
            assert.equal(textOf(bytes), `record ${sequence}`);
            sequences.push(sequence);
          },
          ended: () => void endedCount++,
        });
        await world.scheduler.sleep(1000);
        const distinct = new Set(sequences).size;
        assert.equal(endedCount, rate === "tailEnd" ? 1 : 0);
        assert.equal(sequences.length > distinct, rate === "tailRepeat");
        assert.equal(distinct < 100, rate !== "tailRepeat");
        assert.equal(distinct === sequences.at(-1), rate !== "tailSkip");
      });
      assert.ok(world.count(kind) > 0, kind);
    }
  });

  test("a tail whose server dies ends after a while; one whose server comes back goes on", async () => {
    const world = new EngineWorld("tail-loss");
    await world.run(async () => {
      const log = await world.logOf(3);
      const told: number[] = [];
      let endedCount = 0;
      const listener = { record: (sequence: number) => void told.push(sequence), ended: () => void endedCount++ };
      log.tail(1, listener);
      await world.scheduler.sleep(10);
      assert.deepEqual(told, [1, 2, 3]);
      const cut = world.network.obstruct({ kind: "cut", from: ["e1", "e2", "e3"], to: ["n1"] });
      await world.scheduler.sleep(1000);
      cut.clear();
      await log.append(4, record(4));
      await world.scheduler.sleep(10);
      assert.deepEqual([told, endedCount], [[1, 2, 3, 4], 0]);
      world.network.obstruct({ kind: "cut", from: ["e1", "e2", "e3"], to: ["n1"] });
      await world.scheduler.sleep(10_001);
      assert.equal(endedCount, 1);
    });
  });
});

describe("a node's life on a simulated engine", () => {
  test("ends at any request: nothing settles any more, and what was sent may be carried out", async () => {
    for (const moment of ["before", "during", "after"] as const) {
      const world = new EngineWorld(moment);
      await world.run(async () => {
        await world.logOf(1);
        const life = new NodeLife();
        const log = (await world.connect("n2", life).open("log"))!;
        life.crashAt(1, moment);
        let isSettled = false;
        void log.append(2, record(2)).then(() => {
          isSettled = true;
        });
        await world.scheduler.sleep(20_000);
        assert.equal(isSettled, false);
        assert.equal(life.alive, false);
        assert.equal(world.group.leader!.commit, moment === "before" ? 1 : 2);
      });
    }
  });

  test("that is paused learns afterwards what became of it", async () => {
    const world = new EngineWorld("pause");
    await world.run(async () => {
      await world.logOf(1);
      const life = new NodeLife();
      const log = (await world.connect("n2", life).open("log"))!;
      const told: number[] = [];
      log.tail(1, { record: (sequence) => void told.push(sequence), ended: () => undefined });
      let outcome: string | undefined;
      void log.append(2, record(2)).then(({ kind }) => {
        outcome = kind;
      });
      life.pause();
      await world.scheduler.sleep(5000);
      assert.deepEqual([told, outcome], [[], undefined]);
      life.resume((step) => world.scheduler.at(0, step));
      await world.scheduler.sleep(10);
      assert.deepEqual([told, outcome], [[1, 2], "appended"]);
    });
  });
});
