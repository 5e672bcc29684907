/** The socket as `docs/protocol.md` says, spoken by a peer that knows nothing but that. */
import assert from "node:assert/strict";
import { afterEach, describe, test } from "node:test";
import type { Limits } from "../base/limits.ts";
import type { SystemOptions } from "../entity/definition.ts";
import { bankSystem, testHost } from "./bank.fake.ts";
import { createGateway, type Gateway } from "./gateway.ts";
import { FakeService } from "./service.fake.ts";
import { SocketPeer, until } from "./socket-peer.fake.ts";
import { Wire } from "./wire.fake.ts";

const gateways: Gateway[] = [];
const peers: { close(): void }[] = [];

async function start(options: SystemOptions = {}, limits: Partial<Limits> = {}) {
  const system = bankSystem(options);
  const service = new FakeService(system);
  const host = testHost();
  const address = { hostname: "127.0.0.1", port: 0 };
  const gateway = await createGateway({ service, system, host, address, limits });
  gateways.push(gateway);
  await gateway.listen();
  const open = async (how: Parameters<typeof SocketPeer.open>[1] = {}) => {
    const peer = await SocketPeer.open(gateway.port, how);
    peers.push(peer);
    return peer;
  };
  const connect = (how: ConstructorParameters<typeof SocketPeer>[1] = {}) => {
    const peer = new SocketPeer(gateway.port, how);
    peers.push(peer);
    return peer;
  };
  return { gateway, service, host, open, connect };
}

afterEach(async () => {
  for (const peer of peers.splice(0)) peer.close();
  for (const gateway of gateways.splice(0)) await gateway.close();
});

const deposit = (id: number, cents: number, options: unknown = null) => [
  1,
  id,
  options,
  "account",
  "alice",
  "deposit",
  { cents },
];

describe("a socket's greeting", () => {
  test("is answered with the system, a session and the limits", async () => {
    const { open } = await start();
    const { welcome } = await open({ query: "?system=bank" });
    assert.equal(welcome.system, "bank");
    assert.equal(typeof welcome.session, "string");
    assert.deepEqual(Object.keys(welcome).sort(), [
      "callBytesMax",
      "callsMax",
      "frameBytesMax",
      "session",
      "sessionMs",
      "sessionRequestsMax",
      "silenceMsMax",
      "subscriptionsMax",
      "system",
    ]);
  });

  test("of another system is told which one this is, and ended", async () => {
    const { connect } = await start();
    const peer = connect({ query: "?system=shop" });
    await peer.opened();
    peer.send([0, {}]);
    const [type, id, facts] = await peer.message();
    assert.deepEqual(
      [type, id, facts.code, facts.retry, facts.details],
      [3, 0, "unknown-system", "never", { system: "bank" }],
    );
    assert.equal((await peer.closed()).code, 4404);
  });

  test("must come first, in time, and alone in its frame", async () => {
    const { connect, service } = await start({}, { socketHelloMs: 100 });
    const early = connect();
    await early.opened();
    early.send(deposit(1, 5));
    assert.equal((await early.closed()).code, 4400);
    const crowded = connect();
    await crowded.opened();
    crowded.send([0, {}], deposit(1, 5));
    assert.equal((await crowded.closed()).code, 4400);
    const silent = connect();
    await silent.opened();
    assert.equal((await silent.closed()).code, 4408);
    assert.equal(service.callCount, 0);
  });

  test("carries a token to `authenticate` as a bearer's, and headers as they came", async () => {
    const { open, connect } = await start({
      authenticate: ({ headers }) =>
        headers.authorization === "Bearer good" || headers.cookie === "good"
          ? { tenant: "t", subject: "s", scopes: [] }
          : null,
    });
    await open({ hello: { token: "good" } });
    await open({ headers: { authorization: "Bearer good" } });
    await open({ headers: { cookie: "good" } });
    for (const hello of [{}, { token: "bad" }]) {
      const peer = connect();
      await peer.opened();
      peer.send([0, hello]);
      const [, , facts] = await peer.message();
      assert.equal(facts.code, "unauthenticated");
      assert.equal((await peer.closed()).code, 4401);
    }
  });

  test("that `authenticate` is still deciding about keeps what comes behind it waiting", async () => {
    let decide: (() => void) | undefined;
    const { connect, service } = await start({
      authenticate: () =>
        new Promise((resolve) => {
          decide = () => resolve({ tenant: "t", subject: "s", scopes: [] });
        }),
    });
    const peer = connect();
    await peer.opened();
    peer.send([0, {}]);
    peer.send(deposit(1, 5));
    await until(() => decide !== undefined);
    assert.equal(service.callCount, 0);
    decide?.();
    assert.equal((await peer.message())[0], 0);
    assert.deepEqual(await peer.message(), [1, 1, 1, 5]);
  });

  test("is not needed to be refused: handshakes that HTTP's rules forbid get problem documents", async () => {
    const { connect } = await start();
    const refusals: readonly [Parameters<typeof connect>[0], number, string][] = [
      [{ protocol: "chat" }, 400, "malformed"],
      [{ query: "?sytem=bank" }, 400, "malformed"],
      [{ path: "/v1/sockets" }, 404, "unknown-route"],
      [{ headers: { origin: "http://elsewhere.example" } }, 403, "forbidden"],
      [{ headers: { host: "elsewhere.example" } }, 403, "forbidden"],
      [{ headers: { "sec-fetch-site": "cross-site" } }, 403, "forbidden"],
    ];
    for (const [how, status, code] of refusals) {
      const refused = await connect(how).refused();
      assert.deepEqual([refused.status, JSON.parse(refused.body).code], [status, code]);
    }
  });
});

describe("a request that offers another protocol than WebSocket", () => {
  test("is served as if it had not, and its connection goes on", async () => {
    const { gateway, service } = await start();
    const wire = await Wire.connect(gateway.port);
    const body = JSON.stringify({ cents: 5 });
    const head = [
      "POST /v1/entities/account/alice/deposit HTTP/1.1",
      "Host: localhost",
      "Content-Type: application/json",
    ];
    const offer = ["Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA"];
    for (let round = 1; round <= 3; round++) {
      wire.write([...head, ...offer, `Content-Length: ${body.length}`, "", body].join("\r\n"));
      const reply = await wire.reply();
      assert.deepEqual([reply.status, reply.body], [200, String(5 * round)]);
    }
    assert.equal(service.callCount, 3);
    assert.equal(gateway.connectionCount, 1);
    wire.close();
    await until(() => gateway.connectionCount === 0);
  });
});

describe("a socket's calls", () => {
  test("are answered with sequence and output, each kind in its way", async () => {
    const { open } = await start();
    const peer = await open();
    peer.send(
      deposit(1, 500),
      [1, 2, null, "account", "alice", "balance"],
      [2, 3, null, "transfer", { from: "alice", to: "bob", cents: 200 }],
      [1, 4, null, "account", "alice", "touch"],
      [1, 5, null, "account", "alice", "plus", { cents: 1 }],
    );
    const written = await peer.messages(5);
    peer.send(
      [4, 6, null, "account", "bob"],
      [5, 7, { limit: 1 }, "account"],
      [6, 8, { limit: 1 }, "account", "bob"],
      [3, 9, null, "account", "bob"],
    );
    const answers = new Map([...written, ...(await peer.messages(4))].map((message) => [message[1], message]));
    assert.deepEqual(answers.get(1), [1, 1, 1, 500]);
    assert.equal(answers.get(2)[0], 2);
    assert.deepEqual(answers.get(3).slice(0, 2), [1, 3]);
    assert.equal(answers.get(4).length, 3);
    assert.equal(answers.get(5)[0], 2);
    assert.deepEqual(Object.keys(answers.get(6)[3]).sort(), ["generation", "schemaVersion", "state", "version"]);
    assert.deepEqual(answers.get(7)[3].ids, ["alice"]);
    assert.equal(answers.get(8)[3].items.length, 1);
    assert.equal(answers.get(9).length, 3);
  });

  test("of one turn are answered in one frame", async () => {
    const { open, service } = await start();
    const peer = await open();
    const release = service.hold();
    peer.send(...Array.from({ length: 100 }, (_, index) => deposit(index + 1, 1)));
    await until(() => service.callCount === 100);
    const before = peer.frames.length;
    release();
    await peer.messages(100);
    assert.equal(peer.frames.length - before, 1);
  });

  test("that fail are answered with the facts of the problem document", async () => {
    const { open } = await start();
    const peer = await open();
    const failing: readonly [readonly unknown[], Readonly<Record<string, unknown>>][] = [
      [
        [1, null, "account", "a", "withdraw", { cents: 1 }],
        { code: "insufficient-funds", retry: "never", status: 422, refused: true },
      ],
      [[1, null, "account", "a", "withdraw", { cents: "1" }], { code: "invalid-input", status: 422 }],
      [
        [1, null, "account", "a", "depozit"],
        { code: "unknown-command", status: 404, detail: /Did you mean deposit\?/ },
      ],
      [[1, null, "acount", "a", "deposit"], { code: "unknown-kind", status: 404, detail: /Did you mean account\?/ }],
      [[2, null, "transfers", {}], { code: "unknown-transaction", status: 404 }],
      [[4, null, "account", "nobody"], { code: "not-found", status: 404 }],
      [[1, { number: 1, key: "k" }, "account", "a", "touch"], { code: "malformed", status: 400 }],
      [[1, { deadlineMs: 0 }, "account", "a", "touch"], { code: "malformed" }],
      [[1, { reed: "strong" }, "account", "a", "balance"], { code: "malformed", detail: /reed/ }],
      [[5, { limit: 1001 }, "account"], { code: "malformed" }],
    ];
    for (const [[type, ...rest], expected] of failing) {
      peer.send([type, 77, ...rest]);
      const [answer, id, facts] = await peer.message();
      assert.deepEqual([answer, id], [3, 77]);
      for (const [name, value] of Object.entries(expected)) {
        if (value instanceof RegExp) assert.match(facts[name], value);
        else assert.equal(facts[name], value);
      }
    }
  });

  test("carry every kind of value both ways", async () => {
    const { open } = await start();
    const peer = await open();
    const value = {
      bytes: new Uint8Array([1, 2]),
      at: new Date(5),
      big: 2n ** 80n,
      list: [1.5, null, "é"],
      deep: { a: { b: 1 } },
    };
    peer.send([1, 1, null, "account", "alice", "echo", value]);
    const [, , , output] = await peer.message();
    assert.deepEqual({ ...output, bytes: new Uint8Array(output.bytes) }, value);
  });

  test("need the scopes and the consent that they need over HTTP", async () => {
    const asked: unknown[] = [];
    const { open } = await start({
      authenticate: () => ({ tenant: "t", subject: "s", scopes: ["inspect"] }),
      authorize: async (_principal, operation) => {
        asked.push(operation);
        return operation.action !== "command";
      },
    });
    const peer = await open();
    peer.send(deposit(1, 5), [3, 2, null, "account", "alice"], [1, 3, null, "account", "alice", "balance"]);
    const answers = new Map((await peer.messages(3)).map((message) => [message[1], message]));
    assert.equal(answers.get(1)[2].code, "forbidden");
    assert.deepEqual(answers.get(2)[2].details, { scope: "admin" });
    assert.equal(answers.get(3)[0], 2);
    assert.deepEqual(asked[0], { action: "command", kind: "account", id: "alice", name: "deposit" });
  });

  test("with one session and number take hold once, on whichever connection they come", async () => {
    const { open } = await start();
    const first = await open();
    first.send(deposit(1, 5, 1));
    assert.deepEqual(await first.message(), [1, 1, 1, 5]);
    first.close();
    const second = await open();
    second.send([11, 1, first.welcome.session], deposit(9, 5, 1), deposit(10, 5, { number: 2 }));
    assert.deepEqual(await second.messages(2), [
      [1, 9, 1, 5],
      [1, 10, 2, 10],
    ]);
  });

  test("tell the service number, lowest, deadline and key", async () => {
    const { open, service } = await start();
    const peer = await open();
    peer.send([11, 3], deposit(1, 5, { number: 4, deadlineMs: 700 }));
    await peer.message();
    const { session, deadlineMs } = service.lastOptions as { session?: object; deadlineMs?: number };
    assert.deepEqual([session, deadlineMs], [{ token: peer.welcome.session, number: 4, lowest: 3 }, 700]);
    peer.send(deposit(2, 5, { key: "once" }));
    await peer.message();
    assert.equal((service.lastOptions as { idempotencyKey?: string }).idempotencyKey, "once");
  });

  test("that were cancelled are not answered; others are", async () => {
    const { open, service } = await start();
    const peer = await open();
    const release = service.hold();
    peer.send(deposit(1, 5), deposit(2, 5), [9, 1]);
    await peer.roundTrip();
    release();
    assert.equal((await peer.message())[1], 2);
    await peer.roundTrip();
    assert.equal(peer.messagesWaiting, 0);
  });

  test("whose cancellation came too late leave their id free for another", async () => {
    const { open, service } = await start();
    const peer = await open();
    peer.send(deposit(1, 5));
    await peer.message();
    const release = service.hold();
    peer.send(deposit(2, 5), [9, 1], [9, 77]);
    await peer.roundTrip();
    release();
    await peer.message();
    peer.send(deposit(1, 5));
    assert.deepEqual((await peer.message()).slice(0, 2), [1, 1]);
  });

  test("with the id of one that is open end the connection", async () => {
    const { open, service } = await start();
    const peer = await open();
    service.hold();
    peer.send(deposit(1, 5), deposit(1, 5));
    assert.equal((await peer.closed()).code, 4400);
  });

  test("beyond the limit of unanswered ones are refused, and there is room again afterwards", async () => {
    const { open, service } = await start({}, { socketCallsMax: 3 });
    const peer = await open();
    const release = service.hold();
    peer.send(...[1, 2, 3, 4].map((id) => deposit(id, 1)));
    const [type, id, facts] = await peer.message();
    assert.deepEqual([type, id, facts.code, facts.retry], [3, 4, "overloaded", "safe"]);
    release();
    await peer.messages(3);
    peer.send(deposit(5, 1));
    assert.deepEqual(await peer.message(), [1, 5, 4, 4]);
  });

  test("larger than a body may be are refused without harm to others", async () => {
    const { open } = await start();
    const peer = await open();
    peer.send([1, 1, null, "account", "alice", "echo", new Uint8Array(1024 * 1024)], deposit(2, 1));
    const answers = await peer.messages(2);
    assert.deepEqual(
      answers.map((message) => [message[0], message[1]]),
      [
        [3, 1],
        [1, 2],
      ],
    );
    assert.equal(answers[0][2].code, "payload-too-large");
  });

  test("show nothing of the inside to strangers, and the message to the developer", async () => {
    for (const isGuarded of [true, false]) {
      const principal = { tenant: "t", subject: "s", scopes: [] };
      const { open, service, host } = await start(isGuarded ? { authenticate: () => principal } : {});
      const peer = await open();
      service.failWith = new TypeError("secret");
      peer.send(deposit(1, 1));
      const [, , facts] = await peer.message();
      assert.equal(facts.code, "internal");
      assert.doesNotMatch(JSON.stringify(facts), /secret/);
      assert.equal(host.traced.filter(({ level }) => level === "error").length, 1);
    }
  });
});

describe("a socket's frames", () => {
  test("that can't be read end the connection, and nothing behind them is carried out", async () => {
    const { open, service } = await start();
    const bad: readonly number[][] = [
      [0xc1],
      [0x01],
      [0x91, 0x01],
      [0x91, 0x92, 0x01],
      [0x91, 0x91, 0x63, 0x00],
      [0x91, 0x92, 0x0a, 0xc0, 0x00],
      [...new Array(1000).fill(0x91)],
      [0xdd, 0xff, 0xff, 0xff, 0xff],
    ];
    for (const bytes of bad) {
      const peer = await open();
      peer.sendBytes(new Uint8Array(bytes));
      peer.send(deposit(1, 5));
      assert.equal((await peer.closed()).code, 4400, Buffer.from(bytes.slice(0, 8)).toString("hex"));
    }
    assert.equal(service.callCount, 0);
  });

  test("of random bytes never harm anybody else", async () => {
    const { open } = await start();
    const bystander = await open();
    for (let round = 0; round < 50; round++) {
      const peer = await open();
      const bytes = Uint8Array.from({ length: 1 + ((round * 37) % 200) }, (_, i) => (round * 131 + i * i * 29) & 0xff);
      bytes[0] = 0x91;
      peer.sendBytes(bytes);
      await Promise.race([peer.closed(), peer.message()]);
      peer.close();
    }
    bystander.send(deposit(1, 5));
    assert.deepEqual(await bystander.message(), [1, 1, 1, 5]);
  });

  test("of text, or larger than allowed, end the connection", async () => {
    const { open } = await start();
    const talker = await open();
    talker.socket.send("hello");
    assert.equal((await talker.closed()).code, 4400);
    const giant = await open();
    giant.sendBytes(new Uint8Array(2 * 1024 * 1024));
    assert.equal((await giant.closed()).code, 1009);
  });

  test("of which only a half comes keep nothing but their own connection waiting", async () => {
    const { open, gateway } = await start({}, { socketSilenceMs: 200 });
    const half = await open({ autoPong: false });
    // The head of a masked binary frame of 100 bytes, and two of them.
    const tcp = (half.socket as unknown as { _socket: { write(bytes: Uint8Array): void } })._socket;
    tcp.write(new Uint8Array([0x82, 0x80 | 100, 0, 0, 0, 0, 1, 2]));
    const other = await open();
    other.send(deposit(1, 5));
    assert.deepEqual(await other.message(), [1, 1, 1, 5]);
    await half.closed();
    other.close();
    await until(() => gateway.connectionCount === 0);
  });
});

describe("a client that does not read", () => {
  test("is read from no more, and gets everything in the end", async () => {
    const { open, service } = await start({}, { socketBufferedBytesPause: 64 * 1024 });
    const peer = await open();
    const large = (id: number) => [1, id, null, "account", "alice", "large"];
    const tcp = (peer.socket as unknown as { _socket: { pause(): void; resume(): void } })._socket;
    tcp.pause();
    const frames = 100;
    for (let i = 0; i < frames; i++) peer.send(large(2 * i + 1), large(2 * i + 2));
    // It stops somewhere: what was read is answered, and the rest stays where it is.
    let seen = -1;
    await until(() => {
      const isStill = seen === service.callCount && seen > 0;
      seen = service.callCount;
      return isStill;
    });
    assert.ok(service.callCount < 2 * frames, `${service.callCount} calls were begun`);
    tcp.resume();
    await peer.messages(2 * frames);
    assert.equal(service.callCount, 2 * frames);
  });

  test("is ended when what it asked for exceeds what is kept for it, and others are not", async () => {
    const { open, service } = await start(
      {},
      { socketBufferedBytesPause: 64 * 1024, socketBufferedBytesMax: 1024 * 1024 },
    );
    const peer = await open();
    const other = await open();
    const release = service.hold();
    (peer.socket as unknown as { _socket: { pause(): void } })._socket.pause();
    peer.send(...Array.from({ length: 200 }, (_, i) => [1, i + 1, null, "account", "alice", "large"]));
    await until(() => service.callCount === 200);
    release();
    other.send(deposit(1, 5));
    assert.equal((await other.message())[3], 5);
    (peer.socket as unknown as { _socket: { resume(): void } })._socket.resume();
    assert.notEqual((await peer.closed()).code, 1000);
  });
});

describe("idle sockets", () => {
  test("by the hundred are served and kept while they answer pings", async () => {
    const { open, gateway } = await start({}, { socketSilenceMs: 300 });
    const idle = await Promise.all(Array.from({ length: 200 }, () => open()));
    let pings = 0;
    for (const peer of idle) peer.socket.once("ping", () => pings++);
    await until(() => pings === 200);
    const active = idle[100]!;
    active.send(deposit(1, 5));
    assert.deepEqual(await active.message(), [1, 1, 1, 5]);
    assert.equal(gateway.connectionCount, 200);
  });

  test("that answer no ping are ended", async () => {
    const { open, gateway } = await start({}, { socketSilenceMs: 100 });
    const peer = await open({ autoPong: false });
    await peer.closed();
    await until(() => gateway.connectionCount === 0);
  });

  test("beyond the limit of connections are told so", async () => {
    const { open, connect } = await start({}, { connectionsMax: 2 });
    await open();
    await open();
    const { status, body } = await connect().refused();
    assert.deepEqual([status, JSON.parse(body).code, JSON.parse(body).retry], [503, "overloaded", "safe"]);
  });
});

describe("a node that takes its leave", () => {
  test("answers what it has begun, refuses what comes then, and says goodbye", async () => {
    const { open, gateway, service } = await start();
    const peer = await open();
    const idle = await open();
    const release = service.hold();
    peer.send(deposit(1, 5));
    await until(() => service.callCount === 1);
    const drained = gateway.drain({ noticeMs: 0 });
    assert.equal((await idle.closed()).code, 1001);
    peer.send(deposit(2, 5));
    const [type, id, facts] = await peer.message();
    assert.deepEqual([type, id, facts.code, facts.retry], [3, 2, "not-ready", "safe"]);
    release();
    assert.deepEqual(await peer.message(), [1, 1, 1, 5]);
    assert.equal((await peer.closed()).code, 1001);
    assert.equal(await drained, true);
  });
});
