/** What a caller does wrong is told to that call or loop, and to nothing else of its client. */
import assert from "node:assert/strict";
import { after, afterEach, before, describe, test } from "node:test";
import type { bank } from "./bank.fixture.ts";
import { connectOn } from "./connect.ts";
import { errorOfFacts } from "./failure.ts";
import { type TestNode, testNode } from "./gateway.fixture.ts";
import { connect, OnefoldError, type RemoteClient } from "./index.ts";
import { nodePlatform } from "./platform/node.ts";

let server: TestNode;
const clients: { $close(): void }[] = [];

function open(options: Parameters<typeof connect>[1] = {}): RemoteClient<typeof bank> {
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

const isError = (code: string) => (error: unknown) => error instanceof OnefoldError && error.code === code;

describe("a subscription that can't be sent", { timeout: 20_000 }, () => {
  for (const transport of ["socket", "http"] as const) {
    test(`harms no call of the same turn, nor of the next (${transport})`, async () => {
      const client = open({ transport, deadlineMs: 5000 });
      const account = client.account(`watched-${transport}`);
      await account.touch();
      const sameTurn = account.deposit({ cents: 1 });
      for (const [cents, code] of [
        [Number.NaN, "invalid-value"],
        [(() => 1) as never, "invalid-value"],
        ["x".repeat(1_200_000) as never, "payload-too-large"],
      ] as const) {
        assert.throws(() => account.$watch("atLeast", { cents }), isError(code));
      }
      assert.throws(() => client.account("x".repeat(300_000)).$watch("balance"), isError("payload-too-large"));
      assert.throws(() => client.account("\ud800").$watchState(), isError("invalid-value"));
      assert.equal(await sameTurn, 1);
      assert.equal(await account.deposit({ cents: 1 }), 2);
    });
  }

  test("takes its input as it is when it is made", async () => {
    const client = open();
    const input = { cents: 5 };
    const watch = client.account("mutated").$watch("atLeast", input);
    input.cents = 0;
    for await (const isRich of watch) {
      assert.equal(isRich, false);
      break;
    }
  });
});

describe("a subscription of a client that was closed", () => {
  for (const transport of ["auto", "socket", "http"] as const) {
    test(`ends with \`not-ready\` (${transport})`, { timeout: 5000 }, async () => {
      const client = open({ transport });
      client.$close();
      await assert.rejects(client.account("a").$watch("balance")[Symbol.asyncIterator]().next(), isError("not-ready"));
    });
  }
});

describe("a platform that opens no socket", { timeout: 20_000 }, () => {
  const platform = {
    ...nodePlatform(),
    openSocket: () => {
      throw new Error("the page's policy");
    },
  };

  test("but throws is a connection that can't be had: calls go over HTTP", async () => {
    const client = connectOn<typeof bank>(platform, server.url, {});
    clients.push(client);
    assert.equal(await client.account("no-socket").deposit({ cents: 1 }), 1);
  });

  test("nor HTTP tells why when the deadline passes", async () => {
    const client = connectOn<typeof bank>(platform, server.url, { transport: "socket", deadlineMs: 300 });
    clients.push(client);
    await assert.rejects(client.account("a").touch(), (error) => {
      assert.ok(isError("deadline-passed")(error));
      assert.match(String((error as OnefoldError).cause), /the page's policy/);
      return true;
    });
  });
});

describe("a token that can't be sent", () => {
  test("is `unauthenticated`, and ends no process", { timeout: 5000 }, async () => {
    for (const token of ["\ud800", (() => Number.NaN) as never]) {
      await assert.rejects(open({ transport: "socket", token }).account("a").touch(), isError("unauthenticated"));
    }
  });
});

describe("a call of the largest size", { timeout: 20_000 }, () => {
  test("is answered, also where its frame was nearly full", async () => {
    const client = open({ transport: "socket", deadlineMs: 5000 });
    const account = client.account("full");
    await account.touch();
    for (const beside of [65_400, 65_450, 65_480]) {
      const small = account.echo({ value: new Uint8Array(beside) });
      const large = account.echo({ value: new Uint8Array(1024 * 1024 - 1100) });
      // Its output is larger than an output may be; what counts is that it came to be run.
      await assert.rejects(large, isError("too-large"));
      await small;
    }
  });
});

test("a code that this client doesn't know becomes one of its retry class, whatever its name", () => {
  for (const code of ["newer", "constructor", "toString"]) {
    const error = errorOfFacts({ code, retry: "safe", status: 503, detail: "later" });
    assert.deepEqual([error.code, (error as OnefoldError).retry], ["overloaded", "safe"]);
  }
});
