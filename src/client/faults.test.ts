/** A client whose connections break at every possible moment: no call is lost and none takes hold twice. */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { SeededRandom } from "../base/random.ts";
import type { bank } from "./bank.fixture.ts";
import { connectOn } from "./connect.ts";
import { type TestNode, testNode } from "./gateway.fixture.ts";
import type { ClientPlatform, ClientSocket, SocketListener } from "./platform.ts";
import { nodePlatform } from "./platform/node.ts";

/** Sockets that break: before or behind a frame, in either direction; a frame sent before a break may have arrived or not. */
function breaking(random: () => number, probability: number): { readonly platform: ClientPlatform; breaks: number } {
  const real = nodePlatform();
  const facts = { breaks: 0 };
  const openSocket = (
    url: string,
    protocol: string,
    headers: Readonly<Record<string, string>>,
    listener: SocketListener,
  ): ClientSocket => {
    let isBroken = false;
    const tell: SocketListener = {
      opened: () => isBroken || listener.opened(),
      frame: (bytes) => {
        if (isBroken) return;
        const fate = random();
        if (fate < probability / 2) return breakIt();
        listener.frame(bytes);
        if (fate < probability) breakIt();
      },
      closed: (code, reason) => {
        if (!isBroken) listener.closed(code, reason);
      },
    };
    const socket = real.openSocket!(url, protocol, headers, tell);
    const breakIt = (): void => {
      if (isBroken) return;
      isBroken = true;
      facts.breaks++;
      socket.close();
      // As a platform tells it: in a turn of its own.
      setImmediate(() => listener.closed(1006, ""));
    };
    return {
      send: (frame) => {
        if (isBroken) return;
        const fate = random();
        if (fate < probability / 2) return breakIt();
        socket.send(frame);
        if (fate < probability) breakIt();
      },
      close: () => socket.close(),
    };
  };
  return Object.assign(facts, { platform: { ...real, random, openSocket } });
}

describe("a client whose connections break", { timeout: 60_000 }, () => {
  let server: TestNode;
  before(async () => {
    server = await testNode();
  });
  after(() => server.close());

  for (const seed of [1, 2]) {
    test(`loses no call and doubles none (seed ${seed})`, async () => {
      const random = new SeededRandom(`broken-${seed}`);
      const broken = breaking(() => random.next(), 0.2);
      const client = connectOn<typeof bank>(broken.platform, server.url, { transport: "socket" });
      const ids = Array.from({ length: 5 }, (_, index) => `broken-${seed}-${index}`);
      const outputs = new Map<string, number[]>(ids.map((id) => [id, []]));
      let left = 300;
      const caller = async (): Promise<void> => {
        while (left-- > 0) {
          const id = ids[Math.floor(random.next() * ids.length)]!;
          outputs.get(id)!.push(await client.account(id).deposit({ cents: 1 }));
        }
      };
      await Promise.all(Array.from({ length: 16 }, caller));
      for (const [id, balances] of outputs) {
        // Each deposit was answered with a balance of its own, and there are no others.
        const sorted = balances.toSorted((a, b) => a - b);
        assert.deepEqual(
          sorted,
          Array.from({ length: balances.length }, (_, index) => index + 1),
        );
        assert.equal(await client.account(id).balance(), balances.length);
      }
      assert.ok(broken.breaks > 10, `only ${broken.breaks} breaks`);
      client.$close();
    });

    test(`misses no last value of a subscription (seed ${seed})`, async () => {
      const random = new SeededRandom(`watched-${seed}`);
      const broken = breaking(() => random.next(), 0.2);
      const watcher = connectOn<typeof bank>(broken.platform, server.url, { transport: "socket" });
      const writer = connectOn<typeof bank>(nodePlatform(), server.url, { transport: "socket" });
      const id = `watched-${seed}`;
      let last = -1;
      let lastSequence = -1;
      const watching = (async () => {
        for await (const { value, sequence } of watcher.account(id).$watch("balance").changes) {
          assert.ok(value >= last, `${value} after ${last}`);
          assert.ok(sequence >= lastSequence);
          last = value;
          lastSequence = sequence;
          if (value === 200) return;
        }
      })();
      for (let i = 0; i < 200; i++) await writer.account(id).deposit({ cents: 1 });
      await watching;
      assert.equal(last, 200);
      watcher.$close();
      writer.$close();
    });
  }

  test("goes on when the gateway is cut and comes back, again and again", async () => {
    const client = connectOn<typeof bank>(nodePlatform(), server.url, {});
    const id = "cut";
    let isOver = false;
    const outputs: number[] = [];
    const caller = async (): Promise<void> => {
      while (!isOver) outputs.push(await client.account(id).deposit({ cents: 1 }));
    };
    const callers = Promise.all(Array.from({ length: 8 }, caller));
    for (let round = 0; round < 6; round++) {
      const before = outputs.length;
      while (outputs.length < before + 20) await client.account(id).balance();
      await server.cut();
      await server.resume();
    }
    isOver = true;
    await callers;
    assert.deepEqual(
      outputs.toSorted((a, b) => a - b),
      Array.from({ length: outputs.length }, (_, index) => index + 1),
    );
    client.$close();
  });

  test("over HTTP too sends again what was not answered, once in effect, and without numbers tells that it is unknown", async () => {
    const real = nodePlatform();
    let requests = 0;
    // Every second exchange arrives, and its answer does not.
    const request: ClientPlatform["request"] = async (exchange) => {
      const reply = await real.request(exchange);
      if (++requests % 2 === 0) throw new TypeError("the network failed");
      return reply;
    };
    const numbered = connectOn<typeof bank>({ ...real, request }, server.url, { transport: "http" });
    for (let i = 1; i <= 10; i++) assert.equal(await numbered.account("http").deposit({ cents: 1 }), i);
    const unnumbered = connectOn<typeof bank>({ ...real, request }, server.url, {
      transport: "http",
      exactlyOnce: false,
    });
    requests = 1;
    await assert.rejects(unnumbered.account("http").deposit({ cents: 1 }), {
      code: "outcome-unknown",
      retry: "unknown",
    });
    assert.equal(await numbered.account("http").balance(), 11);
    numbered.$close();
    unnumbered.$close();
  });

  test("without numbers, tells that an outcome is unknown rather than sending again", async () => {
    const random = new SeededRandom("unnumbered");
    const broken = breaking(() => random.next(), 0.3);
    const client = connectOn<typeof bank>(broken.platform, server.url, { transport: "socket", exactlyOnce: false });
    let confirmed = 0;
    let unknown = 0;
    for (let i = 0; i < 30; i++) {
      await client
        .account("unnumbered")
        .deposit({ cents: 1 })
        .then(
          () => confirmed++,
          (error: { code: string; retry: string }) => {
            assert.deepEqual([error.code, error.retry], ["outcome-unknown", "unknown"]);
            unknown++;
          },
        );
    }
    // A read is known as one by its name, or by an earlier answer; then it is sent again.
    const { balanceCents: balance } = (await client.account("unnumbered").$state())!.state;
    assert.ok(balance >= confirmed && balance <= confirmed + unknown);
    assert.ok(unknown > 0);
    client.$close();
  });
});
