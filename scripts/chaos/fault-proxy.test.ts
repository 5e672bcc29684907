/** The fault proxy against plain sockets: what a bad network does, and what it must not. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";
import { afterEach, describe, test } from "node:test";
import { SeededRandom } from "../../src/base/random.ts";
import { FaultProxy, WayState } from "./fault-proxy.ts";

const host = "127.0.0.1";

describe("the fault proxy", { timeout: 20_000 }, () => {
  const cleanups: (() => unknown)[] = [];
  afterEach(async () => {
    for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
  });

  interface Rig {
    readonly there: WayState;
    readonly back: WayState;
    readonly client: Socket;
    readonly server: Server;
    /** The other end of the client's connection, once it is there. */
    readonly accepted: Promise<Socket>;
  }

  async function rig(prepare: (there: WayState, back: WayState) => void = () => undefined): Promise<Rig> {
    const server = createServer({ allowHalfOpen: true }).listen(0, host);
    await once(server, "listening");
    const accepted = once(server, "connection").then(([socket]) => {
      cleanups.push(() => socket.destroy());
      return socket as Socket;
    });
    cleanups.push(() => server.close());
    const random = new SeededRandom(1);
    const [there, back] = [new WayState(random.fork("there")), new WayState(random.fork("back"))];
    prepare(there, back);
    const { port } = server.address() as AddressInfo;
    const proxy = await FaultProxy.listen({
      target: { host, port },
      from: "a",
      to: "b",
      way: (from) => (from === "a" ? there : back),
    });
    cleanups.push(() => proxy.close());
    const client = connect({ host, port: proxy.port, allowHalfOpen: true });
    client.on("error", () => undefined);
    cleanups.push(() => client.destroy());
    await once(client, "connect");
    return { there, back, client, server, accepted };
  }

  /** Reads until so many bytes have come. */
  async function bytesOf(socket: Socket, count: number): Promise<Buffer> {
    const pieces: Buffer[] = [];
    for (let size = 0; size < count; ) {
      const [piece] = (await once(socket, "data")) as [Buffer];
      pieces.push(piece);
      size += piece.length;
    }
    return Buffer.concat(pieces);
  }

  test("passes bytes on unchanged and in order, both ways, also late and lossy ones (FP1)", async () => {
    const { there, client, accepted } = await rig();
    there.slow({ delayMs: 5, lossRate: 0.2 });
    const sent = Buffer.from(new SeededRandom("bytes").bytes(300_000));
    for (let at = 0; at < sent.length; at += 30_000) client.write(sent.subarray(at, at + 30_000));
    const other = await accepted;
    assert.equal((await bytesOf(other, sent.length)).equals(sent), true);
    other.end("and back");
    assert.equal((await bytesOf(client, 8)).toString(), "and back");
  });

  test("lets nothing through a way that is cut, not even an end, and the other way everything (FP2)", async () => {
    const { there, client, accepted } = await rig();
    client.write("before");
    const other = await accepted;
    assert.equal((await bytesOf(other, 6)).toString(), "before");
    there.cut();
    const heard: string[] = [];
    other.on("data", (bytes: Buffer) => heard.push(bytes.toString()));
    other.on("end", () => heard.push("its end"));
    client.end("during");
    // What goes the other way has gone the whole way there: what was cut had its time.
    for (let each = 0; each < 3; each++) {
      other.write("x");
      await bytesOf(client, 1);
    }
    assert.deepEqual(heard, []);
    there.heal();
    await once(other, "end");
    assert.deepEqual(heard, ["during", "its end"]);
  });

  test("makes no connection while either way is cut, and makes it when both are healed", async () => {
    const { back, client, server, accepted } = await rig((_there, back) => back.cut());
    client.write("waits");
    let count = 0;
    server.on("connection", () => count++);
    const direct = connect({ host, port: (server.address() as AddressInfo).port });
    cleanups.push(() => direct.destroy());
    await once(direct, "connect");
    direct.destroy();
    await accepted;
    assert.equal(count, 1);
    const through = once(server, "connection") as Promise<[Socket]>;
    back.heal();
    const [other] = await through;
    cleanups.push(() => other.destroy());
    assert.equal((await bytesOf(other, 5)).toString(), "waits");
  });

  test("holds no more than its bound of what does not get through (FP3)", async () => {
    const { there, client, accepted } = await rig();
    await accepted;
    there.cut();
    const piece = Buffer.alloc(256 * 1024);
    let taken = 0;
    while (client.writableLength < 4 * piece.length) {
      client.write(piece);
      taken += piece.length;
      assert.ok(taken < 256 * 1024 * 1024, "it takes no end of bytes");
      await new Promise((resolve) => setImmediate(resolve));
    }
    there.heal();
    const other = await accepted;
    assert.equal((await bytesOf(other, taken)).length, taken);
  });

  test("ends a connection where nobody listens", async () => {
    const { client, server, accepted } = await rig();
    (await accepted).destroy();
    client.destroy();
    const { port } = server.address() as AddressInfo;
    await new Promise((resolve) => server.close(resolve));
    const way = new WayState(new SeededRandom(1));
    const proxy = await FaultProxy.listen({ target: { host, port }, from: "a", to: "b", way: () => way });
    cleanups.push(() => proxy.close());
    const refused = connect({ host, port: proxy.port }).resume();
    refused.on("error", (error: NodeJS.ErrnoException) => assert.equal(error.code, "ECONNRESET"));
    await once(refused, "close");
  });
});
