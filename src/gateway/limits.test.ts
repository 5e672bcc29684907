import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { Limits } from "../base/limits.ts";
import { bankSystem, testHost } from "./bank.fake.ts";
import type { Gateway } from "./gateway.ts";
import { createGateway } from "./gateway.ts";
import { FakeService } from "./service.fake.ts";
import { request, Wire, type WireReply } from "./wire.fake.ts";

interface Bench {
  readonly gateway: Gateway;
  readonly service: FakeService;
}

/** Runs a test against a gateway of its own, on a free port, and closes it. */
async function withGateway(limits: Partial<Limits>, run: (bench: Bench) => Promise<void>): Promise<void> {
  const system = bankSystem();
  const service = new FakeService(system);
  const address = { hostname: "127.0.0.1", port: 0 };
  const gateway = await createGateway({ service, system, host: testHost(), address, limits });
  await gateway.listen();
  try {
    await run({ gateway, service });
  } finally {
    await gateway.close();
  }
}

function codeOf(reply: WireReply): string {
  return (JSON.parse(reply.body) as { code: string }).code;
}

/** Awaits a condition, turn by turn of the event loop, for at most five seconds. */
async function until(condition: () => boolean): Promise<void> {
  const end = performance.now() + 5000;
  while (!condition()) {
    assert.ok(performance.now() < end, `in time: ${condition}`);
    await new Promise((resolve) => setImmediate(resolve));
  }
}

const deposit = request("POST", "/v1/entities/account/a/deposit", { body: '{"cents":1}' });
const touch = request("POST", "/v1/entities/account/a/touch");

describe("limits of a request", () => {
  test("a body whose length is above the limit is refused before it is sent", async () => {
    await withGateway({}, async ({ gateway }) => {
      const wire = await Wire.connect(gateway.port);
      const headers = { "content-length": String(10 * 1024 * 1024), "content-type": "application/json" };
      wire.write(request("POST", "/v1/entities/account/a/echo", { headers }));
      const reply = await wire.reply();
      assert.deepEqual([reply.status, codeOf(reply)], [413, "payload-too-large"]);
      assert.equal(reply.headers.connection, "close");
      wire.close();
    });
  });

  test("a sender of 10 MB that reads only afterwards still gets the 413", async () => {
    await withGateway({}, async ({ gateway }) => {
      const body = `"${"x".repeat(10 * 1024 * 1024)}"`;
      const response = await fetch(`${gateway.url}/v1/entities/account/a/echo`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body,
      });
      assert.equal(response.status, 413);
    });
  });

  test("a body without a length is refused at the limit, and reading stops", async () => {
    await withGateway({ lingerMs: 200 }, async ({ gateway }) => {
      const wire = await Wire.connect(gateway.port);
      const headers = { "transfer-encoding": "chunked", "content-type": "application/json" };
      wire.write(request("POST", "/v1/entities/account/a/echo", { headers }));
      const chunk = `${(65_536).toString(16)}\r\n${"x".repeat(65_536)}\r\n`;
      for (let i = 0; i < 17; i++) wire.write(chunk);
      const reply = await wire.reply();
      assert.deepEqual([reply.status, codeOf(reply)], [413, "payload-too-large"]);
      await wire.ended();
    });
  });

  test("a body of exactly the limit is accepted", async () => {
    await withGateway({}, async ({ gateway }) => {
      const body = `"${"x".repeat(1024 * 1024 - 2)}"`;
      const response = await fetch(`${gateway.url}/v1/entities/account/a/echo`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body,
      });
      assert.equal(response.status, 200);
      assert.equal(await response.text(), body);
    });
  });

  test("headers above the limit are refused with 431, and the connection ends", async () => {
    await withGateway({}, async ({ gateway }) => {
      const wire = await Wire.connect(gateway.port);
      wire.write(request("GET", "/healthz", { headers: { "x-large": "x".repeat(20_000) } }));
      const reply = await wire.reply();
      assert.deepEqual([reply.status, codeOf(reply)], [431, "headers-too-large"]);
      wire.socket.end();
      await wire.ended();
    });
  });

  test("bytes that are no HTTP are answered with 400, and the connection ends", async () => {
    await withGateway({}, async ({ gateway }) => {
      for (const bytes of [
        "hello\r\n\r\n",
        "GET / HTTP/9.9\r\n\r\n",
        "\x16\x03\x01\x02\x00\x01\x00",
        "POST /v1/call HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n",
        "POST /v1/call HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: 127.0.0.1\r\nbad header\r\n\r\n",
      ]) {
        const wire = await Wire.connect(gateway.port);
        wire.write(bytes);
        const reply = await wire.reply();
        assert.deepEqual([reply.status, codeOf(reply)], [400, "malformed"], JSON.stringify(bytes));
        wire.socket.end();
        await wire.ended();
      }
    });
  });

  test("a body with a broken chunk is malformed and does not reach the service", async () => {
    await withGateway({}, async ({ gateway, service }) => {
      const wire = await Wire.connect(gateway.port);
      const headers = { "transfer-encoding": "chunked", "content-type": "application/json" };
      wire.write(`${request("POST", "/v1/entities/account/a/echo", { headers })}zz\r\n`);
      const reply = await wire.reply();
      assert.deepEqual([reply.status, codeOf(reply)], [400, "malformed"]);
      assert.equal(service.callCount, 0);
      wire.close();
    });
  });

  for (const [name, values] of [
    ["Host", ["127.0.0.1", "localhost"]],
    ["Idempotency-Key", ["a", "b"]],
    ["Onefold-Session", ["a", "a"]],
    ["Onefold-Deadline-Ms", ["5", "50"]],
  ] as const) {
    test(`the header ${name} given twice is malformed`, async () => {
      await withGateway({}, async ({ gateway, service }) => {
        const wire = await Wire.connect(gateway.port);
        const host = name === "Host" ? "" : "Host: 127.0.0.1\r\n";
        const twice = values.map((value) => `${name}: ${value}\r\n`).join("");
        wire.write(`POST /v1/entities/account/a/touch HTTP/1.1\r\n${host}${twice}content-length: 0\r\n\r\n`);
        const reply = await wire.reply();
        assert.deepEqual([reply.status, codeOf(reply)], [400, "malformed"]);
        assert.equal(service.callCount, 0);
        wire.close();
      });
    });
  }

  test("HTTP/1.1 without Host is malformed, HTTP/1.0 without it is served", async () => {
    await withGateway({}, async ({ gateway }) => {
      const one = await Wire.connect(gateway.port);
      one.write("GET /healthz HTTP/1.1\r\n\r\n");
      assert.equal((await one.reply()).status, 400);
      one.close();
      const zero = await Wire.connect(gateway.port);
      zero.write("GET /healthz HTTP/1.0\r\n\r\n");
      assert.equal((await zero.reply()).status, 200);
      await zero.ended();
    });
  });
});

describe("slow and greedy connections", () => {
  test("senders of one byte at a time are ended with 408 while others are served", async () => {
    await withGateway({ requestReceiveMs: 600 }, async ({ gateway }) => {
      const slow = await Promise.all(Array.from({ length: 200 }, () => Wire.connect(gateway.port)));
      // A header that never ends, so that nothing but the time is wrong with it, however long that takes.
      const text = `POST /v1/entities/account/slow/deposit HTTP/1.1\r\nX-Slow: ${"a".repeat(4000)}`;
      let position = 0;
      const drip = setInterval(() => {
        for (const wire of slow) if (wire.socket.writable) wire.write(text.charAt(position));
        position++;
      }, 20);
      try {
        for (let i = 0; i < 50; i++) {
          const response = await fetch(`${gateway.url}/v1/entities/account/fast/balance`);
          assert.equal(response.status, 200);
          await response.text();
        }
        for (const wire of slow) {
          const reply = await wire.reply();
          assert.deepEqual([reply.status, codeOf(reply)], [408, "request-timeout"]);
        }
      } finally {
        clearInterval(drip);
        for (const wire of slow) wire.close();
      }
    });
  });

  test("a body that never comes whole is ended with 408 and never reaches the service", async () => {
    await withGateway({ requestReceiveMs: 200 }, async ({ gateway, service }) => {
      const wire = await Wire.connect(gateway.port);
      wire.write(deposit.slice(0, -3));
      const reply = await wire.reply();
      assert.deepEqual([reply.status, codeOf(reply)], [408, "request-timeout"]);
      assert.equal(service.callCount, 0);
      wire.close();
    });
  });

  test("large bodies beyond the budget are refused with 503 while small ones get through", async () => {
    const limits = { bodyBytesMax: 65_536, receivingBytesMax: 65_536, bodyBytesFree: 4096 };
    await withGateway(limits, async ({ gateway }) => {
      const part = "x".repeat(40_000);
      const headers = { "content-length": "60000", "content-type": "application/json" };
      const head = request("POST", "/v1/entities/account/a/echo", { headers });
      const hogs = [await Wire.connect(gateway.port), await Wire.connect(gateway.port)];
      for (const hog of hogs) hog.write(head + part);
      const refused = await Promise.race(hogs.map((hog) => hog.reply()));
      assert.deepEqual([refused.status, codeOf(refused)], [503, "overloaded"]);
      assert.ok(Number(refused.headers["retry-after"]) >= 1);
      const small = await Wire.connect(gateway.port);
      small.write(deposit);
      assert.equal((await small.reply()).status, 200);
      for (const hog of hogs) hog.close();
      await until(() => gateway.connectionCount === 1);
      small.write(`${head}"${"x".repeat(59_998)}"`);
      assert.equal((await small.reply()).status, 200, "what the others occupied is free again");
      small.close();
    });
  });

  test("senders that go away in the middle of a body leave nothing behind", async () => {
    await withGateway({ lingerMs: 60_000 }, async ({ gateway, service }) => {
      const wires = await Promise.all(Array.from({ length: 40 }, () => Wire.connect(gateway.port)));
      for (const [i, wire] of wires.entries()) {
        const headers = {
          "content-length": String(i % 2 === 0 ? 1000 : 10_000_000),
          "content-type": "application/json",
        };
        wire.write(`${request("POST", "/v1/entities/account/a/echo", { headers })}{"a":`);
      }
      await until(() => gateway.connectionCount === 40);
      for (const [i, wire] of wires.entries()) {
        if (i % 3 === 0) wire.socket.resetAndDestroy();
        else wire.close();
      }
      await until(() => gateway.connectionCount === 0);
      assert.equal(service.callCount, 0);
    });
  });

  test("an idle connection is closed", async () => {
    await withGateway({ keepAliveMs: 100 }, async ({ gateway }) => {
      const wire = await Wire.connect(gateway.port);
      wire.write(touch);
      assert.equal((await wire.reply()).status, 200);
      await wire.ended();
    });
  });

  test("a connection that waits long for its reply is not taken for an idle one", async () => {
    const limits = { requestReceiveMs: 50, keepAliveMs: 200, replyStalledMs: 100 };
    await withGateway(limits, async ({ gateway, service }) => {
      const idle = await Wire.connect(gateway.port);
      idle.write(touch);
      await idle.reply();
      const release = service.hold();
      const wire = await Wire.connect(gateway.port);
      wire.write(touch);
      await idle.ended();
      release();
      assert.equal((await wire.reply()).status, 200);
      wire.close();
    });
  });

  test("a client that never reads is destroyed and does not make memory grow", async () => {
    await withGateway({ replyStalledMs: 300 }, async ({ gateway, service }) => {
      const wire = await Wire.connect(gateway.port);
      wire.socket.pause();
      // A million replies' worth of requests, if the gateway took them all.
      const many = request("POST", "/v1/entities/account/a/large").repeat(200);
      const flood = setInterval(() => {
        if (wire.socket.writable && wire.socket.writableLength < 1_000_000) wire.write(many);
      }, 5);
      try {
        await until(() => gateway.connectionCount === 1 && service.callCount > 0);
        await until(() => gateway.connectionCount === 0);
      } finally {
        clearInterval(flood);
        wire.close();
      }
      // 200 kB each: what was answered is bounded by the pipeline's limit and by what the sockets' buffers take.
      assert.ok(service.callCount < 500, `${service.callCount} calls`);
    });
  });

  test("pipelined requests are answered in order, and those above the bound are refused", async () => {
    await withGateway({ requestsPerConnectionMax: 8 }, async ({ gateway, service }) => {
      const release = service.hold();
      const wire = await Wire.connect(gateway.port);
      wire.write(deposit.repeat(12));
      await until(() => service.callCount === 8);
      release();
      const statuses: number[] = [];
      const outputs: string[] = [];
      for (let i = 0; i < 12; i++) {
        const reply = await wire.reply();
        statuses.push(reply.status);
        if (reply.status === 200) outputs.push(reply.body);
      }
      assert.deepEqual(statuses, [...Array(8).fill(200), ...Array(4).fill(503)]);
      assert.deepEqual(outputs, ["1", "2", "3", "4", "5", "6", "7", "8"]);
      wire.close();
    });
  });

  test("garbage behind a good request does not pass for that request's answer", async () => {
    await withGateway({}, async ({ gateway, service }) => {
      const release = service.hold();
      const wire = await Wire.connect(gateway.port);
      wire.write(`${deposit}garbage\r\n\r\n`);
      await until(() => service.callCount === 1);
      release();
      assert.deepEqual([(await wire.reply()).status, codeOf(await wire.reply())], [200, "malformed"]);
      wire.socket.end();
      await wire.ended();
    });
  });

  test("requests above the node's bound are refused with 503 while health is still answered", async () => {
    await withGateway({ requestsOpenMax: 4 }, async ({ gateway, service }) => {
      const release = service.hold();
      const busy = await Promise.all(Array.from({ length: 4 }, () => Wire.connect(gateway.port)));
      for (const wire of busy) wire.write(touch);
      await until(() => service.callCount === 4);
      const fifth = await Wire.connect(gateway.port);
      fifth.write(touch);
      const refused = await fifth.reply();
      assert.deepEqual([refused.status, codeOf(refused), refused.headers["retry-after"]], [503, "overloaded", "1"]);
      fifth.write(request("GET", "/healthz"));
      assert.equal((await fifth.reply()).status, 200);
      release();
      for (const wire of busy) assert.equal((await wire.reply()).status, 200);
      for (const wire of [...busy, fifth]) wire.close();
    });
  });

  test("connections above the maximum are told so with 503 and closed", async () => {
    await withGateway({ connectionsMax: 3 }, async ({ gateway }) => {
      const kept = await Promise.all(Array.from({ length: 3 }, () => Wire.connect(gateway.port)));
      await until(() => gateway.connectionCount === 3);
      const surplus = await Wire.connect(gateway.port);
      surplus.write(touch);
      const reply = await surplus.reply();
      assert.deepEqual([reply.status, codeOf(reply), reply.headers.connection], [503, "overloaded", "close"]);
      await surplus.ended();
      for (const wire of kept) {
        wire.write(touch);
        assert.equal((await wire.reply()).status, 200);
        wire.close();
      }
    });
  });
});
