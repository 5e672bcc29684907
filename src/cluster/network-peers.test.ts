import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { OnefoldError, Refused } from "../base/errors.ts";
import { SeededRandom } from "../base/random.ts";
import type { Value } from "../base/value.ts";
import { type LinkBehaviour, reliableLink } from "../sim/link.ts";
import { type PeerNode, PeerNetwork } from "./peer-network.fixture.ts";

/** What became of a call: its answer, or the error's code and what it says about sending it again. */
async function outcome(call: Promise<Value>): Promise<Value> {
  try {
    return await call;
  } catch (error) {
    if (error instanceof OnefoldError) return `${error.code}, ${error.retry}`;
    if (error instanceof Refused) return `refused: ${error.code}`;
    throw error;
  }
}

const patient = { deadlineMs: 5_000 };

/** Two nodes; `b` answers `double`. */
async function pair(seed: string, limits = {}): Promise<{ net: PeerNetwork; a: PeerNode; b: PeerNode }> {
  const net = new PeerNetwork(seed, limits);
  const { a, b } = await net.run(async () => ({ a: await net.start("a"), b: await net.start("b") }));
  b.peers.handle("double", async (body) => (body as number) * 2);
  return { net, a, b };
}

describe("calls between nodes", () => {
  test("are answered by the handler of their method, also on the node itself", async () => {
    const { net, a, b } = await pair("answered");
    a.peers.handle("who", async (body, from) => ({ body, from: from.address }));
    await net.run(async () => {
      assert.equal(await a.peers.call("b:1", "double", 21, patient), 42);
      assert.deepEqual(await b.peers.call("a:1", "who", null, patient), { body: null, from: "b:1" });
      assert.deepEqual(await a.peers.call("a:1", "who", "x", patient), { body: "x", from: "a:1" });
    });
  });

  test("of one turn share a network message", async () => {
    const { net, a } = await pair("shared");
    await net.run(async () => {
      await a.peers.call("b:1", "double", 0, patient);
      const before = net.network.scheduler.notes.length;
      assert.equal(before, 0);
      let sentCount = 0;
      const counted = net.network.transmit.bind(net.network);
      net.network.transmit = (...sent) => {
        sentCount++;
        counted(...sent);
      };
      const calls = Array.from({ length: 500 }, (_, i) => a.peers.call("b:1", "double", i, patient));
      assert.deepEqual(
        await Promise.all(calls),
        calls.map((_, i) => 2 * i),
      );
      // One there; the handlers end in one turn, so one back.
      assert.equal(sentCount, 2);
    });
  });

  test("reject with what the handler threw, as it was", async () => {
    const { net, a, b } = await pair("failures");
    const details = { path: ["a", 1], at: new Date(5), big: 12n, bytes: new Uint8Array([1]) };
    const thrown: Error[] = [
      new OnefoldError("not-owner", "Not mine.", { details, retryAfterMs: 7 }),
      new OnefoldError("deadline-passed", "Late.", { retry: "safe" }),
      new Refused("insufficient-funds", details),
      new Refused("no"),
      new OnefoldError("invalid-input", "Has details that are no value.", { details: () => 1 }),
      new TypeError("a bug"),
    ];
    b.peers.handle("throw", async (body) => {
      throw thrown[body as number];
    });
    await net.run(async () => {
      const errors: unknown[] = [];
      for (let i = 0; i < thrown.length; i++) {
        await a.peers.call("b:1", "throw", i, patient).catch((error: unknown) => errors.push(error));
      }
      const facts = (error: unknown) => {
        if (error instanceof Refused) return { code: error.code, details: error.details };
        assert(error instanceof OnefoldError);
        const { code, message, retry, details: told, retryAfterMs } = error;
        return { code, message, retry, details: told, retryAfterMs };
      };
      assert.deepEqual(errors.slice(0, 4).map(facts), thrown.slice(0, 4).map(facts));
      const [withheld, bug] = errors.slice(4) as OnefoldError[];
      assert.deepEqual([withheld!.code, withheld!.details], ["invalid-input", undefined]);
      assert.deepEqual([bug!.code, bug!.retry], ["internal", "unknown"]);
      assert.deepEqual(
        net.traces.map(({ level }) => level),
        ["error"],
      );
    });
  });

  test("carry bodies up to the limit, and refuse larger ones on both ways", async () => {
    const { net, a, b } = await pair("large");
    b.peers.handle("bytes", async (count) => new Uint8Array(count as number));
    b.peers.handle("length", async (body) => (body as Uint8Array).length);
    const largest = net.limits.peerBodyBytesMax - 5;
    await net.run(async () => {
      assert.equal(await a.peers.call("b:1", "length", new Uint8Array(largest), patient), largest);
      assert.equal(((await a.peers.call("b:1", "bytes", largest, patient)) as Uint8Array).length, largest);
      const calls = [new Uint8Array(largest + 1), largest + 1].map((body, i) =>
        outcome(a.peers.call("b:1", i === 0 ? "length" : "bytes", body, patient)),
      );
      assert.deepEqual(await Promise.all(calls), ["too-large, never", "too-large, never"]);
    });
  });

  test("say what is known of their outcome", async () => {
    const { net, a, b } = await pair("outcomes");
    b.peers.handle("never", () => new Promise(() => undefined));
    const ask = (address: string, method: string, deadlineMs: number) =>
      outcome(a.peers.call(address, method, 1, { deadlineMs }));
    await net.run(async () => {
      assert.equal(await ask("b:1", "unheard-of", 100), "not-ready, safe");
      assert.equal(await ask("b:1", "never", 100), "outcome-unknown, unknown");
      // Nobody is there: it never came to sending the request.
      assert.equal(await ask("c:1", "double", 100), "unavailable, safe");
      assert.equal(await ask("no address", "double", 100), "unavailable, safe");
      // The answer is lost.
      const cut = net.network.obstruct({ kind: "cut", from: ["b"], to: ["a"] });
      assert.equal(await ask("b:1", "double", 100), "outcome-unknown, unknown");
      cut.clear();
      const closing = ask("b:1", "never", 100);
      await net.sleep(10);
      await a.peers.close();
      assert.equal(await closing, "outcome-unknown, unknown");
      assert.equal(await ask("b:1", "double", 100), "unavailable, safe");
    });
  });

  test("learn before their deadline that the node was restarted", async () => {
    const { net, a, b } = await pair("restart");
    b.peers.handle("never", () => new Promise(() => undefined));
    await net.run(async () => {
      const lost = outcome(a.peers.call("b:1", "never", 1, { deadlineMs: 60_000 }));
      await net.sleep(10);
      net.crash("b");
      const next = await net.start("b");
      next.peers.handle("double", async (body) => (body as number) * 2);
      // The first one is sent to the life that is over.
      const began = net.scheduler.nowMs;
      assert.equal(await outcome(a.peers.call("b:1", "double", 1, { deadlineMs: 60_000 })), "outcome-unknown, unknown");
      assert.equal(await lost, "outcome-unknown, unknown");
      assert(net.scheduler.nowMs - began < 100);
      assert.equal(await a.peers.call("b:1", "double", 1, patient), 2);
    });
  });

  test("are bounded in number and bytes, by the asker and by the one who is asked", async () => {
    const { net, a, b } = await pair("bounds", { peerCallsMax: 3, peerCallBytesMax: 3000 });
    const release: (() => void)[] = [];
    b.peers.handle("wait", () => new Promise((resolve) => release.push(() => resolve(null))));
    await net.run(async () => {
      const open = Array.from({ length: 3 }, () => a.peers.call("b:1", "wait", null, patient));
      assert.equal(await outcome(a.peers.call("b:1", "wait", null, patient)), "overloaded, safe");
      await net.until(() => release.length === 3);
      for (const each of release) each();
      await Promise.all(open);
      assert.equal(await outcome(a.peers.call("b:1", "wait", new Uint8Array(3000), patient)), "overloaded, safe");
      // The asker gives up; the one who is asked goes on, and takes no more.
      release.length = 0;
      const givenUp = Array.from({ length: 3 }, () => outcome(a.peers.call("b:1", "wait", null, { deadlineMs: 50 })));
      assert.deepEqual(await Promise.all(givenUp), Array(3).fill("outcome-unknown, unknown"));
      assert.equal(await outcome(a.peers.call("b:1", "double", 1, patient)), "overloaded, safe");
      for (const each of release) each();
      await net.until(() => release.length === 3);
      await net.sleep(10);
      assert.equal(await a.peers.call("b:1", "double", 1, patient), 2);
    });
  });

  test("get their answers once a clogged way is clear", async () => {
    const { net, a, b } = await pair("clog", { networkQueueBytesMax: 2_100_000 });
    b.peers.handle("bytes", async (count) => new Uint8Array(count as number));
    await net.run(async () => {
      await a.peers.call("b:1", "bytes", 1, patient);
      const clog = net.network.obstruct({ kind: "clog", from: ["b"], to: ["a"] });
      const calls = Array.from({ length: 6 }, () => a.peers.call("b:1", "bytes", 700_000, patient));
      await net.sleep(1000);
      clog.clear();
      for (const call of calls) assert.equal(((await call) as Uint8Array).length, 700_000);
    });
  });

  test("do not stumble over bytes that are no frame", async () => {
    const { net, a } = await pair("garbage");
    const random = new SeededRandom("garbage");
    await net.run(async () => {
      const stranger = await net.start("c");
      const endpoint = await stranger.host.network.listen("c:2", () => undefined);
      for (let length = 0; length < 60; length++) endpoint.send("b:1", random.bytes(length));
      assert.equal(await a.peers.call("b:1", "double", 4, patient), 8);
    });
    assert.equal(net.traces.length, 60);
  });
});

/** One random history of calls under faults, with what came of each call. */
async function history(seed: number) {
  const net = new PeerNetwork(`history-${seed}`);
  const random = net.random.fork("workload");
  /** How often each call was handled, in whichever life. */
  const handled = new Map<number, number>();
  const outcomes = new Map<number, Value>();
  const names = ["a", "b", "c"];
  const alive = new Map<string, PeerNode>();
  const start = async (name: string): Promise<void> => {
    const node = await net.start(name);
    node.peers.handle("echo", async (body) => {
      const number = body as number;
      handled.set(number, (handled.get(number) ?? 0) + 1);
      if (random.chance(0.3)) await net.sleep(random.next() * 50);
      if (number % 7 === 0) throw new Refused("seventh", number);
      return number;
    });
    alive.set(name, node);
  };
  const faults: LinkBehaviour = {
    ...reliableLink,
    loss: random.pick([0, 0.05]),
    duplication: random.pick([0, 0.2]),
    reordering: random.pick([0, 0.2]),
    lateness: random.pick([0, 0.05]),
    latenessMsMax: 300,
  };
  await net.run(async () => {
    for (const name of names) await start(name);
    net.network.behaviour = faults;
    const calls: Promise<void>[] = [];
    for (let number = 1; number <= 120; number++) {
      const asker = alive.get(random.pick(names));
      if (asker !== undefined) {
        const deadlineMs = random.pick([20, 200, 1000]);
        const call = outcome(asker.peers.call(`${random.pick(names)}:1`, "echo", number, { deadlineMs }));
        calls.push(call.then((value) => void outcomes.set(number, value)));
      }
      if (random.chance(0.05)) {
        const name = random.pick(names);
        net.crash(name);
        alive.delete(name);
        await net.sleep(random.next() * 20);
        await start(name);
      }
      if (random.chance(0.6)) await net.sleep(random.next() * 20);
    }
    // Calls of a life that is over never settle.
    await net.sleep(2000);
    net.network.heal();
    const [a] = [alive.get("a")!];
    for (const name of names) {
      // The first may go to a life that is over.
      await outcome(a.peers.call(`${name}:1`, "echo", 1_000, patient));
      assert.equal(await a.peers.call(`${name}:1`, "echo", 2_000, patient), 2_000, "healed, it answers");
    }
    // Everything that can still arrive has arrived.
    await net.sleep(5000);
  });
  return { handled, outcomes };
}

describe("calls between nodes on a faulty network, over many histories,", () => {
  test("are handled at most once, and said to be undone only if they are (PE1, PE2)", async () => {
    const seen = new Map<string, number>();
    for (let seed = 0; seed < 80; seed++) {
      const { handled, outcomes } = await history(seed);
      for (const [number, value] of outcomes) {
        const count = handled.get(number) ?? 0;
        const told = typeof value === "number" ? "answered" : String(value);
        seen.set(told, (seen.get(told) ?? 0) + 1);
        const where = `seed ${seed}, call ${number}: ${told}, handled ${count} times`;
        assert(count <= 1, where);
        if (value === number || told === "refused: seventh") assert.equal(count, 1, where);
        else if (told.endsWith("safe")) assert.equal(count, 0, where);
        else assert.equal(told, "outcome-unknown, unknown", where);
      }
    }
    // A history in which nothing goes wrong, or nothing right, shows nothing.
    for (const told of ["answered", "refused: seventh", "outcome-unknown, unknown", "unavailable, safe"]) {
      assert((seen.get(told) ?? 0) > 50, `${told}: ${seen.get(told)} times`);
    }
  });
});
