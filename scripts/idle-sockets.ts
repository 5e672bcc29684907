/**
 * `node --import tsx scripts/idle-sockets.ts [count]`: opens so many sockets (10,000 if absent) to a gateway in this process, greets on each,
 * and prints what they cost, and that a call on one of them is answered. Needs twice as many descriptors (`ulimit -n`).
 */
import { once } from "node:events";
import { connect as connectTcp, type Socket } from "node:net";
import { limits } from "../src/base/limits.ts";
import { testNode } from "../src/client/gateway.fixture.ts";
import { connect } from "../src/client/index.ts";
import type { bank } from "../src/client/bank.fixture.ts";

const count = Number(process.argv[2] ?? 10_000);
const server = await testNode({}, { connectionsMax: count + 10 });
const { port } = server.gateway;
const residentMb = () => Math.round(process.memoryUsage().rss / 1024 ** 2);

/** A handshake and a hello by hand: a client's own objects would be counted with the server's. */
async function greet(): Promise<Socket> {
  const socket = connectTcp({ port, host: "127.0.0.1" });
  await once(socket, "connect");
  socket.write(
    [
      "GET /v1/socket HTTP/1.1",
      `Host: 127.0.0.1:${port}`,
      "Connection: Upgrade",
      "Upgrade: websocket",
      "Sec-WebSocket-Version: 13",
      "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
      "Sec-WebSocket-Protocol: onefold.v1",
      "",
      "",
    ].join("\r\n"),
  );
  await once(socket, "data");
  // One masked frame (with a mask of zeros): [[0, {}]].
  socket.write(new Uint8Array([0x82, 0x84, 0, 0, 0, 0, 0x91, 0x92, 0x00, 0x80]));
  await once(socket, "data");
  return socket;
}

const beforeMb = residentMb();
const sockets: Socket[] = [];
for (let opened = 0; opened < count; opened += 200) {
  sockets.push(...(await Promise.all(Array.from({ length: Math.min(200, count - opened) }, greet))));
}
const client = connect<typeof bank>(server.url);
const answer = await client.account("among-the-idle").deposit({ cents: 1 });
console.log(
  JSON.stringify({
    sockets: server.gateway.connectionCount,
    residentMb: residentMb(),
    beforeMb,
    kilobytesEach: Math.round(((residentMb() - beforeMb) * 1024) / count),
    answer,
    silenceMs: limits.socketSilenceMs,
  }),
);
client.$close();
for (const socket of sockets) socket.destroy();
await server.close();
