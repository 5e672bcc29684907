import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { SeededRandom } from "../base/random.ts";
import type { Endpoint, Network } from "../host/network.ts";
import { networkSuite } from "../host/network.suite.ts";
import { SimulatedNode } from "./host.ts";
import { crashMoments } from "./life.ts";
import { reliableLink } from "./link.ts";
import { SimulatedNetwork } from "./network.ts";
import { Scheduler } from "./scheduler.ts";

/** A number as a message. */
function encode(number: number): Uint8Array {
  return new Uint8Array([number >>> 24, number >>> 16, number >>> 8, number]);
}

function decode(bytes: Uint8Array): number {
  return new DataView(bytes.buffer, bytes.byteOffset).getUint32(0);
}

const names = ["a", "b", "c"] as const;
type Name = (typeof names)[number];

/** Three nodes on one network, each listening on port 1 and keeping what it receives as text: `a 7` is 7, sent by a. */
class Trio {
  readonly scheduler = new Scheduler();
  readonly network: SimulatedNetwork;
  readonly nodes: Readonly<Record<Name, SimulatedNode>>;
  readonly received: Record<Name, string[]> = { a: [], b: [], c: [] };
  readonly endpoints: Partial<Record<Name, Endpoint>> = {};

  constructor(seed: string | number) {
    const random = new SeededRandom(seed);
    const { scheduler } = this;
    const limits = { networkQueueBytesMax: 100_000, networkMessageBytesMax: 10_000 };
    this.network = new SimulatedNetwork({ scheduler, random: random.fork("network"), limits });
    const node = (name: Name) =>
      new SimulatedNode({
        scheduler,
        random: random.fork(name),
        name,
        network: this.network,
        counts: this.network.counts,
      });
    this.nodes = { a: node("a"), b: node("b"), c: node("c") };
  }

  /** Begins a life and listens. */
  start(name: Name): Promise<void> {
    return this.listen(name, this.nodes[name].start().network);
  }

  async listen(name: Name, network: Network): Promise<void> {
    this.endpoints[name] = await network.listen(`${name}:1`, (bytes, from) => {
      this.received[name].push(`${from.slice(0, 1)} ${decode(bytes)}`);
    });
  }

  send(from: Name, to: Name, number: number): void {
    this.endpoints[from]!.send(`${to}:1`, encode(number));
  }

  count(kind: Parameters<SimulatedNetwork["counts"]["get"]>[0]): number {
    return this.network.counts.get(kind);
  }

  async until(ms: number): Promise<void> {
    await this.scheduler.run({ untilMs: ms });
  }
}

async function started(seed: string | number): Promise<Trio> {
  const trio = new Trio(seed);
  await trio.scheduler.complete(Promise.all(names.map((name) => trio.start(name))));
  return trio;
}

const numbers = (from: Name, first: number, last: number) =>
  Array.from({ length: last - first + 1 }, (_, i) => `${from} ${first + i}`);
const seeds = Array.from({ length: 100 }, (_, seed) => seed);

networkSuite("simulated", () => {
  const scheduler = new Scheduler();
  const random = new SeededRandom("suite");
  const bounds = { messageBytesMax: 100_000, queueBytesMax: 1_500_000 };
  const limits = { networkMessageBytesMax: bounds.messageBytesMax, networkQueueBytesMax: bounds.queueBytesMax };
  const network = new SimulatedNetwork({ scheduler, random, limits });
  const [one, other] = ["one.example", "other.example"].map((name) => {
    const host = new SimulatedNode({ scheduler, random: random.fork(name), name, network }).start();
    return { network: host.network, host: name, timers: host.timers };
  });
  return { nodes: [one!, other!], bounds, timers: one!.timers, run: (body) => scheduler.complete(body()) };
});

describe("the simulated network", () => {
  test("does the same for the same seed, and something else for another", async () => {
    const hash = async (seed: number) => {
      const trio = await started(seed);
      trio.network.behaviour = { ...reliableLink, loss: 0.2, duplication: 0.2, reordering: 0.2, lateness: 0.2 };
      for (let i = 0; i < 50; i++) trio.send("a", "b", i);
      await trio.scheduler.run();
      return trio.scheduler.traceHash;
    };
    assert.equal(await hash(1), await hash(1));
    assert.notEqual(await hash(1), await hash(2));
  });

  test("loses, repeats and delays as often as it was told, and counts each", async () => {
    const trio = await started("rates");
    const sentCount = 1000;
    trio.network.behaviour = { ...reliableLink, loss: 0.3 };
    for (let i = 0; i < sentCount; i++) trio.send("a", "b", i);
    await trio.scheduler.run();
    assert.equal(trio.received.b.length, sentCount - trio.count("lost-message"));
    assert(trio.count("lost-message") > 200 && trio.count("lost-message") < 400);
    assert.equal(new Set(trio.received.b).size, trio.received.b.length);

    trio.network.behaviour = { ...reliableLink, duplication: 0.3 };
    for (let i = 0; i < sentCount; i++) trio.send("a", "c", i);
    await trio.scheduler.run();
    assert.equal(trio.received.c.length, sentCount + trio.count("duplicated-message"));
    assert(trio.count("duplicated-message") > 200 && trio.count("duplicated-message") < 400);
    assert.equal(new Set(trio.received.c).size, sentCount);

    trio.network.behaviour = { ...reliableLink, lateness: 0.1, latenessMsMax: 10_000 };
    const startMs = trio.scheduler.nowMs;
    for (let i = 0; i < 100; i++) trio.send("b", "c", i);
    await trio.scheduler.run();
    assert(trio.count("delayed-message") > 2);
    assert(trio.scheduler.nowMs - startMs > 1000);
    assert.deepEqual(trio.received.c.slice(-100), numbers("b", 0, 99));
    assert.equal(trio.count("reordered-message"), 0);
  });

  test("gives each copy of a message memory of its own", async () => {
    const trio = await started("copies");
    trio.network.behaviour = { ...reliableLink, duplication: 1 };
    const received: number[] = [];
    trio.nodes.a.crash();
    const endpoint = await trio.scheduler.complete(
      trio.nodes.a.start().network.listen("a:2", (bytes) => {
        received.push(decode(bytes));
        bytes.fill(0);
      }),
    );
    endpoint.send("a:2", encode(7));
    trio.endpoints.b!.send("a:2", encode(8));
    await trio.scheduler.run();
    assert.deepEqual(received.sort(), [7, 8, 8]);
  });

  test("gives nothing to an endpoint that is closing (N4)", async () => {
    for (const seed of seeds) {
      const trio = await started(seed);
      for (let i = 0; i < 100; i++) trio.send("a", "b", i);
      await trio.until(0.5);
      void trio.endpoints.b!.close();
      const receivedCount = trio.received.b.length;
      await trio.scheduler.run();
      assert.equal(trio.received.b.length, receivedCount);
    }
  });

  test("reorders, losing and repeating nothing", async () => {
    const trio = await started("order");
    trio.network.behaviour = { ...reliableLink, reordering: 0.2 };
    for (let i = 0; i < 200; i++) trio.send("a", "b", i);
    await trio.scheduler.run();
    assert.notDeepEqual(trio.received.b, numbers("a", 0, 199));
    assert.deepEqual(new Set(trio.received.b), new Set(numbers("a", 0, 199)));
    assert.equal(trio.received.b.length, 200);
    assert(trio.count("reordered-message") > 20);
  });

  test("gives a link a behaviour of its own, in its direction alone, until it is healed", async () => {
    const trio = await started("link");
    trio.network.behave({ from: "a", to: "b" }, { ...reliableLink, loss: 1 });
    trio.send("a", "b", 1);
    trio.send("b", "a", 1);
    trio.send("a", "c", 1);
    trio.send("c", "b", 1);
    await trio.scheduler.run();
    assert.deepEqual(trio.received, { a: ["b 1"], b: ["c 1"], c: ["a 1"] });
    trio.network.heal();
    trio.send("a", "b", 2);
    await trio.scheduler.run();
    assert.deepEqual(trio.received.b, ["c 1", "a 2"]);
  });

  test("spares what a node sends to itself", async () => {
    const trio = await started("self");
    trio.network.behaviour = { ...reliableLink, loss: 1 };
    trio.network.obstruct({ kind: "cut", from: ["a"], to: ["a", "b", "c"], isBothWays: true });
    trio.send("a", "a", 1);
    await trio.scheduler.run();
    assert.deepEqual(trio.received.a, ["a 1"]);
  });
});

describe("cuts and clogs of the simulated network", () => {
  const everyWay = (trio: Trio, number: number) => {
    for (const from of names) for (const to of names) if (from !== to) trio.send(from, to, number);
  };

  test("part a side from all others, both ways, until they are cleared", async () => {
    const trio = await started("partition");
    const obstacle = trio.network.obstruct({ kind: "cut", from: ["a"], isBothWays: true });
    everyWay(trio, 1);
    await trio.scheduler.run();
    assert.deepEqual(trio.received, { a: [], b: ["c 1"], c: ["b 1"] });
    assert.equal(trio.count("cut-message"), 4);
    obstacle.clear();
    obstacle.clear();
    everyWay(trio, 2);
    await trio.scheduler.run();
    assert.deepEqual([...trio.received.a].sort(), ["b 2", "c 2"]);
  });

  test("go one way, and between chosen nodes, where they are told to", async () => {
    const trio = await started("one-way");
    const out = trio.network.obstruct({ kind: "cut", from: ["a"] });
    everyWay(trio, 1);
    await trio.scheduler.run();
    assert.deepEqual([trio.received.a.length, trio.received.b, trio.received.c], [2, ["c 1"], ["b 1"]]);
    out.clear();
    trio.network.obstruct({ kind: "cut", from: ["b"], to: ["c"] });
    everyWay(trio, 2);
    await trio.scheduler.run();
    assert.deepEqual([...trio.received.b].sort(), ["a 2", "c 1", "c 2"]);
    assert.deepEqual([...trio.received.c].sort(), ["a 2", "b 1"]);
  });

  test("leave the nodes of one side together", async () => {
    const trio = await started("side");
    trio.network.obstruct({ kind: "cut", from: ["a", "b"], isBothWays: true });
    everyWay(trio, 1);
    await trio.scheduler.run();
    assert.deepEqual(trio.received, { a: ["b 1"], b: ["a 1"], c: [] });
  });

  test("lie over one another: each has to be cleared, and a cut prevails over a clog", async () => {
    const trio = await started("layers");
    const clog = trio.network.obstruct({ kind: "clog", from: ["a"] });
    const cut = trio.network.obstruct({ kind: "cut", from: ["a"], to: ["b"] });
    const laterClog = trio.network.obstruct({ kind: "clog", from: ["a"] });
    everyWay(trio, 1);
    await trio.scheduler.run();
    cut.clear();
    laterClog.clear();
    everyWay(trio, 2);
    await trio.scheduler.run();
    assert.deepEqual(trio.received.b, ["c 1", "c 2"]);
    clog.clear();
    await trio.scheduler.run();
    assert.deepEqual(trio.received.b, ["c 1", "c 2", "a 2"]);
    assert.deepEqual(trio.received.c.slice(-2), ["a 1", "a 2"]);
  });

  test("a cut loses also what was under way when it came (W2)", async () => {
    const trio = await started("under way");
    trio.send("a", "b", 1);
    trio.network.obstruct({ kind: "cut", from: ["b"], isBothWays: true });
    await trio.scheduler.run();
    assert.deepEqual([trio.received.b, trio.count("cut-message")], [[], 1]);
  });

  test("a clog holds messages and lets them go in order, late ones and later ones (W2)", async () => {
    const trio = await started("clog");
    trio.network.obstruct({ kind: "clog", from: ["a"] });
    for (let i = 0; i < 20; i++) trio.send("a", "b", i);
    await trio.until(1_000_000);
    assert.deepEqual([trio.received.b, trio.network.underWayCount, trio.count("clogged-message")], [[], 20, 20]);
    trio.network.heal();
    for (let i = 20; i < 40; i++) trio.send("a", "b", i);
    await trio.scheduler.run();
    assert.deepEqual(trio.received.b, numbers("a", 0, 39));
    assert.equal(trio.network.underWayCount, 0);
  });

  test("a clogged peer becomes full, and has room again once it was given up (N3)", async () => {
    const trio = await started("full");
    trio.network.obstruct({ kind: "clog", from: ["a"], to: ["b"] });
    const message = new Uint8Array(9000);
    const fill = () => {
      for (;;) trio.endpoints.a!.send("b:1", message);
    };
    assert.throws(fill, { code: "full" });
    const heldCount = trio.network.underWayCount;
    await trio.until(trio.scheduler.nowMs + trio.network.limits.networkAnswerMs - 1);
    assert.throws(fill, { code: "full" });
    assert.equal(trio.network.underWayCount, heldCount);
    await trio.until(trio.scheduler.nowMs + 2);
    assert.throws(fill, { code: "full" });
    assert.equal(trio.network.underWayCount, 2 * heldCount);
    trio.network.heal();
    await trio.scheduler.run();
    assert.equal(trio.received.b.length, 2 * heldCount);
    assert.throws(fill, { code: "full" });
    assert.equal(trio.network.underWayCount, heldCount);
  });

  test("healing ends a swizzle, also the part that is to come", async () => {
    const trio = await started("heal");
    trio.network.swizzle(names, 1000);
    trio.network.heal();
    await trio.until(trio.scheduler.nowMs + 500);
    everyWay(trio, 1);
    await trio.until(trio.scheduler.nowMs + 2);
    for (const name of names) assert.equal(trio.received[name].length, 2);
    assert.equal(trio.count("clogged-message"), 0);
  });

  test("swizzling clogs every node for a while, and leaves no clog behind", async () => {
    for (const seed of seeds.slice(0, 20)) {
      const trio = await started(seed);
      const startMs = trio.scheduler.nowMs;
      trio.network.swizzle(names, 1000);
      for (let i = 0; i < 100; i++) {
        everyWay(trio, i);
        await trio.until(startMs + (i + 1) * 10);
      }
      assert(trio.count("clogged-message") > 50, `seed ${seed}`);
      await trio.scheduler.run();
      assert(trio.scheduler.nowMs <= startMs + 1010);
      for (const name of names) assert.equal(trio.received[name].length, 200, `seed ${seed}`);
    }
  });
});

describe("a node that crashes or pauses on the simulated network", () => {
  test("loses nothing, some or all of what is under way from and to it, and nothing of others (W3)", async () => {
    const seen = { all: 0, some: 0, none: 0 };
    for (const seed of seeds) {
      const trio = await started(seed);
      for (let i = 0; i < 10; i++) {
        trio.send("a", "b", i);
        trio.send("c", "b", i);
      }
      trio.nodes.a.crash();
      trio.send("a", "b", 99);
      await trio.scheduler.run();
      const fromDead = trio.received.b.filter((text) => text.startsWith("a"));
      assert.deepEqual(
        trio.received.b.filter((text) => text.startsWith("c")),
        numbers("c", 0, 9),
      );
      assert(!fromDead.includes("a 99"));
      assert.equal(fromDead.length, 10 - trio.count("lost-message"));
      seen[fromDead.length === 10 ? "all" : fromDead.length === 0 ? "none" : "some"]++;
    }
    assert(seen.all > 10 && seen.some > 10 && seen.none > 10, JSON.stringify(seen));
  });

  test("gives its next life what was late for the one before, at least at some seed (W3)", async () => {
    let lateCount = 0;
    for (const seed of seeds) {
      const trio = await started(seed);
      trio.network.obstruct({ kind: "clog", from: ["a"] });
      trio.send("a", "b", 1);
      await trio.until(100);
      trio.nodes.b.crash();
      const restart = trio.start("b");
      await trio.scheduler.complete(restart);
      trio.network.heal();
      await trio.scheduler.run();
      lateCount += trio.received.b.length;
    }
    assert(lateCount > 20 && lateCount < 80, `${lateCount}`);
  });

  test("is reached by nothing while it is down", async () => {
    const trio = await started("down");
    trio.nodes.b.crash();
    trio.send("a", "b", 1);
    await trio.scheduler.run();
    await trio.scheduler.complete(trio.start("b"));
    trio.send("a", "b", 2);
    await trio.scheduler.run();
    assert.deepEqual(trio.received.b, ["a 2"]);
  });

  test("takes no step while it is paused, and all of them afterwards, in order", async () => {
    const trio = await started("pause");
    const { b } = trio.nodes;
    b.crash();
    const host = b.start();
    const log: string[] = [];
    trio.received.b = log;
    await trio.scheduler.complete(trio.listen("b", host.network));
    host.timers.after(10, () => log.push("timer"));
    const cancelled = host.timers.after(11, () => log.push("cancelled"));
    void host.disk.makeDirectory("d").then(() => log.push("disk"));
    b.pause();
    b.pause();
    trio.send("a", "b", 1);
    await trio.until(500);
    trio.send("a", "b", 2);
    await trio.until(1000);
    assert.equal(log.length, 0);
    assert.equal(trio.count("pause"), 1);
    assert(host.clock.monotonicMs() >= 1000);
    cancelled.cancel();
    b.resume();
    b.pause();
    await trio.until(1100);
    assert.equal(log.length, 0);
    b.resume();
    b.resume();
    assert.equal(log.length, 0);
    await trio.scheduler.run();
    assert.deepEqual([...log].sort(), ["a 1", "a 2", "disk", "timer"]);
    assert.equal(log.at(-1), "a 2");
    host.timers.soon(() => log.push("goes on"));
    await trio.scheduler.run();
    assert.equal(log.at(-1), "goes on");
    b.pause();
    b.crash();
    assert.equal(host.life.paused, false);
    b.resume();
    b.pause();
    assert.equal(trio.count("pause"), 3);
  });

  test("loses what it received during a pause that ends in a crash (W3), though not what a dead peer had sent before", async () => {
    for (const seed of seeds.slice(0, 30)) {
      const trio = await started(seed);
      trio.nodes.b.pause();
      trio.nodes.c.pause();
      trio.send("a", "b", 1);
      trio.send("a", "c", 1);
      await trio.until(100);
      trio.nodes.a.crash();
      trio.nodes.b.crash();
      await trio.scheduler.complete(trio.start("b"));
      trio.nodes.c.resume();
      await trio.scheduler.run();
      assert.deepEqual([trio.received.b, trio.received.c], [[], ["a 1"]], `seed ${seed}`);
      assert.equal(trio.network.underWayCount, 0);
    }
  });

  test("can crash at every one of its operations, before, during and after it, and is heard of accordingly", async () => {
    for (const moment of crashMoments) {
      const outcomes: string[] = [];
      for (let operation = 1; operation <= 4; operation++) {
        const trio = new Trio(operation);
        await trio.scheduler.complete(Promise.all([trio.start("a"), trio.start("c")]));
        const { b } = trio.nodes;
        const host = b.start();
        b.crashAt(operation, { moment });
        const heard: string[] = [];
        // Its operations: listen, send, receive, close.
        void host.network
          .listen("b:1", (bytes) => {
            heard.push(`received ${decode(bytes)}`);
            void endpoint?.close().then(() => heard.push("closed"));
          })
          .then((opened) => {
            endpoint = opened;
            opened.send("a:1", encode(1));
          });
        let endpoint: Endpoint | undefined;
        await trio.until(50);
        trio.send("c", "b", 2);
        await trio.scheduler.run();
        assert.equal(b.alive, false);
        outcomes.push([trio.received.a.length === 1 ? "sent" : "-", ...heard].join(" "));
      }
      const sent = moment === "after" ? ["sent"] : ["-", "sent"];
      assert.equal(outcomes[0], "-");
      assert(moment === "before" ? outcomes[1] === "-" : sent.includes(outcomes[1]!), outcomes[1]);
      assert.equal(outcomes[2], moment === "after" ? "sent received 2" : "sent");
      assert.equal(outcomes[3], "sent received 2");
    }
  });
});

test("a request that is repeated until it is answered gets its answer, whatever happened, once all is healed", async () => {
  for (const seed of seeds) {
    const trio = await started(seed);
    const random = new SeededRandom(seed).fork("plan");
    const { scheduler, network } = trio;
    const rate = () => random.pick([0, 0, 0.1, 0.5]);
    network.behaviour = { ...reliableLink, loss: rate(), duplication: rate(), reordering: rate(), lateness: rate() };
    // b answers each number with its double; it keeps nothing, so each life of it can.
    const serve = async () => {
      const endpoint: Endpoint = await trio.nodes.b.start().network.listen("b:2", (bytes, from) => {
        endpoint.send(from, encode(2 * decode(bytes)));
      });
    };
    trio.nodes.b.crash();
    await scheduler.complete(serve());
    for (let i = 0; i < 10; i++) {
      scheduler.at(random.next() * 1000, () => {
        const { b } = trio.nodes;
        const what = random.integer(5);
        if (what === 0) b.pause();
        else if (what === 1) b.resume();
        else if (what === 2) network.swizzle(random.shuffle(names).slice(0, 2), 300);
        else if (what === 3)
          network.obstruct({ kind: "cut", from: [random.pick(names)], isBothWays: random.chance(0.5) });
        else {
          b.crash();
          void serve();
        }
      });
    }
    scheduler.at(1000, () => {
      network.heal();
      trio.nodes.b.resume();
    });
    const missing = new Set(Array.from({ length: 20 }, (_, i) => i));
    const client = trio.nodes.c;
    client.crash();
    const host = client.start();
    const asker = await scheduler.complete(
      host.network.listen("c:2", (bytes, from) => {
        assert.equal(from, "b:2");
        const number = decode(bytes) / 2;
        assert(Number.isInteger(number) && number < 20);
        missing.delete(number);
      }),
    );
    const ask = () => {
      for (const number of missing) asker.send("b:2", encode(number));
      if (missing.size > 0) host.timers.after(50, ask);
    };
    ask();
    await scheduler.run({ untilMs: 3000 });
    assert.equal(missing.size, 0, `seed ${seed}: ${network.counts}`);
  }
});
