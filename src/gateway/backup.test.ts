import assert from "node:assert/strict";
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { describe, test } from "node:test";
import { OnefoldError } from "../base/errors.ts";
import type { Operation, SystemOptions } from "../entity/definition.ts";
import type { BackupSource, OpenBackup } from "./backup.ts";
import { bankSystem, testHost } from "./bank.fake.ts";
import { createGateway, type Gateway } from "./gateway.ts";
import { FakeService } from "./service.fake.ts";
import { request } from "./wire.fake.ts";

const chunkBytes = 64 * 1024;

/** Backups of so many chunks; counts what is read of them, and that each is closed once. */
class FakeBackups implements BackupSource {
  chunkCount = 3;
  failure: Error | undefined;
  /** Instead of the last chunk. */
  breaks = false;
  readCount = 0;
  openCount = 0;
  closeCount = 0;
  wait: Promise<void> = Promise.resolve();

  async openBackup(): Promise<OpenBackup> {
    await this.wait;
    if (this.failure !== undefined) throw this.failure;
    this.openCount++;
    const { chunkCount } = this;
    const chunks = async function* (this: FakeBackups): AsyncIterable<Uint8Array> {
      for (let i = 0; i < chunkCount; i++) {
        if (this.breaks && i === chunkCount - 1) throw new OnefoldError("damaged", "A blob is damaged.");
        this.readCount++;
        yield new Uint8Array(chunkBytes).fill(i);
      }
    };
    return {
      sequence: 42,
      sizeBytes: chunkCount * chunkBytes,
      chunks: chunks.bind(this),
      close: () => {
        this.closeCount++;
      },
    };
  }
}

interface Bench {
  readonly gateway: Gateway;
  readonly backups: FakeBackups;
  readonly host: ReturnType<typeof testHost>;
}

async function withGateway(
  run: (bench: Bench) => Promise<void>,
  { system: options = {}, replyStalledMs = 10_000 }: { system?: SystemOptions; replyStalledMs?: number } = {},
): Promise<void> {
  const system = bankSystem(options);
  const backups = new FakeBackups();
  const host = testHost();
  const gateway = await createGateway({
    service: new FakeService(system),
    system,
    host,
    backup: backups,
    address: { hostname: "127.0.0.1", port: 0 },
    limits: { replyStalledMs },
  });
  await gateway.listen();
  try {
    await run({ gateway, backups, host });
  } finally {
    await gateway.close();
  }
}

/** Awaits a condition, turn by turn of the event loop, for at most five seconds. */
async function until(condition: () => boolean): Promise<void> {
  const end = performance.now() + 5000;
  while (!condition()) {
    assert.ok(performance.now() < end, `in time: ${condition}`);
    await new Promise((resolve) => setImmediate(resolve));
  }
}

/** Asks, and never reads the answer. */
async function deafClient(gateway: Gateway): Promise<Socket> {
  const socket = connect(gateway.port, "127.0.0.1");
  await once(socket, "connect");
  // That it is cut in the end is expected.
  socket.on("error", () => undefined);
  socket.write(request("GET", "/v1/backup"));
  return socket;
}

const ask = (gateway: Gateway, init: RequestInit = {}) => fetch(`${gateway.url}/v1/backup`, init);

describe("GET /v1/backup", () => {
  test("gives the whole stream with its length and its place in the log, and lets go of it", () =>
    withGateway(async ({ gateway, backups }) => {
      const response = await ask(gateway);
      assert.equal(response.status, 200);
      assert.equal(response.headers.get("content-type"), "application/vnd.onefold.backup");
      assert.equal(response.headers.get("content-length"), String(3 * chunkBytes));
      assert.equal(response.headers.get("onefold-sequence"), "42");
      const body = new Uint8Array(await response.arrayBuffer());
      assert.deepEqual([body.length, body[0], body.at(-1)], [3 * chunkBytes, 0, 2]);
      await until(() => backups.closeCount === 1);
    }));

  test("answers HEAD without reading any of it", () =>
    withGateway(async ({ gateway, backups }) => {
      const response = await ask(gateway, { method: "HEAD" });
      assert.deepEqual([response.status, response.headers.get("content-length")], [200, String(3 * chunkBytes)]);
      await until(() => backups.closeCount === 1);
      assert.equal(backups.readCount, 0);
    }));

  test("cuts the connection where the stream fails, so that nobody takes it for whole, and says why in the trace", () =>
    withGateway(async ({ gateway, backups, host }) => {
      backups.breaks = true;
      const response = await ask(gateway);
      await assert.rejects(response.arrayBuffer());
      await until(() => backups.closeCount === 1);
      assert.ok(host.traced.some(({ message }) => message.startsWith("A stream to a client failed")));
    }));

  test("reads no further ahead than a client that takes nothing lets it, and ends with the client", () =>
    withGateway(async ({ gateway, backups }) => {
      backups.chunkCount = 10_000;
      const client = await deafClient(gateway);
      let before = -1;
      // What the kernel buffers is taken; then nothing more is read, however often there is a turn.
      await until(() => {
        const isStill = backups.readCount > 0 && backups.readCount === before;
        before = backups.readCount;
        return isStill;
      });
      assert.ok(backups.readCount < 1000, `${backups.readCount} chunks were read`);
      client.destroy();
      await until(() => backups.closeCount === 1);
    }));

  test("destroys the connection of a client that takes nothing for too long", () =>
    withGateway(
      async ({ gateway, backups }) => {
        backups.chunkCount = 10_000;
        const client = await deafClient(gateway);
        await until(() => backups.openCount === 1);
        await until(() => backups.closeCount === 1);
        client.destroy();
      },
      { replyStalledMs: 200 },
    ));

  test("needs the scope admin and the system's permission", () => {
    const asked: Operation[] = [];
    const system: SystemOptions = {
      authenticate: ({ headers }) => ({ tenant: "default", subject: "s", scopes: [headers.scope ?? ""] }),
      authorize: (_principal, operation) => {
        asked.push(operation);
        return asked.length > 1;
      },
    };
    return withGateway(
      async ({ gateway, backups }) => {
        assert.equal((await ask(gateway, { headers: { scope: "inspect" } })).status, 403);
        assert.equal((await ask(gateway, { headers: { scope: "admin" } })).status, 403);
        assert.deepEqual(asked, [{ action: "backup" }]);
        assert.equal(backups.openCount, 0);
        const response = await ask(gateway, { headers: { scope: "admin" } });
        assert.equal((await response.arrayBuffer()).byteLength, 3 * chunkBytes);
      },
      { system },
    );
  });

  test("passes on why there is none", () =>
    withGateway(async ({ gateway, backups }) => {
      backups.failure = new OnefoldError("overloaded", "As many as may be.", { retryAfterMs: 5000 });
      const response = await ask(gateway);
      assert.deepEqual([response.status, response.headers.get("retry-after")], [503, "5"]);
      assert.equal(((await response.json()) as { code: string }).code, "overloaded");
    }));

  test("that is not there by the deadline is given up, and let go when it comes after all", () =>
    withGateway(async ({ gateway, backups }) => {
      let go = (): void => undefined;
      backups.wait = new Promise((resolve) => {
        go = resolve;
      });
      const response = await ask(gateway, { headers: { "onefold-deadline-ms": "20" } });
      const { code, retry } = (await response.json()) as { code: string; retry: string };
      assert.deepEqual([response.status, code, retry], [504, "deadline-passed", "safe"]);
      go();
      await until(() => backups.closeCount === 1);
    }));
});
