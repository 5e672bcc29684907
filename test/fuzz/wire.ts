/** Sends requests as they are: no client's opinion on paths, methods or headers stands between. One after the other, as a rule on one connection. */
import { Agent, request as httpRequest } from "node:http";
import type { FuzzReply } from "./judgement.ts";
import type { FuzzRequest } from "./request-arbitrary.ts";

const answerMs = 10_000;

export class FuzzClient {
  readonly #url: URL;
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 16 });

  constructor(url: string) {
    this.#url = new URL(url);
  }

  /** Rejects where no whole reply comes in time. */
  send(request: Pick<FuzzRequest, "method" | "path" | "headers" | "body">): Promise<FuzzReply> {
    return new Promise((resolve, reject) => {
      const { method, path, headers, body } = request;
      const outgoing = httpRequest({
        agent: this.#agent,
        host: this.#url.hostname,
        port: this.#url.port,
        method,
        path,
        headers: { ...headers, ...(body === undefined ? {} : { "content-length": String(body.length) }) },
        timeout: answerMs,
      });
      outgoing.on("timeout", () => outgoing.destroy(new Error(`no answer within ${answerMs} ms`)));
      outgoing.on("error", reject);
      outgoing.on("response", (incoming) => {
        const chunks: Buffer[] = [];
        incoming.on("error", reject);
        incoming.on("data", (chunk: Buffer) => chunks.push(chunk));
        incoming.on("end", () =>
          resolve({
            status: incoming.statusCode!,
            headers: incoming.headers as FuzzReply["headers"],
            body: Buffer.concat(chunks).toString(),
          }),
        );
      });
      outgoing.end(body);
    });
  }

  close(): void {
    this.#agent.destroy();
  }
}
