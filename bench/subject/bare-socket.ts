/** The limit of a socket: `ws`, and nothing behind it. */
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { WebSocketServer } from "ws";
import type { BareServer } from "./bare-http.ts";

/** Serves on loopback: sends every frame back as it came. */
export async function startBareSocket(): Promise<BareServer> {
  const server = new WebSocketServer({ host: "127.0.0.1", port: 0, perMessageDeflate: false });
  server.on("connection", (webSocket) => {
    webSocket.on("message", (data) => webSocket.send(data));
  });
  await once(server, "listening");
  return {
    port: (server.address() as AddressInfo).port,
    close: async () => {
      for (const client of server.clients) client.terminate();
      const closed = once(server, "close");
      server.close();
      await closed;
    },
  };
}
