/** The typed client against a real node. */
import assert from "node:assert/strict";
import { after, afterEach, before, describe, test } from "node:test";
import type { bank } from "./bank.fixture.ts";
import { connectOn } from "./connect.ts";
import { type TestNode, testNode } from "./gateway.fixture.ts";
import { connect, OnefoldError, type RemoteClient, Refused } from "./index.ts";
import { globalPlatform } from "./platform/globals.ts";
import { nodePlatform } from "./platform/node.ts";

type Bank = RemoteClient<typeof bank>;

let server: TestNode;
const clients: Bank[] = [];
let entityCount = 0;

/** An id that no other test uses. */
const fresh = (): string => `entity-${++entityCount}`;

function open(options: Parameters<typeof connect>[1] = {}): Bank {
  const client = connect<typeof bank>(server.url, options);
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

const isError = (code: string, retry?: string) => (error: unknown) =>
  error instanceof OnefoldError && error.code === code && (retry === undefined || error.retry === retry);

for (const transport of ["socket", "http"] as const) {
  describe(`the client over ${transport}`, () => {
    test("runs commands, queries and transactions", async () => {
      const client = open({ transport });
      const [from, to] = [fresh(), fresh()];
      assert.equal(await client.account(from).deposit({ cents: 500 }), 500);
      assert.equal(await client.transfer({ from, to, cents: 200 }), 200);
      assert.equal(await client.account(from).balance(), 300);
      assert.equal(await client.account(from).atLeast({ cents: 301 }), false);
      assert.equal(await client.$transaction("transfer", { from, to, cents: 100 }), 300);
      // Over HTTP what is absent is null.
      assert.ok([undefined, null].includes((await client.account(from).touch()) as undefined));
    });

    test("rejects with refusals and errors as typed values", async () => {
      const client = open({ transport });
      const id = fresh();
      await assert.rejects(client.account(id).withdraw({ cents: 5 }), (error) => {
        assert.ok(error instanceof Refused);
        assert.deepEqual([error.code, error.details], ["insufficient-funds", { balanceCents: 0 }]);
        return true;
      });
      await assert.rejects(client.account(id).deposit({ cents: -1 }), (error) => {
        assert.ok(error instanceof OnefoldError);
        assert.deepEqual([error.code, error.retry], ["invalid-input", "never"]);
        assert.ok(Array.isArray((error.details as { issues: unknown }).issues));
        return true;
      });
      await assert.rejects(client.account(id).break(), isError("command-failed", "never"));
      // @ts-expect-error: no such command
      await assert.rejects(client.account(id).depozit({ cents: 1 }), isError("unknown-command"));
      // @ts-expect-error: no such kind
      await assert.rejects(client.acount(id).deposit({ cents: 1 }), isError("unknown-kind"));
      await assert.rejects(client.account("..").deposit({ cents: 1 }), isError("invalid-id"));
    });

    test("carries every kind of value both ways", async () => {
      const client = open({ transport });
      const value = {
        bytes: new Uint8Array([1, 2]),
        at: new Date(5),
        big: 2n ** 80n,
        small: 5n,
        list: [1.5, null],
        $é: "$",
      };
      assert.deepEqual(await client.account(fresh()).echo({ value }), { value });
      assert.deepEqual(await client.account(fresh()).echo({ value: { $date: "no date" } }), {
        value: { $date: "no date" },
      });
    });

    test("shows states, histories and ids, and deletes", async () => {
      const client = open({ transport });
      const id = `listed-${transport}`;
      const entity = client.account(id);
      assert.equal(await entity.$state(), undefined);
      await entity.deposit({ cents: 5 });
      await entity.deposit({ cents: 6 });
      assert.deepEqual(await entity.$state(), {
        state: { balanceCents: 11 },
        generation: 1,
        version: 2,
        schemaVersion: 1,
      });
      const page = await entity.$history({ limit: 1 });
      assert.deepEqual([page.items.length, page.items[0]?.version, page.items[0]?.state], [1, 2, { balanceCents: 11 }]);
      assert.equal((await entity.$history({ limit: 1, cursor: page.cursor! })).items[0]?.version, 1);
      assert.deepEqual((await client.$list("account", { prefix: id })).ids, [id]);
      await entity.$delete();
      assert.equal(await entity.$state(), undefined);
      await assert.rejects(entity.$delete(), isError("not-found"));
    });

    test("gives ids that URLs mangle as they are", async () => {
      const client = open({ transport });
      for (const id of ["a/b", "%2F", "é 😀", "a?b#c", "x".repeat(512)]) {
        await client.account(`${transport} ${id}`.slice(0, 500)).deposit({ cents: 1 });
        assert.equal((await client.account(`${transport} ${id}`.slice(0, 500)).$state())?.version, 1);
      }
    });

    test("watches a query and a state", async () => {
      const client = open({ transport });
      const id = fresh();
      const seen: number[] = [];
      for await (const balance of client.account(id).$watch("balance")) {
        seen.push(balance);
        if (balance === 3) break;
        await client.account(id).deposit({ cents: 1 });
      }
      assert.equal(seen[0], 0);
      assert.equal(seen.at(-1), 3);
      const states = client.account(id).$watchState()[Symbol.asyncIterator]();
      assert.deepEqual((await states.next()).value?.state, { balanceCents: 3 });
      await client.account(id).$delete();
      assert.equal((await states.next()).value, undefined);
      await states.return?.();
    });

    test("gives up at the deadline and at the signal", async () => {
      const client = open({ transport });
      const id = fresh();
      await assert.rejects(
        client.account(id).deposit({ cents: 1 }, { signal: AbortSignal.abort(new Error("no")) }),
        /no/,
      );
      const controller = new AbortController();
      // Behind a command that takes its whole quarter of a second.
      const slow = assert.rejects(client.account(id).loop(), isError("command-too-slow"));
      const aborted = assert.rejects(client.account(id).deposit({ cents: 1 }, { signal: controller.signal }), /enough/);
      const late = assert.rejects(
        client.account(id).deposit({ cents: 1 }, { deadlineMs: 30 }),
        isError("deadline-passed"),
      );
      setImmediate(() => controller.abort(new Error("enough")));
      await Promise.all([slow, aborted, late]);
    });

    test("makes a key take hold once across clients", async () => {
      const id = fresh();
      const options = { idempotencyKey: `key-${id}` };
      assert.equal(await open({ transport }).account(id).deposit({ cents: 5 }, options), 5);
      assert.equal(await open({ transport }).account(id).deposit({ cents: 5 }, options), 5);
      await assert.rejects(
        open({ transport }).account(id).deposit({ cents: 6 }, options),
        isError("idempotency-mismatch"),
      );
      assert.equal(await open({ transport }).account(id).balance(), 5);
    });
  });
}

describe("the client", () => {
  test("takes an input as it is when the call is made", async () => {
    const client = open();
    const input = { cents: 5 };
    const first = client.account(fresh()).deposit(input);
    input.cents = 7;
    const second = client.account(fresh()).deposit(input);
    input.cents = 9;
    assert.deepEqual(await Promise.all([first, second]), [5, 7]);
  });

  test("sends the calls of one turn in one frame, and their numbers in order", async () => {
    let frames = 0;
    const platform = nodePlatform();
    const client = connectOn<typeof bank>(
      {
        ...platform,
        openSocket: (url, protocol, headers, listener) => {
          const socket = platform.openSocket!(url, protocol, headers, listener);
          return {
            ...socket,
            send: (frame) => {
              frames++;
              socket.send(frame);
            },
          };
        },
      },
      server.url,
      { transport: "socket" },
    );
    clients.push(client);
    const id = fresh();
    await client.account(id).touch();
    const before = frames;
    const balances = await Promise.all(Array.from({ length: 500 }, () => client.account(id).deposit({ cents: 1 })));
    assert.equal(frames - before, 1);
    assert.deepEqual(
      balances,
      Array.from({ length: 500 }, (_, index) => index + 1),
    );
  });

  test("keeps more calls than the server takes at once waiting, and loses none", async () => {
    const client = open();
    const id = fresh();
    await Promise.all(Array.from({ length: 5000 }, () => client.account(id).deposit({ cents: 1 })));
    assert.equal(await client.account(id).balance(), 5000);
  });

  test("refuses inputs that are no values, and ones that are too large, before it sends anything", async () => {
    const client = open();
    const id = fresh();
    await client.account(id).touch();
    for (const value of [() => 1, Number.NaN, new Map(), "\ud800"]) {
      await assert.rejects(client.account(id).echo({ value: value as never }), isError("invalid-value"));
    }
    await assert.rejects(client.account(id).echo({ value: new Uint8Array(1_100_000) }), isError("payload-too-large"));
    assert.equal(await client.account(id).deposit({ cents: 1 }), 1);
  });

  test("is refused for good by a node of another system", async () => {
    const client = open({ system: "shop" });
    await assert.rejects(client.account(fresh()).balance(), isError("unknown-system", "never"));
    await assert.rejects(client.account(fresh()).balance(), isError("unknown-system"));
  });

  test("tells a closed client from a lost connection", async () => {
    const client = open();
    const id = fresh();
    await client.account(id).touch();
    const open1 = client.account(id).loop();
    const iterator = client.account(id).$watch("balance")[Symbol.asyncIterator]();
    client.$close();
    client.$close();
    await assert.rejects(open1, isError("not-ready"));
    await assert.rejects(iterator.next(), isError("not-ready"));
    await assert.rejects(client.account(id).touch(), isError("not-ready", "never"));
  });

  test("is no promise, and neither is an entity", async () => {
    const client = open();
    assert.equal((await client) === client, true);
    const entity = client.account(fresh());
    assert.equal((await entity) === entity, true);
  });

  test("rejects with what passed the deadline where nobody answers at all", async () => {
    const client = connect<typeof bank>("http://127.0.0.1:1", { deadlineMs: 200 });
    clients.push(client);
    await assert.rejects(client.account("a").touch(), (error) => {
      assert.ok(error instanceof OnefoldError);
      assert.equal(error.code, "deadline-passed");
      assert.ok(error.cause instanceof Error);
      return true;
    });
  });

  test("goes over HTTP where sockets fail, and back to a socket when one can be had", { timeout: 20_000 }, async () => {
    const platform = nodePlatform();
    let attempts = 0;
    let isBroken = true;
    const client = connectOn<typeof bank>(
      {
        ...platform,
        openSocket: (url, protocol, headers, listener) => {
          attempts++;
          return platform.openSocket!(
            isBroken ? url.replace("/v1/socket", "/nothing") : url,
            protocol,
            headers,
            listener,
          );
        },
      },
      server.url,
      {},
    );
    clients.push(client);
    const id = fresh();
    assert.equal(await client.account(id).deposit({ cents: 1 }), 1);
    assert.ok(attempts >= 2);
    const watching = client.account(id).$watch("balance")[Symbol.asyncIterator]();
    assert.equal((await watching.next()).value, 1);
    isBroken = false;
    while (server.gateway.connectionCount === 0) await client.account(id).balance();
    assert.equal(await client.account(id).deposit({ cents: 1 }), 2);
    assert.equal((await watching.next()).value, 2);
  });

  test("works with the globals of browsers where Node has them", { skip: !("WebSocket" in globalThis) }, async () => {
    const client = connectOn<typeof bank>(globalPlatform(), server.url, { transport: "socket" });
    clients.push(client);
    assert.equal(await client.account(fresh()).deposit({ cents: 5 }), 5);
  });

  test("presents its token, and a new one when it connects again", async () => {
    const tokens: (string | undefined)[] = [];
    const guarded = await testNode({
      authenticate: ({ headers }) => {
        tokens.push(headers.authorization);
        return headers.authorization === "Bearer wrong" ? null : { tenant: "t", subject: "s", scopes: [] };
      },
    });
    try {
      let count = 0;
      const client = connect<typeof bank>(guarded.url, { token: async () => `token-${++count}`, transport: "socket" });
      clients.push(client);
      await client.account("a").touch();
      await guarded.cut();
      await guarded.resume();
      await client.account("a").touch();
      assert.deepEqual(tokens, ["Bearer token-1", "Bearer token-2"]);
      const wrong = connect<typeof bank>(guarded.url, { token: "wrong" });
      clients.push(wrong);
      await assert.rejects(wrong.account("a").touch(), isError("unauthenticated", "never"));
      await assert.rejects(client.account("a").$state(), isError("forbidden"));
    } finally {
      for (const client of clients.splice(0)) client.$close();
      await guarded.close();
    }
  });
});
