import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { entityName } from "../entity/keys.ts";
import { tester } from "../entity/shard.fixture.ts";
import type { EngineAppendOutcome, EngineLog } from "../log/engine-log.ts";
import type { OwnerIntent } from "./shard-host.ts";
import { ShardWorld } from "./shard-hosts.fixture.ts";

const owner = (assignment: number, intent: OwnerIntent = "serve") => ({ kind: "owner", assignment, intent }) as const;
const follower = { kind: "follower" } as const;

describe("a shard on several nodes", () => {
  test("is claimed by the one that it is assigned to, and followed by the other, whose store comes to hold the same", () => {
    const world = new ShardWorld();
    return world.run(async () => {
      const [a, b] = [world.node("a"), world.node("b")];
      await a.start(owner(1));
      await b.start(follower);
      assert.equal(await a.write("x", "one"), 1);
      assert.equal(await a.write("x", "two"), 2);
      assert.deepEqual(a.epochs, [2], "genesis has epoch 1, the first claim 2");
      await world.until(() => b.position?.sequence === a.position!.sequence);
      await world.until(() => b.shardHost.replica!.store.position?.sequence === a.position!.sequence);
      assert.equal(b.shardHost.owned, undefined);
    });
  });

  test("is followed at once also by what comes while the last fold's time has not passed", () => {
    const world = new ShardWorld();
    return world.run(async () => {
      const [a, b] = [world.node("a"), world.node("b")];
      await a.start(owner(1));
      await b.start(follower);
      for (let i = 1; i <= 60; i++) {
        // So near to each other that some come in the wait for the next fold, and nothing comes after the last of them for a while.
        for (let j = 0; j < 1 + (i % 4); j++) {
          await a.write("x", `${i}`);
          await world.scheduler.sleep(i % 17);
        }
        await world.scheduler.sleep(40);
        assert.equal(b.position?.sequence, a.position!.sequence, `the copy lags after burst ${i}`);
        await world.scheduler.sleep(i % 53);
      }
    });
  });

  test("moves without an error: the owner releases after what it accepted, the next one claims and has it all", () => {
    const world = new ShardWorld();
    return world.run(async () => {
      const [a, b] = [world.node("a"), world.node("b")];
      await a.start(owner(1));
      await b.start(follower);
      await a.write("x", "one");
      const last = a.write("x", "two");
      a.shardHost.assign(owner(1, "move"));
      assert.equal(await last, 2);
      await world.until(() => a.released.length === 1);
      a.shardHost.assign(follower);
      b.shardHost.assign(owner(2));
      assert.equal(await b.write("x", "three"), 3);
      assert.deepEqual(await b.lines("x"), ["one", "two", "three"]);
      assert.equal(a.shardHost.owned, undefined);
      await world.until(() => a.position!.sequence === b.position!.sequence);
    });
  });

  test("is claimed by the next owner once the present one says that it has released it, before the system log does (SH4)", () => {
    const world = new ShardWorld();
    return world.run(async () => {
      const [a, b] = [world.node("a"), world.node("b")];
      let looks = 0;
      await a.start(owner(1));
      await b.start(follower, (log) =>
        tampered(log, {
          bounds: () => {
            looks++;
            return log.bounds();
          },
        }),
      );
      await a.write("x", "one");
      await world.until(() => b.position?.sequence === a.position!.sequence);
      b.shardHost.assign({ kind: "next", assignment: 1 });
      a.shardHost.assign(owner(1, "move"));
      await world.until(() => a.handed.length === 1);
      const looksBefore = looks;
      b.shardHost.handed(a.handed[0]!);
      assert.equal(await b.write("x", "two"), 2);
      assert.equal(looks, looksBefore, "where the log ends was not asked for (CL4)");
      assert.deepEqual(b.epochs, [3]);
      // The system log says it a moment later, and nothing changes.
      a.shardHost.assign(follower);
      b.shardHost.assign(owner(2));
      assert.equal(await b.write("x", "three"), 3);
      assert.deepEqual([b.epochs, b.released], [[3], []]);
    });
  });

  test("is not claimed by what was said of an assignment that is over, nor behind an end that is not the log's (HO1)", () => {
    const world = new ShardWorld();
    return world.run(async () => {
      const [a, b] = [world.node("a"), world.node("b")];
      await a.start(owner(2));
      await b.start(follower);
      await a.write("x", "one");
      await world.until(() => b.position?.sequence === a.position!.sequence);
      const early = b.position!;
      b.shardHost.assign({ kind: "next", assignment: 2 });
      b.shardHost.handed({ assignment: 1, end: early });
      await a.write("x", "two");
      await world.scheduler.sleep(2000);
      assert.deepEqual(b.epochs, []);
      // Wrong, as no owner says it: the log goes on behind that. It is claimed all the same, behind what is there.
      b.shardHost.handed({ assignment: 2, end: early });
      assert.equal(await b.write("x", "three"), 3);
      assert.deepEqual(await b.lines("x"), ["one", "two", "three"]);
      await assert.rejects(a.lines("x"), { code: "not-owner", retry: "safe" }, "who was no more than replaced (G2)");
    });
  });

  test("who has claimed what the system log then gives to another one gives it up (SH4)", () => {
    const world = new ShardWorld();
    return world.run(async () => {
      const [a, b, c] = [world.node("a"), world.node("b"), world.node("c")];
      await a.start(owner(1));
      for (const node of [b, c]) await node.start(follower);
      await a.write("x", "one");
      b.shardHost.assign({ kind: "next", assignment: 1 });
      a.shardHost.assign(owner(1, "move"));
      await world.until(() => a.handed.length === 1);
      b.shardHost.handed(a.handed[0]!);
      assert.equal(await b.write("x", "two"), 2);
      b.shardHost.assign(follower);
      c.shardHost.assign(owner(3));
      assert.equal(await c.write("x", "three"), 3);
      assert.equal(b.shardHost.owned, undefined);
      assert.deepEqual(await c.lines("x"), ["one", "two", "three"]);
    });
  });

  test("that is to move is served until the next owner is ready, and no longer; or on, where it is not to move any more", () => {
    const world = new ShardWorld();
    return world.run(async () => {
      const a = world.node("a");
      let asked = 0;
      let isReady: () => void = () => assert.fail("nobody has asked");
      world.nextIsReady = () => {
        asked++;
        return new Promise((resolve) => {
          isReady = resolve;
        });
      };
      await a.start(owner(1));
      await a.write("x", "one");
      a.shardHost.assign(owner(1, "move"));
      await world.until(() => asked === 1);
      assert.equal(await a.write("x", "two"), 2);
      a.shardHost.assign(owner(1));
      await world.scheduler.sleep(100);
      assert.equal(await a.write("x", "three"), 3);
      a.shardHost.assign(owner(1, "move"));
      await world.until(() => asked === 2);
      assert.equal(await a.write("x", "four"), 4);
      assert.deepEqual(a.released, []);
      isReady();
      await world.until(() => a.released.length === 1);
      assert.equal(a.shardHost.owned, undefined);
    });
  });

  test("tells when its copy has reached so far, and after that time at the latest", () => {
    const world = new ShardWorld();
    return world.run(async () => {
      const [a, b] = [world.node("a"), world.node("b")];
      await a.start(owner(1));
      await b.start(follower);
      await a.write("x", "one");
      await world.until(() => b.position?.sequence === a.position!.sequence);
      const { sequence } = b.position!;
      await b.shardHost.hasReached(sequence, 0);
      let hasReached = false;
      const reaching = b.shardHost.hasReached(sequence + 1, 60_000).then(() => {
        hasReached = true;
      });
      await world.scheduler.sleep(5000);
      assert.equal(hasReached, false);
      await a.write("x", "two");
      await reaching;
      assert.equal(b.position!.sequence >= sequence + 1, true);
      const beganMs = world.scheduler.nowMs;
      await b.shardHost.hasReached(1_000_000, 300);
      const waitedMs = world.scheduler.nowMs - beganMs;
      assert.equal(waitedMs >= 300 && waitedMs < 310, true, `it took ${waitedMs} ms`);
    });
  });

  test("goes on with what was acknowledged when its owner dies, and the dead one's next life follows", () => {
    const world = new ShardWorld();
    return world.run(async () => {
      const [a, b] = [world.node("a"), world.node("b")];
      await a.start(owner(1));
      await b.start(follower);
      await a.write("x", "one");
      a.crash();
      b.shardHost.assign(owner(2));
      assert.equal(await b.write("x", "two"), 2);
      await a.start(follower);
      await world.until(() => a.position?.sequence === b.position!.sequence);
      assert.deepEqual(b.epochs, [3]);
    });
  });

  test("is let go of though the disk refuses that, and opened again from what is there", () => {
    const world = new ShardWorld();
    return world.run(async () => {
      const [a, b] = [world.node("a"), world.node("b")];
      await a.start(owner(1));
      await b.start(follower);
      await a.write("x", "one");
      await world.until(() => b.position?.sequence === a.position!.sequence);
      const { sequence } = b.position!;
      b.node.disk.failNext("sync");
      await b.shardHost.close();
      assert.equal(b.node.disk.counts.get("failed-sync"), 1, "the copy's anchor was refused");
      b.crash();
      await b.start(follower);
      await world.until(() => b.position?.sequence === sequence);
    });
  });

  test("a deposed owner's append fails: its callers are told that nothing happened, and it claims no more", () => {
    const world = new ShardWorld();
    return world.run(async () => {
      const [a, b] = [world.node("a"), world.node("b")];
      await a.start(owner(1));
      await b.start(follower);
      await a.write("x", "one");
      b.shardHost.assign(owner(2));
      assert.equal(await b.write("x", "two"), 2);
      const { shard } = a.shardHost.owned!;
      const stale = shard.state({ kind: "note", id: "x" }, { principal: tester });
      await assert.rejects(stale, { code: "not-owner", retry: "safe" }, "a read waits for its barrier (hazard 8)");
      await world.until(() => a.shardHost.owned === undefined);
      await world.scheduler.sleep(5000);
      assert.deepEqual(a.epochs, [2], "an older assignment does not claim over a later one");
      assert.deepEqual(await b.lines("x"), ["one", "two"]);
    });
  });

  test("an append whose outcome is unknown is sent again until it is known, and answered once", () => {
    const world = new ShardWorld();
    return world.run(async () => {
      const a = world.node("a");
      let losses = 4;
      const answers: EngineAppendOutcome[] = [{ kind: "unknown", cause: "lost" }, { kind: "refused" }];
      await a.start(owner(1), (log) =>
        tampered(log, {
          append: async (sequence, bytes) => {
            const outcome = await log.append(sequence, bytes);
            return losses-- > 0 ? answers[losses % 2]! : outcome;
          },
        }),
      );
      assert.equal(await a.write("x", "one"), 1);
      assert.equal(await a.write("x", "two"), 2);
      assert.deepEqual(await a.lines("x"), ["one", "two"]);
      assert.equal(losses < 0, true, "all of it was met");
    });
  });

  test("an append that shows only after it was given up as unknown is in the node's copy before anyone is answered (OL1)", () => {
    const world = new ShardWorld();
    return world.run(async () => {
      const a = world.node("a");
      let isHidden = false;
      await a.start(owner(1), (log) =>
        tampered(log, {
          append: async (sequence, bytes) => {
            const outcome = await log.append(sequence, bytes);
            return isHidden ? { kind: "unknown", cause: "late" } : outcome;
          },
          // Not there for who looks at once, there for the next one.
          read: async (sequence) => {
            if (!isHidden) return log.read(sequence);
            isHidden = false;
            return undefined;
          },
        }),
      );
      assert.equal(await a.write("x", "one"), 1);
      const { sequence } = a.position!;
      isHidden = true;
      assert.equal(await a.write("x", "two"), 2);
      assert.equal(isHidden, false, "that was met");
      assert.equal(a.position!.sequence > sequence, true, "what was answered is in the copy");
      assert.equal(await a.write("x", "three"), 3);
      a.shardHost.assign(owner(1, "move"));
      await world.until(() => a.released.length === 1);
    });
  });

  test("a claim that another one has overtaken is given up, and takes what stands behind it for no loss", () => {
    const world = new ShardWorld();
    return world.run(async () => {
      const [a, b, c] = [world.node("a"), world.node("b"), world.node("c")];
      await a.start(owner(1));
      assert.equal(await a.write("x", "one"), 1);
      await b.start(follower);
      await c.start(follower);
      a.crash();
      let isOvertaken = false;
      world.beforeAnchors = async (asking) => {
        if (asking !== b || isOvertaken) return;
        isOvertaken = true;
        c.shardHost.assign(owner(3));
        await world.until(() => c.shardHost.owned !== undefined);
      };
      b.shardHost.assign(owner(2));
      await world.until(() => isOvertaken && c.shardHost.owned !== undefined);
      assert.equal(await c.write("x", "two"), 2);
      await world.until(() => b.position?.sequence === c.position!.sequence);
      assert.deepEqual([b.seals, c.seals], [[], []]);
      assert.equal(b.shardHost.owned, undefined);
    });
  });

  test("a log that lost what a node had acknowledged is sealed, not served (hazard 1)", () => {
    const world = new ShardWorld();
    return world.run(async () => {
      const [a, b] = [world.node("a"), world.node("b")];
      await a.start(owner(1));
      await b.start(follower);
      for (let i = 0; i < 5; i++) await a.write("x", `${i}`);
      await world.until(() => b.position?.sequence === a.position!.sequence);
      a.crash();
      world.server.truncate("s1", b.position!.sequence - 2);
      b.shardHost.assign(owner(2));
      await world.until(() => b.seals.length === 1);
      assert.equal(b.seals[0]!.reason, "rollback");
      assert.equal(b.shardHost.owned, undefined);
      await a.start(owner(3));
      await world.until(() => a.seals.length === 1 || a.faults.length > 0);
      assert.equal(a.shardHost.owned, undefined);
    });
  });

  test("a rolled-back log that a newcomer claims is found out by what another node tells it", () => {
    const world = new ShardWorld();
    return world.run(async () => {
      const [a, b, c] = [world.node("a"), world.node("b"), world.node("c")];
      await a.start(owner(1));
      for (let i = 0; i < 5; i++) await a.write("x", `${i}`);
      await b.start(follower);
      await world.until(() => b.position?.sequence === a.position!.sequence);
      a.crash();
      world.server.truncate("s1", b.position!.sequence - 2);
      await c.start(owner(2));
      await world.until(() => c.seals.length === 1);
      assert.match(c.seals[0]!.detail, /another node has acknowledged/);
      assert.deepEqual(c.epochs, []);
    });
  });

  test("a rolled-back log that a newcomer's claim brings to its old end is found out by the anchor's hash", () => {
    const world = new ShardWorld();
    return world.run(async () => {
      const [a, b, c] = [world.node("a"), world.node("b"), world.node("c")];
      await a.start(owner(1));
      for (let i = 0; i < 5; i++) await a.write("x", `${i}`);
      await b.start(follower);
      await world.until(() => b.position?.sequence === a.position!.sequence);
      a.crash();
      world.server.truncate("s1", b.position!.sequence - 1);
      await c.start(owner(2));
      await world.until(() => c.seals.length === 1 || c.epochs.length > 0);
      assert.match(c.seals[0]!.detail, /another node has acknowledged/);
      assert.deepEqual(c.epochs, []);
    });
  });

  test("a follower that its tail tells nothing looks for itself (FO1)", () => {
    const world = new ShardWorld();
    return world.run(async () => {
      const [a, b] = [world.node("a"), world.node("b")];
      await a.start(owner(1));
      await b.start(follower, (log) => tampered(log, { tail: () => ({ close: () => undefined }) }));
      await a.write("x", "one");
      await world.until(() => b.position?.sequence === a.position!.sequence);
      await a.write("x", "two");
      await world.until(() => b.position?.sequence === a.position!.sequence);
    });
  });

  test("a follower of a busy log takes what a stale server shows for no fault before it has stood for long (FO3)", () => {
    const world = new ShardWorld();
    return world.run(async () => {
      const [a, b] = [world.node("a"), world.node("b")];
      let isStale = false;
      await a.start(owner(1));
      await a.write("x", "first");
      await b.start(follower, (log) =>
        tampered(log, {
          readMany: async (sequence, bytesMax) => (isStale ? [] : log.readMany(sequence, bytesMax)),
          tail: (sequence, { record, ended }) => {
            let count = 0;
            return log.tail(sequence, {
              ended,
              record: (at, bytes) => (count++ === 0 ? undefined : record(at, bytes)),
            });
          },
        }),
      );
      await world.until(() => b.position?.sequence === a.position!.sequence);
      isStale = true;
      for (let i = 0; i < 100; i++) await a.write("x", `${i}`);
      assert.ok(b.position!.sequence < a.position!.sequence, "it can't go on");
      isStale = false;
      await world.until(() => b.position?.sequence === a.position!.sequence);
      assert.deepEqual(b.faults, []);
    });
  });

  for (const [what, role] of [
    ["follows", follower],
    ["is to own", owner(2)],
  ] as const) {
    test(`a node that was away while the log was trimmed begins anew behind the snapshot, and ${what} (hazard 15)`, () => {
      const world = new ShardWorld();
      return world.run(async () => {
        const [a, b] = [world.node("a"), world.node("b")];
        await a.start(owner(1));
        await a.write("x", "one");
        await b.start(follower);
        await world.until(() => b.position?.sequence === a.position!.sequence);
        // What it has is on its disk: it does not begin with the snapshot anyway.
        await b.shardHost.close();
        b.crash();
        for (const line of ["two", "three", "four"]) {
          await a.write("x", line);
          await a.shardHost.owned!.snapshots.take();
        }
        await a.write("x", "five");
        const end = a.position!.sequence;
        if (role.kind === "owner") a.crash();
        await b.start(role);
        await world.until(() => (b.position?.sequence ?? 0) >= end);
        if (role.kind === "owner") assert.equal(await b.write("x", "six"), 6);
        assert.deepEqual([b.faults, b.seals], [[], []]);
      });
    });
  }

  test("snapshots trim the log behind the older of two, and a newcomer begins with the newest", () => {
    const world = new ShardWorld();
    return world.run(async () => {
      const [a, b] = [world.node("a"), world.node("b")];
      await a.start(owner(1));
      for (let i = 0; i < 5; i++) await a.write(`x${i}`, "first");
      await a.shardHost.owned!.snapshots.take();
      for (let i = 0; i < 5; i++) await a.write(`x${i}`, "second");
      await a.shardHost.owned!.snapshots.take();
      const log = await world.engineOf().open("s1");
      assert.equal((await log!.bounds()).first, world.published[0]!.sequence + 1);
      await a.write("x0", "third");
      await b.start(follower);
      await world.until(() => b.position?.sequence === a.position!.sequence);
      a.crash();
      b.shardHost.assign(owner(2));
      assert.equal(await b.write("x0", "fourth"), 4);
    });
  });

  test("an entity that is put into quarantine is refused by its owner and by copies, and what was sent to it arrives when that is lifted", () => {
    const world = new ShardWorld();
    return world.run(async () => {
      const a = world.node("a");
      await a.start(owner(1));
      await a.write("x", "one");
      await a.write("y", "one");
      a.quarantined = new Set([entityName("default", "note", "x")]);
      a.shardHost.reconsider();
      await world.until(() => a.epochs.length === 2);
      await assert.rejects(a.write("x", "two"), { code: "quarantined", retry: "never" });
      assert.equal(await a.write("y", "two"), 2);
      const mail = { to: "x", lines: ["mailed"] };
      await a.shardHost.owned!.shard.command({ kind: "note", id: "y" }, "mail", mail, { principal: tester });
      a.quarantined = new Set();
      a.shardHost.reconsider();
      await world.until(() => a.epochs.length === 3);
      const lines = async () => (await a.lines("x")).join();
      let seen = "";
      for (let look = 0; look < 100 && seen !== "one,mailed"; look++) {
        await world.scheduler.sleep(10);
        seen = await lines();
      }
      assert.equal(seen, "one,mailed");
      assert.deepEqual(a.released, [], "nobody else had to take it over");
    });
  });

  test("a node that may not claim waits until it may", () => {
    const world = new ShardWorld();
    return world.run(async () => {
      const a = world.node("a");
      a.mayClaim = false;
      await a.start(owner(1));
      await world.scheduler.sleep(3000);
      assert.deepEqual(a.epochs, []);
      a.mayClaim = true;
      a.shardHost.reconsider();
      assert.equal(await a.write("x", "one"), 1);
    });
  });
});

function tampered(log: EngineLog, overrides: Partial<EngineLog>): EngineLog {
  return {
    name: log.name,
    append: (sequence, bytes) => log.append(sequence, bytes),
    read: (sequence) => log.read(sequence),
    readMany: (sequence, bytesMax) => log.readMany(sequence, bytesMax),
    bounds: () => log.bounds(),
    tail: (sequence, listener) => log.tail(sequence, listener),
    trim: (sequence) => log.trim(sequence),
    ...overrides,
  };
}
