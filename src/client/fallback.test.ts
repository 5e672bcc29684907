/** The client between its two ways, socket and HTTP: what each does when the other comes or goes. */
import assert from "node:assert/strict";
import { after, afterEach, before, describe, test } from "node:test";
import type { bank } from "./bank.fixture.ts";
import { FaultProxy, WayState } from "../../scripts/chaos/fault-proxy.ts";
import { SeededRandom } from "../base/random.ts";
import { connectOn } from "./connect.ts";
import { type TestNode, testNode } from "./gateway.fixture.ts";
import { OnefoldError, type RemoteClient } from "./index.ts";
import type { ClientPlatform, HttpReply } from "./platform.ts";
import { nodePlatform } from "./platform/node.ts";

let server: TestNode;
const clients: { $close(): void }[] = [];

function open(platform: ClientPlatform, options: Parameters<typeof connectOn>[2] = {}): RemoteClient<typeof bank> {
  const client = connectOn<typeof bank>(platform, server.url, options);
  clients.push(client);
  return client;
}

before(async () => {
  server = await testNode();
});
afterEach(() => {
  for (const client of clients.splice(0)) client.$close();
});
after(() => server.close());

async function until(holds: () => boolean): Promise<void> {
  const endMs = performance.now() + 5000;
  while (!holds()) {
    assert.ok(performance.now() < endMs, `not in time: ${holds}`);
    await new Promise((resolve) => setImmediate(resolve));
  }
}

/** A platform on which no socket can be had for the first `refusals` attempts. */
function withoutSockets(refusals: number): ClientPlatform {
  const real = nodePlatform();
  let attempts = 0;
  return {
    ...real,
    openSocket: (...parameters) => {
      if (attempts++ < refusals) throw new Error("no socket yet");
      return real.openSocket!(...parameters);
    },
  };
}

describe("a subscription that goes from HTTP to a socket", { timeout: 20_000 }, () => {
  test("gives no older value after a newer one, however late an answer comes over HTTP", async () => {
    const platform = withoutSockets(2);
    const held: (() => void)[] = [];
    const client = open({
      ...platform,
      request: async (request): Promise<HttpReply> => {
        const reply = await platform.request(request);
        await new Promise<void>((resolve) => held.push(resolve));
        return reply;
      },
    });
    const writer = open(nodePlatform());
    await writer.account("overtaken").touch();
    const seen: number[] = [];
    const watching = (async () => {
      for await (const balance of client.account("overtaken").$watch("balance")) {
        seen.push(balance);
        if (balance === 3) return;
      }
    })();
    await until(() => held.length === 1 && seen.length === 1);
    await writer.account("overtaken").deposit({ cents: 1 });
    await until(() => seen.length === 2);
    for (const release of held) release();
    await writer.account("overtaken").deposit({ cents: 1 });
    await until(() => seen.length === 3);
    await writer.account("overtaken").deposit({ cents: 1 });
    await watching;
    assert.deepEqual(seen, [0, 1, 2, 3]);
  });

  test("gives nothing twice for it", async () => {
    const client = open(withoutSockets(4));
    const writer = open(nodePlatform());
    const seen: { readonly value: number; readonly log: string }[] = [];
    const watching = (async () => {
      for await (const { value, log } of client.account("twice").$watch("balance").changes) {
        seen.push({ value, log });
        if (value === 1) return;
      }
    })();
    await until(() => seen.length === 1);
    assert.equal(seen[0]!.log, "", "it was not asked over HTTP");
    // The client is on a socket again as soon as it has no reason to ask: its position says so.
    await client.account("elsewhere").touch();
    await until(() => server.gateway.connectionCount > 0);
    await writer.account("twice").deposit({ cents: 1 });
    await watching;
    assert.deepEqual(
      seen.map(({ value }) => value),
      [0, 1],
    );
  });
});

describe("calls over HTTP while sockets are tried", { timeout: 20_000 }, () => {
  test("are not given up, nor sent twice, because an attempt at a socket fails", async () => {
    const real = nodePlatform();
    let attempts = 0;
    const paths: string[] = [];
    const client = open({
      ...real,
      openSocket: () => {
        attempts++;
        throw new Error("no socket here");
      },
      request: async (request) => {
        paths.push(new URL(request.url).pathname);
        // Each exchange is under way for longer than the next attempt takes to fail.
        const before = attempts;
        await until(() => attempts > before);
        return real.request(request);
      },
    });
    assert.equal(await client.account("under way").deposit({ cents: 7 }), 7);
    assert.equal(await client.account("under way").balance(), 7);
    assert.deepEqual(paths, ["/v1/sessions", "/v1/call", "/v1/call"]);
  });
});

describe("a node that falls silent", { timeout: 20_000 }, () => {
  /** Two ways to one node, of which the first can be cut. Time passes for the client `faster` times as fast. */
  async function twoWays(faster: number): Promise<{
    readonly way: WayState;
    readonly client: RemoteClient<typeof bank>;
    readonly sockets: { readonly count: number };
  }> {
    const way = new WayState(new SeededRandom(1));
    const { hostname: host, port } = new URL(server.url);
    const proxy = await FaultProxy.listen({ target: { host, port: Number(port) }, from: "c", to: "n", way: () => way });
    clients.push({ $close: () => void proxy.close() });
    const real = nodePlatform();
    const sockets = { count: 0 };
    const platform: ClientPlatform = {
      ...real,
      after: (delayMs, run) => real.after(delayMs / faster, run),
      random: () => 0,
      openSocket: (...parameters) => {
        sockets.count++;
        return real.openSocket!(...parameters);
      },
    };
    const client = connectOn<typeof bank>(platform, [`http://${host}:${proxy.port}`, server.url], {
      transport: "socket",
    });
    clients.push(client);
    return { way, client, sockets };
  }

  test("is left for another one soon, and what was asked of it is done once", async () => {
    const { way, client } = await twoWays(10);
    assert.equal(await client.account("silent").deposit({ cents: 1 }), 1);
    way.cut();
    const beganMs = performance.now();
    assert.equal(await client.account("silent").deposit({ cents: 1 }, { deadlineMs: 300_000 }), 2);
    // Five looks; without them it would be given up after two thirds of a minute's silence.
    assert.ok(performance.now() - beganMs < 2000, `${performance.now() - beganMs} ms`);
    way.heal();
    assert.equal(await client.account("silent").balance(), 2);
  });

  test("is kept where it says that it is there, however long a call takes, and where nothing is asked", async () => {
    const { client, sockets } = await twoWays(10);
    // Twelve looks: it would be left after five.
    assert.equal(await client.pause({ forMs: 1200 }, { deadlineMs: 300_000 }), 1200);
    const watching = client.account("kept").$watch("balance")[Symbol.asyncIterator]();
    await watching.next();
    await new Promise((resolve) => setTimeout(resolve, 700));
    assert.equal(await client.account("kept").deposit({ cents: 1 }), 1);
    await watching.return?.();
    assert.equal(sockets.count, 1);
  });
});

describe("exchanges over HTTP that nobody answers", { timeout: 20_000 }, () => {
  test("are given up where another node can be asked, and their calls are only late", async () => {
    const real = nodePlatform();
    const mute = "http://127.0.0.1:9";
    let asked = 0;
    const client = connectOn<typeof bank>(
      {
        ...real,
        // Its patience passes fifty times as fast.
        after: (delayMs, run) => real.after(delayMs / 50, run),
        // The mute one is the first that is asked.
        random: () => 0,
        request: (request) => {
          if (!request.url.startsWith(mute)) return real.request(request);
          asked++;
          return new Promise((_resolve, reject) => {
            request.signal.addEventListener("abort", () => reject(new Error("aborted")));
          });
        },
      },
      [mute, server.url],
      { transport: "http" },
    );
    clients.push(client);
    assert.equal(await client.account("late").deposit({ cents: 1 }, { deadlineMs: 100_000 }), 1);
    assert.equal(asked, 1);
  });

  test("end with their calls, and block no later one", async () => {
    const real = nodePlatform();
    let isMute = true;
    let aborted = 0;
    const client = open(
      {
        ...real,
        request: (request) =>
          isMute
            ? new Promise((_resolve, reject) => {
                request.signal.addEventListener("abort", () => {
                  aborted++;
                  reject(new Error("aborted"));
                });
              })
            : real.request(request),
      },
      { transport: "http" },
    );
    const calls = Array.from({ length: 12 }, () => client.account("mute").deposit({ cents: 1 }, { deadlineMs: 100 }));
    for (const call of calls) {
      await assert.rejects(call, (error) => error instanceof OnefoldError && error.code === "deadline-passed");
    }
    isMute = false;
    await until(() => aborted > 0);
    assert.equal(await client.account("mute").deposit({ cents: 1 }, { deadlineMs: 5000 }), 1);
  });
});
