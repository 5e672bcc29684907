import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { OnefoldError, Refused } from "../base/errors.ts";
import { slotOf } from "../base/ids.ts";
import { bankSystem } from "../gateway/bank.fake.ts";
import { type ClusterNode, ClusterRig, type FakeShard, tester, told } from "./cluster-service.fixture.ts";
import type { FollowerReads } from "./local-shards.ts";
import { notOwner } from "./route-outcome.ts";

/** An account of the shard s0, and one of s1. */
const [zero, one] = [(slot: number) => slot < 2048, (slot: number) => slot >= 2048].map((isIn) => {
  for (let i = 0; ; i++) if (isIn(slotOf("account", `id-${i}`, "default"))) return `id-${i}`;
}) as [string, string];

const account = (id: string) => ({ kind: "account", id });

function deposit(node: ClusterNode, id: string, options: object = {}) {
  return node.service.command(account(id), "deposit", { cents: 5 }, { principal: tester, ...options });
}

function balance(node: ClusterNode, id: string, options: object = {}) {
  return node.service.query(account(id), "balance", undefined, { principal: tester, ...options });
}

/** A numbered request of a session of this node. */
function numbered(node: ClusterNode) {
  return { session: { token: node.service.mintSession(tester), number: 1, lowest: 1 } };
}

describe("a cluster's service", () => {
  test("reaches the same entity from every node, whoever owns it", () =>
    ClusterRig.run("same", async (rig, a, b) => {
      for (const id of [zero, one]) {
        assert.equal((await deposit(a, id)).output, 5);
        assert.equal((await deposit(b, id)).output, 10);
        assert.equal((await balance(a, id)).output, 10);
        assert.equal((await balance(b, id)).output, 10);
      }
      const { position, sequence } = await deposit(a, one);
      assert.deepEqual(position, { shard: "s1", incarnation: "aa".repeat(16), sequence });
      assert.deepEqual((await a.service.state(account(one), { principal: tester })).state, { balanceCents: 15 });
      const history = await a.service.history(account(one), { principal: tester, limit: 2 });
      assert.deepEqual(
        history.items.map(({ state }) => state),
        [{ balanceCents: 15 }, { balanceCents: 10 }],
      );
      const echoed = { at: new Date(3), big: 7n, none: undefined };
      const echo = a.service.command(account(one), "echo", echoed, { principal: tester });
      assert.deepEqual((await echo).output, { at: new Date(3), big: 7n });
      await a.service.delete(account(one), { principal: tester });
      assert.equal(await told(a.service.delete(account(one), { principal: tester })), "not-found, never");
      assert.deepEqual([rig.shards.get("s0")!.callCount, rig.shards.get("s1")!.callCount], [4, 10]);
    }));

  test("gives refusals and mistakes as the owner does", () =>
    ClusterRig.run("refusals", async (_rig, a) => {
      const withdraw = a.service.command(account(one), "withdraw", { cents: 1 }, { principal: tester });
      await assert.rejects(withdraw, (error) => {
        assert(error instanceof Refused && error.code === "insufficient-funds");
        assert.deepEqual(error.details, { balanceCents: 0, at: new Date(0) });
        return true;
      });
      const wrong = a.service.command(account(one), "deposit", { cents: -1 }, { principal: tester });
      assert.equal(await told(wrong), "invalid-input, never");
      assert.equal(
        await told(a.service.query({ kind: "acount", id: "x" }, "b", 1, { principal: tester })),
        "unknown-kind, never",
      );
    }));

  test("goes on to the next owner where the present one has given the shard up, and waits there until that one has it (AO1)", () =>
    ClusterRig.run("handed", async (rig, a, b) => {
      const c = await rig.start("c");
      rig.planMove("s1", "a");
      rig.tell();
      assert.deepEqual(notOwner(rig.state, "s1", b.address).details, { shard: "s1", member: "a", assignment: 2 });
      rig.serve("s1", undefined);
      const { scheduler } = rig.net;
      let servedAtMs = Number.POSITIVE_INFINITY;
      const waits = [a, b, c].map(async (node) => {
        await deposit(node, one);
        return scheduler.nowMs - servedAtMs;
      });
      await rig.net.sleep(300);
      servedAtMs = scheduler.nowMs;
      rig.serve("s1", "a");
      a.service.ownsMore();
      for (const waitMs of await Promise.all(waits)) {
        assert.equal(waitMs >= 0 && waitMs < 5, true, `it came ${waitMs} ms after that`);
      }
      assert.equal(rig.shards.get("s1")!.callCount, 3);
    }));

  test("is told by the next owner that nothing was begun, while it still listens, where that one does not come to own the shard (AO1)", () =>
    ClusterRig.run("never", async (rig, _a, b) => {
      rig.planMove("s1", "a");
      rig.tell();
      rig.serve("s1", undefined);
      const beganMs = rig.net.scheduler.nowMs;
      assert.equal(await told(deposit(b, one, { deadlineMs: 400 })), "unavailable, safe");
      const tookMs = rig.net.scheduler.nowMs - beganMs;
      assert.equal(tookMs >= 400 && tookMs < 800, true, `it took ${tookMs} ms`);
      assert.equal(rig.shards.get("s1")!.callCount, 0);
    }));

  test("follows a hint, and waits while nobody serves", () =>
    ClusterRig.run("hints", async (rig, a) => {
      const c = await rig.start("c");
      // The shard has moved to c. Neither a nor b has read of it but for b, whom a asks.
      rig.assign("s1", "c");
      rig.serve("s1", "c");
      rig.tell("b");
      const began = rig.net.scheduler.nowMs;
      assert.equal((await deposit(a, one)).output, 5);
      assert(rig.net.scheduler.nowMs - began < 50, "no pause");
      // It is assigned to b, which has not claimed it yet.
      rig.assign("s1", "b");
      rig.tell();
      rig.serve("s1", undefined);
      const waiting = deposit(a, one);
      await rig.net.sleep(700);
      rig.serve("s1", "b");
      assert.equal((await waiting).output, 10);
      assert.equal((await deposit(c, one)).output, 15);
    }));

  test("does not follow hints in circles, nor for ever", () =>
    ClusterRig.run("circles", async (rig, a) => {
      // b and c say that c owns it, which never comes to serve it.
      const c = await rig.start("c");
      rig.serve("s1", undefined);
      rig.assign("s1", "c");
      rig.tell("b", "c");
      let askedCount = 0;
      const owned = c.owned;
      owned.get = () => {
        askedCount++;
        return undefined;
      };
      assert.equal(await told(deposit(a, one, { deadlineMs: 3000 })), "unavailable, safe");
      assert(askedCount > 5 && askedCount < 50, `asked ${askedCount} times`);
    }));
});

/** What a dying owner leaves of a call that reached it. */
type Death = "before" | "after";

/** `b` serves s1 until it dies of its next call, before or after that took hold; then `a` is told, and serves. */
function dieOfNextCall(rig: ClusterRig, when: Death): void {
  const shard = rig.shards.get("s1")!;
  const dying = new Proxy(shard, {
    get: (target: FakeShard, property) => {
      const value: unknown = Reflect.get(target, property, target);
      if (property !== "command" && property !== "query")
        return typeof value === "function" ? value.bind(target) : value;
      return async (...args: unknown[]) => {
        if (when === "after") await (value as (...given: unknown[]) => Promise<unknown>).apply(target, args);
        rig.crash("b");
        rig.net.scheduler.at(800, () => rig.move("s1", "a"));
        return new Promise(() => undefined);
      };
    },
  });
  rig.serve("s1", "b", dying);
}

describe("when an owner dies under a call, its caller", () => {
  for (const when of ["before", "after"] as const) {
    test(`sees a pause where the call is numbered, keyed or a read (${when} it took hold)`, async () => {
      const identities = [numbered, () => ({ idempotencyKey: "once" })];
      for (const identity of identities) {
        await ClusterRig.run(`identified-${when}`, async (rig, a) => {
          dieOfNextCall(rig, when);
          const began = rig.net.scheduler.nowMs;
          assert.equal((await deposit(a, one, identity(a))).output, 5);
          assert(rig.net.scheduler.nowMs - began < 1500);
          assert.equal((await balance(a, one)).output, 5);
        });
      }
      await ClusterRig.run(`read-${when}`, async (rig, a) => {
        dieOfNextCall(rig, when);
        assert.equal((await balance(a, one)).output, 0);
      });
    });

    test(`is told that the outcome is unknown otherwise (${when} it took hold)`, () =>
      ClusterRig.run(`unidentified-${when}`, async (rig, a) => {
        dieOfNextCall(rig, when);
        const began = rig.net.scheduler.nowMs;
        assert.equal(await told(deposit(a, one)), "outcome-unknown, unknown");
        assert(rig.net.scheduler.nowMs - began < 1500, "long before its deadline");
        assert.equal((await balance(a, one)).output, when === "after" ? 5 : 0);
      }));
  }

  test("gets the answer of an owner that gives the shard up in order", () =>
    ClusterRig.run("handoff", async (rig, a) => {
      const release = rig.shards.get("s1")!.hold();
      const call = deposit(a, one);
      await rig.net.sleep(20);
      // It had taken the call, and commits it.
      rig.move("s1", "a");
      await rig.net.sleep(100);
      release();
      assert.equal((await call).output, 5);
    }));

  test("gets what it asked for once, whatever the network does, as long as it is numbered", async () => {
    for (let seed = 0; seed < 30; seed++) {
      await ClusterRig.run(`once-${seed}`, async (rig, a, b) => {
        rig.net.network.behaviour = {
          ...rig.net.network.behaviour,
          loss: 0.15,
          duplication: 0.2,
          reordering: 0.2,
          latenessMsMax: 200,
        };
        const token = a.service.mintSession(tester);
        const calls: Promise<unknown>[] = [];
        for (let number = 1; number <= 20; number++) {
          calls.push(deposit(a, one, { session: { token, number, lowest: 1 }, deadlineMs: 60_000 }));
          await rig.net.sleep(20);
          if (number === 7 || number === 14) rig.move("s1", number === 7 ? "a" : "b");
        }
        await Promise.all(calls);
        assert.equal((await balance(b, one, { deadlineMs: 60_000 })).output, 100, `seed ${seed}`);
      });
    }
  });
});

/** A copy that shows a balance of its own. */
function follower(facts: { sequence: number; staleForMs: number; balance: number }): FollowerReads {
  const { sequence, staleForMs } = facts;
  return {
    incarnation: "aa".repeat(16),
    sequence,
    staleForMs,
    query: async () => ({ output: facts.balance, sequence }),
    state: async () => ({ state: {}, generation: 1, version: 1, schemaVersion: 1, sequence }),
  };
}

describe("a node that is cut off", () => {
  test("refuses strong reads and writes at once, and goes on with stale reads", () =>
    ClusterRig.run("cut-off", async (rig, a) => {
      a.followers.set("s1", follower({ sequence: 3, staleForMs: 4000, balance: 77 }));
      a.standing.isCutOff = true;
      const began = rig.net.scheduler.nowMs;
      assert.equal(await told(deposit(a, one)), "unavailable, safe");
      assert.equal(await told(deposit(a, zero)), "unavailable, safe");
      assert.equal(await told(balance(a, one)), "unavailable, safe");
      const stale = await balance(a, one, { read: "eventual" });
      assert.deepEqual([stale.output, stale.staleForMs], [77, 4000]);
      assert(rig.net.scheduler.nowMs - began < 10);
      assert.equal(a.service.health().state, "starting");
      a.standing.isCutOff = false;
      assert.equal((await deposit(a, one)).output, 5);
      assert.equal(a.service.health().state, "ready");
    }));

  test("ends what was under way, by whether it may have begun", () =>
    ClusterRig.run("under-way", async (rig, a) => {
      rig.shards.get("s0")!.hold();
      rig.shards.get("s1")!.hold();
      rig.assign("s1", undefined);
      rig.tell("a");
      const calls = {
        "here, a write": deposit(a, zero),
        "here, numbered": deposit(a, zero, numbered(a)),
        "here, a read": balance(a, zero),
        "nobody owns it": deposit(a, one),
      };
      await rig.net.sleep(100);
      rig.assign("s1", "b");
      rig.tell("a");
      const forwarded = { "there, a write": deposit(a, one), "there, a read": balance(a, one) };
      await rig.net.sleep(1400);
      a.standing.isCutOff = true;
      const began = rig.net.scheduler.nowMs;
      const outcomes: Record<string, unknown> = {};
      for (const [name, call] of Object.entries({ ...calls, ...forwarded })) outcomes[name] = await told(call);
      assert.deepEqual(outcomes, {
        "here, a write": "outcome-unknown, unknown",
        "here, numbered": "outcome-unknown, unknown",
        "here, a read": "unavailable, safe",
        // It found its owner meanwhile, which did not answer.
        "nobody owns it": "outcome-unknown, unknown",
        "there, a write": "outcome-unknown, unknown",
        "there, a read": "unavailable, safe",
      });
      assert(rig.net.scheduler.nowMs - began < 500);
    }));
});

describe("session reads", () => {
  test("come from a copy that has reached what the session has seen, else from the owner", () =>
    ClusterRig.run("session-reads", async (rig, a) => {
      const copy = { sequence: 0, staleForMs: 10, balance: 0 };
      const read = (sessionToken: string) => balance(a, one, { read: "session", sessionToken });
      a.followers.set("s1", follower(copy));
      const token = a.service.mintSession(tester);
      assert.equal((await read(token)).staleForMs, 10, "has seen nothing");
      const { position } = await deposit(a, one, { sessionToken: token });
      const seen = a.service.advanceSession(token, position!);
      assert.equal((await read(seen)).output, 5, "the owner's");
      assert.equal((await read(token)).output, 0, "the earlier token knows nothing of it");
      a.followers.set("s1", follower({ ...copy, sequence: 1, balance: 5 }));
      assert.equal((await read(seen)).staleForMs, 10, "the copy has caught up");
      // Another session's positions are no good, nor is a changed one.
      const [first] = a.service.mintSession(tester).split(".");
      for (const forged of [
        `${first}.${seen.split(".")[1]}`,
        `${seen.slice(0, -1)}${seen.endsWith("A") ? "B" : "A"}`,
      ]) {
        assert.equal(await told(read(forged)), "malformed, never");
        assert.equal(await told(deposit(a, one, { sessionToken: forged })), "malformed, never");
      }
      // Of shards beyond those that a token names nothing is known.
      let full = seen;
      for (let i = 0; i <= rig.net.limits.sessionPositionsMax; i++) {
        full = a.service.advanceSession(full, {
          shard: `other-${i}`,
          incarnation: "bb".repeat(16),
          sequence: 2 ** 40 + i,
        });
      }
      assert((await read(full)).staleForMs === undefined, "from the owner");
      const longest = { tenant: "t".repeat(64), subject: "s".repeat(512), scopes: [] };
      let long = a.service.mintSession(longest);
      for (let i = 0; i <= rig.net.limits.sessionPositionsMax; i++) {
        const position = { shard: `shard-${1000 + i}`, incarnation: "bb".repeat(16), sequence: 2 ** 40 + i };
        long = a.service.advanceSession(long, position);
      }
      assert(long.length <= 4096, `a header takes it: ${long.length}`);
    }));

  test("that may be stale are answered by the nearest copy, another node's too", () =>
    ClusterRig.run("eventual", async (rig, a, b) => {
      const c = await rig.start("c");
      c.followers.set("s1", follower({ sequence: 9, staleForMs: 30, balance: 1 }));
      const shard = rig.state.shards.get("s1")!;
      rig.state = { ...rig.state, shards: new Map([...rig.state.shards, ["s1", { ...shard, followers: ["c"] }]]) };
      rig.tell();
      const eventual = () => balance(a, one, { read: "eventual" });
      assert.equal((await eventual()).staleForMs, undefined, "the owner is as near");
      rig.crash("b");
      assert(b.name === "b");
      const { output, staleForMs } = await eventual();
      assert.deepEqual([output, staleForMs], [1, 30]);
    }));
});

describe("transactions", () => {
  test("come to one home from every node, by request, key or entity", async () => {
    const system = bankSystem();
    const transfer = system.transactions.get("transfer")!;
    const handle = { definition: system.entities.get("account")! };
    const at = ({ to }: { to: string }) => ({ entity: handle, id: to });
    const located = { ...system, transactions: new Map([["transfer", { ...transfer, at: at as never }]]) };
    const homes = (chosen: typeof system, options: (a: ClusterNode, i: number) => object) => {
      const found: string[] = [];
      return ClusterRig.run(
        "homes",
        async (rig, a, b) => {
          // Without money it fails, at home.
          for (let i = 0; i < 8; i++) {
            const input = { from: "nobody", to: i % 2 === 0 ? zero : one, cents: 1 };
            const given = options(a, i);
            for (const node of [a, b]) {
              const before = [...rig.shards.values()].map(({ callCount }) => callCount);
              await node.service.transaction("transfer", input, { principal: tester, ...given }).catch(() => undefined);
              found.push([...rig.shards.values()].map(({ callCount }, s) => callCount - before[s]!).join(""));
            }
          }
        },
        { system: chosen },
      ).then(() => found);
    };
    const places = await homes(located, () => ({}));
    assert.deepEqual(
      places,
      Array.from({ length: 16 }, (_, i) => (i % 4 < 2 ? "10" : "01")),
    );
    for (const options of [
      (_: ClusterNode, i: number) => ({ idempotencyKey: `key-${i}` }),
      (a: ClusterNode, i: number) => ({ session: { ...numbered(a).session, number: i + 1 } }),
    ]) {
      const byRequest = await homes(system, options);
      for (let i = 0; i < 16; i += 2) assert.equal(byRequest[i], byRequest[i + 1]);
      assert.deepEqual([...new Set(byRequest)].sort(), ["01", "10"]);
    }
  });

  test("and affinities that loop are stopped, and fail alone", () => {
    const system = bankSystem();
    const definition = { ...system.entities.get("account")!, affinity: (id: string) => id.slice(0, 1) };
    const grouped = { ...system, entities: new Map([["account", definition]]) };
    return ClusterRig.run(
      "affinity",
      async (_rig, a) => {
        assert.equal((await deposit(a, "x1")).output, 5);
        a.host.guard.stopCall(1);
        assert.equal((await deposit(a, "x1")).output, 10, "tried once more");
        a.host.guard.stopCall(1);
        a.host.guard.stopCall(2);
        assert.equal(await told(deposit(a, "x1")), "command-too-slow, never");
        assert.equal((await deposit(a, "x1")).output, 15);
      },
      { system: grouped },
    );
  });
});

describe("reads over all shards", () => {
  test("list ids in order, page by page", () =>
    ClusterRig.run(
      "list",
      async (rig, a) => {
        rig.move("s2", "b");
        rig.move("s3", "a");
        const ids = Array.from({ length: 57 }, (_, i) => `x-${i}`).sort();
        for (const id of ids) await deposit(a, id);
        for (const limit of [1, 2, 10, 57, 100]) {
          const found: string[] = [];
          let cursor: string | undefined;
          do {
            const page = await a.service.list("account", {
              principal: tester,
              limit,
              ...(cursor === undefined ? {} : { cursor }),
            });
            assert(page.ids.length <= limit && page.ids.length > 0);
            found.push(...page.ids);
            cursor = page.cursor;
          } while (cursor !== undefined);
          assert.deepEqual(found, ids);
        }
        assert.equal(rig.shards.size, 4);
      },
      { shardCount: 4 },
    ));

  test("show every change once, each shard's in its order, and wait for the next", () =>
    ClusterRig.run("changes", async (rig, a) => {
      const options = { principal: tester };
      const { next: start, log, items } = await a.service.changes(options);
      assert.deepEqual([items, log], [[], "c1".repeat(16)]);
      for (let i = 0; i < 20; i++) await deposit(a, i % 3 === 0 ? zero : one);
      for (const limit of [1, 3, 50]) {
        const found: string[] = [];
        let after = start;
        for (let pages = 0; pages < 200 && found.length < 20; pages++) {
          const page = await a.service.changes({ ...options, after, limit });
          assert(page.items.length <= limit);
          found.push(...page.items.map(({ id, sequence }) => `${id} ${sequence}`));
          after = page.next;
        }
        const of = (id: string) => found.filter((change) => change.startsWith(`${id} `));
        assert.deepEqual(
          of(zero),
          Array.from({ length: 7 }, (_, i) => `${zero} ${i + 1}`),
        );
        assert.deepEqual(
          of(one),
          Array.from({ length: 13 }, (_, i) => `${one} ${i + 1}`),
        );
      }
      const { next } = await a.service.changes(options);
      const waiting = a.service.changes({ ...options, after: next, waitMs: 10_000 });
      await rig.net.sleep(1000);
      await deposit(a, one);
      assert.deepEqual(
        (await waiting).items.map(({ id }) => id),
        [one],
      );
      assert.equal(
        await told(a.service.changes({ ...options, after: "5" }).then(() => ({ output: 1 }))),
        "malformed, never",
      );
    }));
});

describe("watches", () => {
  test("hear of changes here and there, over changes of the owner, until they are cancelled", () =>
    ClusterRig.run("watches", async (rig, a) => {
      const heard = { [zero]: 0, [one]: 0 };
      const watches = [zero, one].map((id) => a.service.watch("default", account(id), () => heard[id]!++));
      assert.deepEqual(
        watches.map(({ log }) => log),
        ["log-s0", "log-s1"],
      );
      const hearsOf = async (id: string, change: () => unknown) => {
        const before = heard[id]!;
        await change();
        await rig.net.until(() => heard[id]! > before, 2000);
      };
      await hearsOf(one, () => undefined);
      await rig.net.until(() => heard[zero]! > 0);
      await hearsOf(zero, () => deposit(a, zero));
      await hearsOf(one, () => deposit(a, one));
      // An answer is lost: another feed begins, and tells what may have been missed.
      const cut = rig.net.network.obstruct({ kind: "cut", from: ["b"], to: ["a"] });
      const quiet = heard[one]!;
      rig.shards.get("s1")!.command(account(one), "deposit", { cents: 1 }, { principal: tester });
      await rig.net.sleep(200);
      assert.equal(heard[one], quiet);
      cut.clear();
      await rig.net.until(() => heard[one]! > quiet, 20_000);
      await hearsOf(one, () => rig.move("s1", "a"));
      await hearsOf(one, () => deposit(a, one));
      await hearsOf(one, () => rig.move("s1", "b"));
      await hearsOf(one, () => deposit(a, one));
      for (const watch of watches) watch.cancel();
      const last = { ...heard };
      await deposit(a, one);
      await rig.net.sleep(20_000);
      assert.deepEqual(heard, last);
      assert.equal(rig.shards.get("s1")!.watchCount, 0);
    }));
});

describe("a shard's neighbours", () => {
  test("are asked wherever they are, once; what is in doubt is told", () =>
    ClusterRig.run("neighbours", async (rig, a, b) => {
      const neighbours = a.service.neighboursOf("s0");
      assert.deepEqual([neighbours.isOwn(0), neighbours.isOwn(2047), neighbours.isOwn(2048)], [true, true, false]);
      const ask = (slot: number) =>
        neighbours.ask(slot, { type: "mail.deliver", body: { slot } }, { deadlineMs: 3000 });
      assert.deepEqual(await ask(3000), { by: "s1" });
      assert.deepEqual(await ask(5), { by: "s0" });
      assert.deepEqual(rig.shards.get("s1")!.asked, ['mail.deliver {"slot":3000}']);
      // Whom it reaches looks again, by slot.
      rig.serve("s1", undefined);
      await assert.rejects(
        b.peers.call("b:1", "shard.ask", { slot: 3000, type: "x", body: new Uint8Array([0xc0]) }, { deadlineMs: 100 }),
        (error) => {
          assert(error instanceof OnefoldError);
          assert.deepEqual([error.code, error.details], ["not-owner", { shard: "s1", member: "b", assignment: 1 }]);
          return true;
        },
      );
      const waiting = ask(3000);
      await rig.net.sleep(300);
      rig.serve("s1", "b");
      assert.deepEqual(await waiting, { by: "s1" });
      // One that is here and never answers.
      rig.shards.get("s0")!.answer = () => new Promise(() => undefined);
      assert.equal(await told(ask(5).then((output) => ({ output }))), "outcome-unknown, unknown");
      rig.net.network.obstruct({ kind: "cut", from: ["b"], to: ["a"] });
      assert.equal(await told(ask(3000).then((output) => ({ output }))), "outcome-unknown, unknown");
    }));
});

describe("a hint", () => {
  test("names the owner that the node knows, if any", () =>
    ClusterRig.run("hint", async (rig) => {
      assert.deepEqual(notOwner(rig.state, "s1", "x").details, { shard: "s1", member: "b", assignment: 1 });
      rig.assign("s1", undefined);
      assert.equal(notOwner(rig.state, "s1", "x").details, undefined);
    }));
});
