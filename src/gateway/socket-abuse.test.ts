/** Clients that are broken or mean: what they do costs themselves, and nobody else. */
import assert from "node:assert/strict";
import { afterEach, describe, test } from "node:test";
import { OnefoldError, Refused } from "../base/errors.ts";
import type { Limits } from "../base/limits.ts";
import type { SystemOptions } from "../entity/definition.ts";
import { bankSystem, testHost } from "./bank.fake.ts";
import { createGateway, type Gateway } from "./gateway.ts";
import { FakeService } from "./service.fake.ts";
import { SocketPeer, until } from "./socket-peer.fake.ts";
import { Wire } from "./wire.fake.ts";

const gateways: Gateway[] = [];
const peers: { close(): void }[] = [];
const principal = { tenant: "t", subject: "s", scopes: ["*"] };

async function start(options: SystemOptions = {}, limits: Partial<Limits> = {}) {
  const system = bankSystem(options);
  const service = new FakeService(system);
  const host = testHost();
  const address = { hostname: "127.0.0.1", port: 0 };
  const gateway = await createGateway({ service, system, host, address, limits });
  gateways.push(gateway);
  await gateway.listen();
  const connect = () => {
    const peer = new SocketPeer(gateway.port);
    peers.push(peer);
    return peer;
  };
  const open = async () => {
    const peer = await SocketPeer.open(gateway.port);
    peers.push(peer);
    return peer;
  };
  return { gateway, service, host, connect, open };
}

afterEach(async () => {
  for (const peer of peers.splice(0)) peer.close();
  for (const gateway of gateways.splice(0)) await gateway.close();
});

/** The head of a masked frame of `sizeBytes`, and what there is of it. */
function unfinishedFrame(sizeBytes: number, sentBytes: number): Uint8Array {
  const frame = new Uint8Array(14 + sentBytes);
  frame.set([0x82, 0x80 | 127]);
  new DataView(frame.buffer).setBigUint64(2, BigInt(sizeBytes));
  return frame;
}

function write(peer: SocketPeer, bytes: Uint8Array): void {
  (peer.socket as unknown as { _socket: { write(bytes: Uint8Array): void } })._socket.write(bytes);
}

function nested(levels: number): unknown {
  let value: unknown = 1;
  for (let i = 0; i < levels; i++) value = { a: value };
  return value;
}

describe("a frame of very many messages", () => {
  for (const [what, message] of [
    ["that can't be carried out", [0x94, 0x01, 0x01, 0xc0, 0xa1, 0x61]],
    ["that ask for sessions", [0x92, 0x0c, 0x01]],
  ] as const) {
    test(`${what} leaves others their turn`, async () => {
      const { open } = await start();
      const attacker = await open();
      const victim = await open();
      const count = 30_000;
      const frame = new Uint8Array(5 + count * message.length);
      frame[0] = 0xdd;
      new DataView(frame.buffer).setUint32(1, count);
      for (let i = 0; i < count; i++) frame.set(message, 5 + i * message.length);
      attacker.sendBytes(frame);
      await until(() => attacker.messagesWaiting > 0);
      await victim.roundTrip();
      assert.ok(attacker.messagesWaiting < count, "the victim waited for all of it");
      await until(() => attacker.messagesWaiting === count);
    });
  }
});

describe("a socket's unfinished frames", () => {
  test("are small for as long as nobody knows whose they are", async () => {
    const { connect } = await start();
    const stranger = connect();
    await stranger.opened();
    write(stranger, unfinishedFrame(1024 * 1024, 100_000));
    assert.equal((await stranger.closed()).code, 4400);
  });

  test("are bounded over all sockets, and free again when they end", async () => {
    const { open, gateway } = await start({}, { receivingBytesMax: 1024 * 1024 });
    const holders = [await open(), await open(), await open()];
    for (const holder of holders) write(holder, unfinishedFrame(1024 * 1024, 600_000));
    const ended = await Promise.race(holders.map((holder) => holder.closed()));
    assert.equal(ended.code, 4503);
    for (const holder of holders) holder.close();
    await until(() => gateway.connectionCount === 0);
    const other = await open();
    other.send([1, 1, null, "account", "a", "echo", "x".repeat(400_000)]);
    assert.deepEqual((await other.message()).slice(0, 2), [1, 1]);
  });
});

describe("a handshake that is refused", () => {
  test("leaves no connection behind, also where its client never ends it", async () => {
    const { gateway } = await start({}, { lingerMs: 50 });
    const wire = await Wire.connect(gateway.port);
    wire.write("GET /v1/socket HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
    assert.equal((await wire.reply()).status, 400);
    await until(() => gateway.connectionCount === 0);
    wire.close();
  });
});

describe("what is nested as deep as a value may be", () => {
  test("is told as a refusal's details, as an output, and taken as a subscription's input", async () => {
    const { open, service } = await start();
    const peer = await open();
    const deepest = nested(64);
    peer.send([1, 1, null, "account", "a", "echo", deepest]);
    assert.deepEqual(await peer.message(), [1, 1, 1, deepest]);
    service.failWith = new Refused("deep", deepest);
    peer.send([1, 2, null, "account", "a", "touch"]);
    assert.deepEqual((await peer.message())[2].details, deepest);
    service.failWith = undefined;
    peer.send([7, 4, { query: "plus", input: { cents: 1, of: nested(63) } }, "account", "a"]);
    assert.deepEqual((await peer.message()).slice(0, 2), [4, 4]);
    peer.send([1, 3, null, "account", "a", "echo", nested(65)]);
    assert.equal((await peer.closed()).code, 4400);
  });
});

describe("an id that is open", () => {
  for (const [what, first, second] of [
    ["of a call", [1, 7, null, "account", "a", "touch"], [7, 7, { query: "balance" }, "account", "a"]],
    ["of a subscription", [7, 7, { query: "balance", credit: 0 }, "account", "a"], [4, 7, null, "account", "a"]],
    ["of one subscription", [7, 7, {}, "account", "a"], [7, 7, {}, "account", "a"]],
    ["of a call", [1, 7, null, "account", "a", "touch"], [12, 7]],
  ] as const) {
    test(`${what} is nobody else's: ${JSON.stringify(second)} ends the connection`, async () => {
      const { open, service } = await start();
      const peer = await open();
      service.hold();
      peer.send(first, second);
      assert.equal((await peer.closed()).code, 4400);
    });
  }
});

describe("subscriptions", () => {
  test("with inputs that take much memory are bounded by that, and give it back", async () => {
    const { open } = await start({}, { socketSubscriptionsMemoryBytesMax: 100_000 });
    const peer = await open();
    // 3,000 bytes of the wire that take more than fifty times as much.
    const heavy = (id: number) => [
      7,
      id,
      { query: "plus", input: { cents: 1, of: Array.from({ length: 1500 }, () => ({})) } },
      "account",
      "a",
    ];
    peer.send(heavy(2), heavy(4));
    const answers = new Map((await peer.messages(2)).map((message) => [message[1], message]));
    assert.equal(answers.get(2)[0], 4);
    assert.equal(answers.get(4)[2].code, "over-quota");
    peer.send([9, 2], heavy(6));
    assert.deepEqual((await peer.message()).slice(0, 2), [4, 6]);
  });

  test("that are cancelled while the system decides about them keep their places until it has", async () => {
    const decisions: (() => void)[] = [];
    const { open } = await start(
      {
        authenticate: () => principal,
        authorize: () => new Promise((resolve) => decisions.push(() => resolve(true))),
      },
      { socketSubscriptionsMax: 3 },
    );
    const peer = await open();
    for (let id = 2; id <= 20; id += 2) peer.send([7, id, { query: "balance" }, "account", "a"], [9, id]);
    const refusals = await peer.messages(7);
    assert.ok(refusals.every((message) => message[2].code === "over-quota"));
    assert.equal(decisions.length, 3);
    for (const decide of decisions.splice(0)) decide();
    await peer.roundTrip();
    peer.send([7, 22, { query: "balance" }, "account", "a"]);
    await until(() => decisions.length === 1);
    decisions[0]!();
    assert.deepEqual((await peer.message()).slice(0, 2), [4, 22]);
  });
});

describe("a system that thinks long", () => {
  test("about a call has the caller's deadline for it, and the service what is left", async () => {
    let decide: (() => void) | undefined;
    const { open, service } = await start({
      authenticate: () => principal,
      authorize: (_principal, operation) =>
        operation.name === "touch"
          ? new Promise(() => undefined)
          : new Promise((resolve) => {
              decide = () => resolve(true);
            }),
    });
    const peer = await open();
    peer.send([1, 1, { deadlineMs: 30 }, "account", "a", "touch"]);
    const [, , facts] = await peer.message();
    assert.deepEqual([facts.code, facts.retry], ["deadline-passed", "safe"]);
    assert.equal(service.callCount, 0);
    peer.send([1, 2, { deadlineMs: 5000 }, "account", "a", "deposit", { cents: 1 }]);
    await until(() => decide !== undefined);
    decide?.();
    await peer.message();
    const { deadlineMs = 0 } = service.lastOptions ?? {};
    assert.ok(deadlineMs > 0 && deadlineMs < 5000, `${deadlineMs} ms are left`);
  });

  test("or throws, in `authenticate`, is told from credentials that are wrong", async () => {
    for (const [thrown, code, reports] of [
      [new OnefoldError("overloaded", "The identity provider is busy."), 4503, 0],
      [new OnefoldError("forbidden", "Not from there."), 4403, 0],
      [new TypeError("a bug"), 4500, 1],
    ] as const) {
      const { connect, host } = await start({
        authenticate: () => {
          throw thrown;
        },
      });
      const peer = connect();
      await peer.opened();
      peer.send([0, {}]);
      assert.equal((await peer.closed()).code, code);
      assert.equal(host.traced.filter(({ level }) => level === "error").length, reports);
    }
  });
});

describe("a call that fails inside after it was cancelled", () => {
  test("is reported, though nobody is answered", async () => {
    const { open, service, host } = await start();
    const peer = await open();
    const release = service.hold();
    service.failWith = new TypeError("a bug");
    peer.send([1, 1, null, "account", "a", "touch"], [9, 1]);
    await peer.roundTrip();
    release();
    await until(() => host.traced.some(({ level }) => level === "error"));
    await peer.roundTrip();
    assert.equal(peer.messagesWaiting, 0);
  });
});
