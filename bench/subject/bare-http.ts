/** The limit of HTTP: `node:http` and JSON, and nothing behind them. */
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";

export interface BareServer {
  readonly port: number;
  close(): Promise<void>;
}

/**
 * Serves on loopback: parses the body of each request as JSON, and encodes its next answer. A PUT gives it the list of its answers, which
 * come one after another and again from the start.
 */
export async function startBareHttp(): Promise<BareServer> {
  let answers: readonly unknown[] = [null];
  let next = 0;
  const server = createServer((request, response) => {
    let text = "";
    request.setEncoding("utf8");
    request.on("data", (piece: string) => {
      text += piece;
    });
    request.on("end", () => {
      const input: unknown = text === "" ? undefined : JSON.parse(text);
      if (request.method === "PUT") answers = input as readonly unknown[];
      const body = JSON.stringify(answers[next++ % answers.length]);
      response.writeHead(200, { "content-type": "application/json", "content-length": Buffer.byteLength(body) });
      response.end(body);
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    port: (server.address() as AddressInfo).port,
    close: async () => {
      const closed = once(server, "close");
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}
