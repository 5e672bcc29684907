import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { get } from "node:http";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import { bankSystem, testHost } from "./bank.fake.ts";
import type { GatewayAddress } from "./gateway.ts";
import { createGateway, type Gateway } from "./gateway.ts";
import { FakeService } from "./service.fake.ts";
import { request, Wire } from "./wire.fake.ts";

const touch = request("POST", "/v1/entities/account/a/touch");

async function start(
  address: GatewayAddress = { hostname: "127.0.0.1", port: 0 },
): Promise<{ gateway: Gateway; service: FakeService }> {
  const system = bankSystem();
  const service = new FakeService(system);
  const gateway = await createGateway({ service, system, host: testHost(), address });
  await gateway.listen();
  return { gateway, service };
}

async function until(condition: () => boolean): Promise<void> {
  const end = performance.now() + 5000;
  while (!condition()) {
    assert.ok(performance.now() < end, `in time: ${condition}`);
    await new Promise((resolve) => setImmediate(resolve));
  }
}

describe("taking leave", () => {
  test("drain answers every accepted request, says close, and lets nobody in any more", async () => {
    const { gateway, service } = await start();
    const release = service.hold();
    const busy = await Promise.all(Array.from({ length: 20 }, () => Wire.connect(gateway.port)));
    for (const wire of busy) wire.write(touch);
    const idle = await Wire.connect(gateway.port);
    await until(() => service.callCount === 20);
    const drained = gateway.drain({ noticeMs: 10 });
    await idle.ended();
    await assert.rejects(Wire.connect(gateway.port));
    release();
    for (const wire of busy) {
      const reply = await wire.reply();
      assert.deepEqual([reply.status, reply.headers.connection], [200, "close"]);
      await wire.ended();
    }
    assert.equal(await drained, true);
    assert.equal(await gateway.drain(), true, "a second drain is the first one");
    await gateway.close();
  });

  test("whoever waits for changes is answered at once", async () => {
    const { gateway, service } = await start();
    const wires = await Promise.all(Array.from({ length: 20 }, () => Wire.connect(gateway.port)));
    for (const wire of wires) wire.write(request("GET", "/v1/changes?waitMs=20000"));
    await until(() => service.callCount === 20);
    const beganMs = performance.now();
    const drained = gateway.drain({ noticeMs: 0 });
    for (const wire of wires) {
      const reply = await wire.reply();
      assert.deepEqual([reply.status, (JSON.parse(reply.body) as { items: unknown }).items], [200, []]);
    }
    assert.equal(await drained, true);
    assert.ok(performance.now() - beganMs < 5000);
  });

  test("all pipelined requests of a connection are answered before it closes", async () => {
    const { gateway, service } = await start();
    const release = service.hold();
    const wire = await Wire.connect(gateway.port);
    wire.write(touch.repeat(5));
    await until(() => service.callCount === 5);
    const drained = gateway.drain({ noticeMs: 0 });
    release();
    for (let i = 0; i < 5; i++) assert.equal((await wire.reply()).status, 200);
    await wire.ended();
    assert.equal(await drained, true);
  });

  test("during the notice readiness is 503, and calls are still served", async () => {
    const { gateway } = await start();
    const [one, two] = [await Wire.connect(gateway.port), await Wire.connect(gateway.port)];
    const drained = gateway.drain({ noticeMs: 5000 });
    one.write(request("GET", "/readyz"));
    const ready = await one.reply();
    assert.equal(ready.status, 503);
    assert.equal((JSON.parse(ready.body) as { state: string }).state, "draining");
    two.write(touch);
    const served = await two.reply();
    assert.deepEqual([served.status, served.headers.connection], [200, "close"]);
    assert.equal(await drained, true, "the notice is over once everybody has left");
  });

  test("a request that does not end is cut when the grace is over", async () => {
    const { gateway, service } = await start();
    const release = service.hold();
    const wire = await Wire.connect(gateway.port);
    wire.write(touch);
    await until(() => service.callCount === 1);
    assert.equal(await gateway.drain({ noticeMs: 0, graceMs: 50 }), false);
    await wire.ended();
    release();
  });

  test("close cuts everything at once, also before listening", async () => {
    const { gateway, service } = await start();
    service.hold();
    const wire = await Wire.connect(gateway.port);
    wire.write(touch);
    await until(() => service.callCount === 1);
    await gateway.close();
    await wire.ended();
    await gateway.close();
    const system = bankSystem();
    const address = { hostname: "127.0.0.1", port: 0 };
    await (await createGateway({ service, system, host: testHost(), address })).close();
  });
});

describe("where it listens", () => {
  test("a port in use is a fault of the configuration, told plainly", async () => {
    const { gateway } = await start();
    await assert.rejects(start({ hostname: "127.0.0.1", port: gateway.port }), {
      code: "invalid-configuration",
      message: /another process listens/,
    });
    await gateway.close();
  });

  test("a unix socket serves the same", { skip: process.platform === "win32" }, async () => {
    const folder = await mkdtemp(join(tmpdir(), "gateway-"));
    const socketPath = join(folder, "socket");
    const { gateway } = await start({ socketPath });
    try {
      assert.equal(gateway.url, `unix:${socketPath}`);
      const status = await new Promise((resolve, reject) => {
        get({ socketPath, path: "/healthz" }, (response) => {
          response.resume();
          resolve(response.statusCode);
        }).on("error", reject);
      });
      assert.equal(status, 200);
    } finally {
      await gateway.close();
      await rm(folder, { recursive: true });
    }
  });

  test("an IPv6 loopback address has its brackets in the URL", async (context) => {
    const probe = createServer();
    const hasIpv6 = await new Promise((resolve) => {
      probe.once("error", () => resolve(false));
      probe.listen(0, "::1", () => resolve(true));
    });
    probe.close();
    if (!hasIpv6) return context.skip("this machine has no IPv6");
    const { gateway } = await start({ hostname: "::1", port: 0 });
    assert.equal(gateway.url, `http://[::1]:${gateway.port}`);
    assert.equal((await fetch(`${gateway.url}/healthz`)).status, 200);
    await gateway.close();
  });
});
