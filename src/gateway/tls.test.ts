import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { request } from "node:https";
import { connect as connectPlain } from "node:net";
import { afterEach, describe, test } from "node:test";
import { WebSocket } from "ws";
import type { RequestFacts } from "../entity/definition.ts";
import { bankSystem, testHost } from "./bank.fake.ts";
import { createGateway, type Gateway } from "./gateway.ts";
import { FakeService } from "./service.fake.ts";

const pem = (name: string): string =>
  readFileSync(new URL(`../../test/fixtures/tls/${name}.pem`, import.meta.url), "utf8");
const ca = pem("authority");

describe("a gateway with TLS", { timeout: 20_000 }, () => {
  const cleanups: (() => unknown)[] = [];
  afterEach(async () => {
    for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
  });

  async function start(): Promise<{ gateway: Gateway; service: FakeService; facts: RequestFacts[] }> {
    const facts: RequestFacts[] = [];
    const system = bankSystem({
      authenticate: (asked) => {
        facts.push(asked);
        return { tenant: "default", subject: "somebody", scopes: ["*"] };
      },
    });
    const service = new FakeService(system);
    const gateway = await createGateway({
      service,
      system,
      host: testHost(),
      address: { hostname: "127.0.0.1", port: 0 },
      tls: { certificate: pem("node"), key: pem("node-key") },
    });
    await gateway.listen();
    cleanups.push(() => gateway.close());
    return { gateway, service, facts };
  }

  function post(url: string, body: string): Promise<{ readonly status: number; readonly text: string }> {
    return new Promise((resolve, reject) => {
      const asked = request(
        url,
        {
          method: "POST",
          ca,
          headers: { "content-type": "application/json" },
        },
        (answer) => {
          const chunks: Buffer[] = [];
          answer.on("data", (chunk: Buffer) => chunks.push(chunk));
          answer.on("end", () => resolve({ status: answer.statusCode!, text: Buffer.concat(chunks).toString() }));
        },
      );
      asked.on("error", reject);
      asked.end(body);
    });
  }

  test("serves calls, and tells authenticate that nobody else has read them", async () => {
    const { gateway, facts } = await start();
    assert.match(gateway.url, /^https:\/\/127\.0\.0\.1:\d+$/);
    const { status, text } = await post(`${gateway.url}/v1/entities/account/a/deposit`, '{"cents":5}');
    assert.deepEqual([status, text], [200, "5"]);
    assert.equal(facts.at(-1)!.secure, true);
  });

  test("opens sockets", async () => {
    const { gateway, facts } = await start();
    const socket = new WebSocket(`${gateway.url.replace("https:", "wss:")}/v1/socket?system=bank`, "onefold.v1", {
      ca,
    });
    cleanups.push(() => socket.terminate());
    await new Promise<void>((resolve, reject) => {
      socket.once("open", resolve);
      socket.once("error", reject);
    });
    assert.equal(socket.protocol, "onefold.v1");
    assert.equal(
      facts.every(({ secure }) => secure),
      true,
    );
  });

  test("bounds connections and takes leave as without it: what it accepted it finishes", async () => {
    const { gateway, service } = await start();
    const release = service.hold();
    const answer = post(`${gateway.url}/v1/entities/account/a/deposit`, '{"cents":5}');
    for (const endMs = Date.now() + 5000; service.callCount === 0; ) {
      assert.ok(Date.now() < endMs, "the call arrives");
      await new Promise((resolve) => setImmediate(resolve));
    }
    assert.equal(gateway.connectionCount, 1);
    const drained = gateway.drain({ noticeMs: 0 });
    release();
    assert.equal((await answer).status, 200);
    assert.equal(await drained, true);
  });

  test("answers nobody who speaks without it, and serves the others", async () => {
    const { gateway } = await start();
    const plain = connectPlain({ host: "127.0.0.1", port: gateway.port });
    cleanups.push(() => void plain.destroy());
    const got: Buffer[] = [];
    plain.on("data", (chunk: Buffer) => got.push(chunk));
    plain.on("error", (error: NodeJS.ErrnoException) => assert.match(String(error.code), /ECONNRESET|EPIPE/));
    const ended = new Promise<void>((resolve) => plain.once("close", () => resolve()));
    plain.write("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
    await ended;
    assert.doesNotMatch(Buffer.concat(got).toString("latin1"), /HTTP/);
    const { status } = await post(`${gateway.url}/v1/entities/account/a/deposit`, '{"cents":5}');
    assert.equal(status, 200);
  });

  test("refuses to start with what is no certificate", async () => {
    const system = bankSystem();
    const creating = createGateway({
      service: new FakeService(system),
      system,
      host: testHost(),
      address: { hostname: "127.0.0.1", port: 0 },
      tls: { certificate: "no certificate", key: pem("node-key") },
    });
    await assert.rejects(creating, { code: "invalid-configuration" });
  });
});
