/** Subscriptions over the socket, against a service whose answers can be held back. */
import assert from "node:assert/strict";
import { afterEach, describe, test } from "node:test";
import type { Limits } from "../base/limits.ts";
import type { SystemOptions } from "../entity/definition.ts";
import { bankSystem, testHost } from "./bank.fake.ts";
import { createGateway, type Gateway } from "./gateway.ts";
import { FakeService } from "./service.fake.ts";
import { SocketPeer, until } from "./socket-peer.fake.ts";
import { SubscriptionReader } from "./socket-subscription.ts";

const gateways: Gateway[] = [];
const peers: SocketPeer[] = [];

async function start(options: SystemOptions = {}, limits: Partial<Limits> = {}) {
  const system = bankSystem(options);
  const service = new FakeService(system);
  const address = { hostname: "127.0.0.1", port: 0 };
  const gateway = await createGateway({ service, system, host: testHost(), address, limits });
  gateways.push(gateway);
  await gateway.listen();
  const open = async () => {
    const peer = await SocketPeer.open(gateway.port);
    peers.push(peer);
    return peer;
  };
  const principal = { tenant: "default", subject: "test", scopes: ["*"] };
  const deposit = (id: string, cents: number) =>
    service.command({ kind: "account", id }, "deposit", { cents }, { principal });
  const remove = (id: string) => service.delete({ kind: "account", id }, { principal });
  return { gateway, service, open, deposit, remove };
}

afterEach(async () => {
  for (const peer of peers.splice(0)) peer.close();
  for (const gateway of gateways.splice(0)) await gateway.close();
});

const log = "fa4e";

describe("a subscription", () => {
  test("to a query gives its result, and the next when it differs", async () => {
    const { open, deposit, service } = await start();
    const peer = await open();
    peer.send([7, 2, { query: "balance", credit: 10 }, "account", "alice"]);
    assert.deepEqual(await peer.message(), [4, 2, 0, log, 0]);
    await deposit("alice", 5);
    assert.deepEqual(await peer.message(), [4, 2, 1, log, 5]);
    const principal = { tenant: "default", subject: "test", scopes: ["*"] };
    await service.command({ kind: "account", id: "alice" }, "touch", undefined, { principal });
    await deposit("bob", 5);
    await deposit("alice", 1);
    assert.deepEqual(await peer.message(), [4, 2, 4, log, 6]);
  });

  test("to a query with an input evaluates it with that", async () => {
    const { open, deposit } = await start();
    const peer = await open();
    peer.send([7, 2, { query: "plus", input: { cents: 10 }, credit: 10 }, "account", "alice"]);
    assert.equal((await peer.message())[4], 10);
    await deposit("alice", 5);
    assert.equal((await peer.message())[4], 15);
  });

  test("to the state gives it with its version, and nothing where there is none", async () => {
    const { open, deposit, remove } = await start();
    const peer = await open();
    peer.send([7, 2, { credit: 10 }, "account", "alice"]);
    assert.deepEqual(await peer.message(), [4, 2, 0, log]);
    await deposit("alice", 5);
    assert.deepEqual((await peer.message())[4], {
      state: { balanceCents: 5 },
      generation: 1,
      version: 1,
      schemaVersion: 1,
    });
    await remove("alice");
    assert.equal((await peer.message()).length, 4);
  });

  test("sends no more than it has credit for, and then the latest value alone", async () => {
    const { open, deposit } = await start();
    const peer = await open();
    peer.send([7, 2, { query: "balance", credit: 1 }, "account", "alice"]);
    assert.equal((await peer.message())[4], 0);
    for (let i = 0; i < 100; i++) await deposit("alice", 1);
    await peer.roundTrip();
    assert.equal(peer.messagesWaiting, 0);
    peer.send([8, 2, 1]);
    assert.equal((await peer.message())[4], 100);
    peer.send([8, 2, 5]);
    await peer.roundTrip();
    assert.equal(peer.messagesWaiting, 0);
    await deposit("alice", 1);
    assert.equal((await peer.message())[4], 101);
  });

  test("reads again what has changed while it was read", async () => {
    const { open, deposit, service } = await start();
    const peer = await open();
    const release = service.hold();
    peer.send([7, 2, { query: "balance", credit: 10 }, "account", "alice"]);
    await until(() => service.callCount === 1);
    const deposited = deposit("alice", 5);
    release();
    await deposited;
    let last: unknown;
    while (last !== 5) last = (await peer.message())[4];
  });

  test("that is resumed tells that nothing has changed, or the present value", async () => {
    const { open, deposit, remove } = await start();
    await deposit("alice", 5);
    const peer = await open();
    const resume = (id: number, seen: unknown, query: unknown = "balance") =>
      peer.send([7, id, { query, credit: 10, seen }, "account", "alice"]);
    resume(2, [log, 1]);
    assert.deepEqual(await peer.message(), [5, 2]);
    await deposit("alice", 1);
    assert.deepEqual(await peer.message(), [4, 2, 2, log, 6]);
    resume(4, [log, 1]);
    assert.deepEqual(await peer.message(), [4, 4, 2, log, 6]);
    // Sequences of another log prove nothing.
    resume(6, ["0ff0", 99]);
    assert.deepEqual(await peer.message(), [4, 6, 2, log, 6]);
    await remove("alice");
    peer.send([9, 2], [9, 4], [9, 6]);
    await peer.roundTrip();
    while (peer.messagesWaiting > 0) await peer.message();
    // That there is nothing is told always: its sequence is not the entity's own.
    peer.send([7, 8, { credit: 10, seen: [log, 99] }, "account", "alice"]);
    assert.deepEqual((await peer.message()).slice(0, 2), [4, 8]);
  });

  test("ends with the error of its query, and tells it", async () => {
    const { open, service, deposit } = await start();
    const peer = await open();
    peer.send([7, 2, { query: "plus", input: { cents: "x" } }, "account", "alice"]);
    const [type, id, facts] = await peer.message();
    assert.deepEqual([type, id, facts.code], [3, 2, "invalid-input"]);
    await deposit("alice", 5);
    assert.equal(service.watchCount, 0);
  });

  test("outlives a service that is not ready for a while", async () => {
    const { open, service, deposit } = await start();
    await deposit("alice", 5);
    const peer = await open();
    const { OnefoldError } = await import("../base/errors.ts");
    service.failWith = new OnefoldError("not-ready", "not now");
    peer.send([7, 2, { query: "balance" }, "account", "alice"]);
    await until(() => service.callCount === 2);
    service.failWith = undefined;
    assert.equal((await peer.message())[4], 5);
  });

  test("that is cancelled, or whose connection ends, leaves nothing behind", async () => {
    const { open, service, deposit } = await start();
    const peer = await open();
    peer.send([7, 2, { query: "balance", credit: 5 }, "account", "alice"], [7, 4, { credit: 5 }, "account", "alice"]);
    await peer.messages(2);
    assert.equal(service.watchCount, 2);
    peer.send([9, 2]);
    await peer.roundTrip();
    assert.equal(service.watchCount, 1);
    await deposit("alice", 1);
    assert.equal((await peer.message())[1], 4);
    peer.close();
    await until(() => service.watchCount === 0);
  });

  test("is bounded in number and credit", async () => {
    const { open, service } = await start({}, { socketSubscriptionsMax: 2 });
    const peer = await open();
    for (const id of [2, 4, 6]) peer.send([7, id, { query: "balance", credit: 0 }, "account", "alice"]);
    const [type, id, facts] = await peer.message();
    assert.deepEqual([type, id, facts.code], [3, 6, "over-quota"]);
    assert.equal(service.watchCount, 2);
    peer.send([9, 2]);
    peer.send([7, 8, { query: "balance", credit: 1025 }, "account", "alice"]);
    assert.equal((await peer.message())[2].code, "malformed");
    peer.send([7, 6, { query: "balance" }, "account", "alice"]);
    assert.equal((await peer.message())[1], 6);
  });

  test("is authorised as the read that it is", async () => {
    const { open } = await start({
      authenticate: () => ({ tenant: "t", subject: "s", scopes: [] }),
      authorize: (_principal, operation) => operation.name !== "plus",
    });
    const peer = await open();
    peer.send([7, 2, {}, "account", "alice"]);
    assert.deepEqual((await peer.message())[2].details, { scope: "inspect" });
    peer.send([7, 4, { query: "plus", input: { cents: 1 } }, "account", "alice"]);
    assert.equal((await peer.message())[2].code, "forbidden");
    peer.send([7, 6, { query: "balance" }, "account", "alice"]);
    assert.equal((await peer.message())[4], 0);
  });

  test("is one of many whose reads are bounded, and all get the last value", async () => {
    const { open, deposit, service } = await start({}, { socketSubscriptionReadsMax: 2 });
    const watchers = await Promise.all(Array.from({ length: 10 }, () => open()));
    for (const peer of watchers) peer.send([7, 2, { query: "balance", credit: 100 }, "account", "alice"]);
    for (const peer of watchers) await peer.message();
    const release = service.hold();
    const before = service.callCount;
    const deposits = [1, 2, 3].map((cents) => deposit("alice", cents));
    release();
    await Promise.all(deposits);
    for (const peer of watchers) {
      let last: unknown;
      while (last !== 6) last = (await peer.message())[4];
    }
    assert.ok(service.callCount - before <= 3 + 3 * watchers.length);
  });
});

describe("the reader of subscriptions", () => {
  test("has fewer reads under way where they take long, never none, and more again where they don't", async () => {
    let nowMs = 0;
    const reader = new SubscriptionReader({ readsMax: 8, slowMs: 100, monotonicMs: () => nowMs });
    const underWay: (() => void)[] = [];
    const read = () => new Promise<void>((resolve) => underWay.push(resolve));
    for (let i = 0; i < 100; i++) reader.want({ read });
    const end = async (): Promise<void> => {
      underWay.shift()!();
      await new Promise((resolve) => setImmediate(resolve));
    };
    assert.equal(underWay.length, 8);
    nowMs += 101;
    for (let i = 0; i < 8; i++) await end();
    assert.equal(underWay.length, 1);
    for (let i = 0; i < 3; i++) await end();
    assert.equal(underWay.length, 4);
    for (let i = 0; i < 20; i++) await end();
    assert.equal(underWay.length, 8);
  });
});
