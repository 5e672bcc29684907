import assert from "node:assert/strict";
import { connect, createServer, type AddressInfo, type Server, type Socket } from "node:net";
import { afterEach, describe, test } from "node:test";
import { encodeUtf8 } from "../../base/bytes.ts";
import { type Endpoint, type Network, NetworkError, type NetworkLimits, queuedBytes } from "../network.ts";
import { networkSuite } from "../network.suite.ts";
import { nodeTimers } from "./clock.ts";
import { encodeFrame, FrameReader } from "./frame.ts";
import { NodeNetwork } from "./network.ts";

const host = "127.0.0.1";
const bounds = { messageBytesMax: 100_000, queueBytesMax: 1_500_000 };

networkSuite("real", () => {
  const node = () => {
    const limits = { networkMessageBytesMax: bounds.messageBytesMax, networkQueueBytesMax: bounds.queueBytesMax };
    return { network: new NodeNetwork({ trace: () => undefined, limits }), host };
  };
  return { nodes: [node(), node()], bounds, timers: nodeTimers, run: (body) => body() };
});

/** What a test opened. Without it, one that fails would keep the process alive. */
const cleanups: (() => Promise<void> | void)[] = [];

/** A network that keeps what it traces; `traced` resolves once a line begins so. */
function watched(limits: Partial<NetworkLimits> = {}) {
  const lines: string[] = [];
  const waiting: { readonly start: string; readonly resolve: (line: string) => void }[] = [];
  const node = new NodeNetwork({
    limits,
    trace: (level, message, fields) => {
      const line = `${level} ${message} ${String(fields?.what ?? fields?.error ?? "")}`;
      lines.push(line);
      for (const { start, resolve } of waiting) if (line.startsWith(start)) resolve(line);
    },
  });
  const network: Network = {
    listen: async (address, receive) => {
      const endpoint = await node.listen(address, receive);
      cleanups.push(() => endpoint.close());
      return endpoint;
    },
  };
  const traced = (start: string) => new Promise<string>((resolve) => waiting.push({ start, resolve }));
  return { network, lines, traced };
}

const closed = (socket: Socket) => new Promise<void>((resolve) => socket.once("close", () => resolve()));
const portOf = (address: string) => Number(address.split(":").at(-1));

/** A peer that speaks raw TCP; it reads, so that it notices its end, and ignores how that came. */
function rawPeer(address: string): Socket {
  const socket = connect({ host, port: portOf(address) });
  socket.on("error", (error: NodeJS.ErrnoException) => assert.match(String(error.code), /ECONNRESET|EPIPE/));
  cleanups.push(() => void socket.destroy());
  return socket.resume();
}

async function listenRaw(
  accept: (socket: Socket) => void,
): Promise<{ readonly server: Server; readonly address: string }> {
  const sockets: Socket[] = [];
  const server = createServer((socket) => {
    sockets.push(socket);
    accept(socket);
  });
  cleanups.push(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  await new Promise<void>((resolve) => server.listen(0, host, resolve));
  return { server, address: `${host}:${(server.address() as AddressInfo).port}` };
}

/** False where there was no room. */
function sendUnlessFull(sender: Endpoint, to: string, length: number): boolean {
  try {
    sender.send(to, new Uint8Array(length));
    return true;
  } catch (error) {
    assert(error instanceof NetworkError && error.code === "full");
    return false;
  }
}

describe("frames", () => {
  test("are read the same however the stream is cut", () => {
    const bodies = [0, 1, 5, 300, 0, 70_000].map((length, i) => new Uint8Array(length).fill(i + 1));
    const stream = Buffer.concat(bodies.map(encodeFrame));
    for (const step of [1, 3, 4, 5, 1000, stream.length]) {
      const reader = new FrameReader(70_000);
      const read: Uint8Array[] = [];
      for (let at = 0; at < stream.length; at += step) read.push(...reader.push(stream.subarray(at, at + step)));
      assert.deepEqual(read, bodies, `in steps of ${step}`);
      assert.equal(reader.isPartial, false);
    }
  });

  test("end at one above the limit, after all before it were given (F1)", () => {
    const reader = new FrameReader(10);
    const bodies = reader.push(Buffer.concat([encodeFrame(new Uint8Array(10)), encodeFrame(new Uint8Array(11))]));
    assert.equal(bodies.next().value?.length, 10);
    assert.deepEqual(bodies.next(), { done: true, value: "too-long" });
  });
});

describe("the real network", { timeout: 10_000 }, () => {
  afterEach(async () => {
    for (const close of cleanups.splice(0)) await close();
  });

  test("ends connections that break the protocol, and serves the others (R1, R2)", async () => {
    const { network, traced } = watched({ networkMessageBytesMax: 1000, networkAnswerMs: 300 });
    const received: string[] = [];
    let arrived: () => void = () => undefined;
    const endpoint = await network.listen(`${host}:0`, (bytes, from) => {
      received.push(`${from} ${bytes.length}`);
      arrived();
    });
    const hello = encodeFrame(encodeUtf8(`onefold-network 1 ${host}:9`));
    const tooLong = encodeFrame(new Uint8Array(1001));
    const cases: readonly (readonly [bytes: Uint8Array, what: RegExp])[] = [
      [encodeUtf8("GET / HTTP/1.1\r\n\r\n"), /above the limit/],
      [encodeFrame(encodeUtf8(`onefold-network 2 ${host}:9`)), /no hello/],
      [encodeFrame(encodeUtf8("onefold-network 1 not an address")), /no hello/],
      [encodeFrame(new Uint8Array([0xff, 0xfe, 0])), /no hello/],
      [new Uint8Array(0), /in the middle/],
      [hello.subarray(0, 9), /in the middle/],
      [Buffer.concat([hello, encodeFrame(new Uint8Array(7)), tooLong]), /above the limit/],
      [Buffer.concat([hello, encodeFrame(new Uint8Array(8)), tooLong.subarray(0, 2)]), /in the middle/],
    ];
    for (const [bytes, what] of cases) {
      const line = traced("warn An incoming connection broke the protocol");
      const peer = rawPeer(endpoint.address);
      peer.write(bytes);
      assert.match(await line, what);
      await closed(peer);
    }
    assert.deepEqual(received, [`${host}:9 7`, `${host}:9 8`]);
    const whole = new Promise<void>((resolve) => {
      arrived = resolve;
    });
    const peer = await network.listen(`${host}:0`, () => undefined);
    peer.send(endpoint.address, new Uint8Array(3));
    await whole;
    assert.equal(received.at(-1), `${peer.address} 3`);
  });

  test("ends connections above the limit on peers", async () => {
    const { network } = watched({ networkPeersMax: 3 });
    const endpoint = await network.listen(`${host}:0`, () => undefined);
    const admitted = [0, 1, 2].map(() => rawPeer(endpoint.address));
    await Promise.all(admitted.map((peer) => new Promise<void>((resolve) => peer.once("connect", () => resolve()))));
    await closed(rawPeer(endpoint.address));
    assert(admitted.every((peer) => !peer.destroyed));
  });

  test("forgets an idle peer for a new one, and refuses the new one where none is idle", async () => {
    const { network } = watched({ networkPeersMax: 2 });
    let count = 0;
    let arrived: () => void = () => undefined;
    const listen = () =>
      network.listen(`${host}:0`, () => {
        count++;
        arrived();
      });
    const [sender, ...peers] = await Promise.all([listen(), listen(), listen(), listen()]);
    const mute = await listenRaw((socket) => socket.resume());
    for (const round of [1, 2]) {
      for (const [i, peer] of peers.entries()) {
        const arrival = new Promise<void>((resolve) => {
          arrived = resolve;
        });
        // Its confirmation is not there yet, perhaps; then the caller tries again, as it does at any full queue.
        while (!sendUnlessFull(sender, peer.address, 1)) await new Promise<void>((resolve) => nodeTimers.soon(resolve));
        await arrival;
        assert.equal(count, (round - 1) * 3 + i + 1);
      }
    }
    const another = await listenRaw((socket) => socket.resume());
    const third = await listenRaw((socket) => socket.resume());
    const sendAll = () => {
      for (const { address } of [mute, another, third]) sender.send(address, new Uint8Array(1));
    };
    // The two last peers' confirmations may be under way still, so one of the first two may be refused already.
    assert.throws(sendAll, (error) => error instanceof NetworkError && error.code === "full");
  });

  test("gives a peer up that confirms nothing, says so once, and says when it is back", async () => {
    const { network, lines, traced } = watched({ networkAnswerMs: 200, networkQueueBytesMax: 4 * queuedBytes(100) });
    const mute = await listenRaw((socket) => socket.resume());
    const sender = await network.listen(`${host}:0`, () => undefined);
    const away = traced("warn A peer is away");
    for (let i = 0; i < 4; i++) sender.send(mute.address, new Uint8Array(100));
    assert.throws(() => sender.send(mute.address, new Uint8Array(100)), { code: "full" });
    assert.match(await away, /confirmed nothing for 200 ms/);
    // There is room again, and another attempt, which fails too.
    const second = new Promise<void>((resolve) => {
      mute.server.once("connection", (socket) => socket.once("close", () => resolve()));
    });
    let isOver = false;
    void second.then(() => {
      isOver = true;
    });
    const retry = () => {
      if (isOver) return;
      sendUnlessFull(sender, mute.address, 100);
      nodeTimers.after(20, retry);
    };
    retry();
    await second;
    await new Promise((resolve) => mute.server.close(resolve));

    const back = traced("info A peer is back");
    let isBack = false;
    const peer = await network.listen(mute.address, () => {
      isBack = true;
    });
    const attempt = () => {
      if (isBack) return;
      sendUnlessFull(sender, peer.address, 1);
      nodeTimers.after(20, attempt);
    };
    attempt();
    await back;
    assert.equal(lines.filter((line) => line.includes("is away")).length, 1);
  });

  test("gives up a peer that confirms the beginning alone", async () => {
    const { network, traced } = watched({ networkAnswerMs: 200 });
    const half = await listenRaw((socket) => {
      socket.resume();
      socket.write(encodeFrame(new Uint8Array([0, 0, 0, 1])));
    });
    const sender = await network.listen(`${host}:0`, () => undefined);
    const away = traced("warn A peer is away");
    sender.send(half.address, new Uint8Array(1));
    sender.send(half.address, new Uint8Array(1));
    assert.match(await away, /confirmed nothing for 200 ms/);
  });

  test("listens where it is told to, under the address that its peers know", async () => {
    const got: string[] = [];
    const behind = await listenRaw((socket) => {
      // What stands between: all that comes to the known address goes on to the other one.
      const onward = connect({ host, port: hidden });
      for (const each of [socket, onward]) each.on("error", () => socket.destroy());
      cleanups.push(() => void onward.destroy());
      socket.pipe(onward).pipe(socket);
    });
    const taken = createServer().listen(0, host);
    await new Promise((resolve) => taken.once("listening", resolve));
    const hidden = (taken.address() as AddressInfo).port;
    await new Promise((resolve) => taken.close(resolve));
    const network = new NodeNetwork({ trace: () => undefined, listenOn: `0.0.0.0:${hidden}` });
    let arrive: () => void = () => undefined;
    const arrived = new Promise<void>((resolve) => {
      arrive = resolve;
    });
    const endpoint = await network.listen(behind.address, (message, from) => {
      got.push(`${from} sent ${message.length}`);
      arrive();
    });
    cleanups.push(() => endpoint.close());
    assert.equal(endpoint.address, behind.address);
    const { network: senders } = watched();
    const sender = await senders.listen(`${host}:0`, () => undefined);
    sender.send(behind.address, new Uint8Array(3));
    await arrived;
    assert.deepEqual(got, [`${sender.address} sent 3`]);
  });

  test("needs a port that its peers know where it listens at another one", async () => {
    const network = new NodeNetwork({ trace: () => undefined, listenOn: `${host}:7401` });
    const refused = (error: unknown) => error instanceof NetworkError && error.code === "invalid-address";
    await assert.rejects(
      network.listen(`${host}:0`, () => undefined),
      refused,
    );
    assert.throws(() => new NodeNetwork({ trace: () => undefined, listenOn: "somewhere" }), refused);
  });

  test("says nothing of peers that it leaves itself", async () => {
    const { network, lines } = watched();
    let left: () => void = () => undefined;
    const leaving = new Promise<void>((resolve) => {
      left = resolve;
    });
    const mute = await listenRaw((socket) => socket.resume().once("close", () => left()));
    const sender = await network.listen(`${host}:0`, () => undefined);
    sender.send(mute.address, new Uint8Array(1));
    await new Promise<void>((resolve) => mute.server.once("connection", () => resolve()));
    await sender.close();
    await leaving;
    assert.deepEqual(lines, []);
  });

  test("ends a connection on which more is confirmed than was sent, or nonsense", async () => {
    const frames = [[0, 0, 0, 2], [0, 0, 0, 0], [1], [0xff, 0xff, 0xff, 0xff]].map((body) =>
      encodeFrame(new Uint8Array(body)),
    );
    for (const answer of [...frames, encodeUtf8("HTTP/1.1 400 Bad Request\r\n")]) {
      const { network, traced } = watched();
      const liar = await listenRaw((socket) => {
        socket.resume();
        socket.write(answer);
      });
      const sender = await network.listen(`${host}:0`, () => undefined);
      const away = traced("warn A peer is away");
      sender.send(liar.address, new Uint8Array(1));
      assert.match(await away, /not sent|no confirmation/);
    }
  });

  test("tries a peer that refuses connections no more often than the limit says", async () => {
    const { network, lines, traced } = watched({ networkRedialMs: 5000 });
    const nobody = await network.listen(`${host}:0`, () => undefined);
    await nobody.close();
    const sender = await network.listen(`${host}:0`, () => undefined);
    const away = traced("warn A peer is away");
    sender.send(nobody.address, new Uint8Array(1));
    assert.match(await away, /ECONNREFUSED/);
    let arrivals = 0;
    const late = await network.listen(nobody.address, () => arrivals++);
    for (let i = 0; i < 100; i++) sender.send(late.address, new Uint8Array(1));
    // A message between others that arrives shows that one of these would have, by now.
    let known: () => void = () => undefined;
    const arrival = new Promise<void>((resolve) => {
      known = resolve;
    });
    const witness = await network.listen(`${host}:0`, () => known());
    witness.send(witness.address, new Uint8Array(1));
    await arrival;
    assert.deepEqual([arrivals, lines.length], [0, 1]);
  });
});
