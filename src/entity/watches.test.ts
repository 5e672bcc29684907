/** Watches on a real node: what they hear, and when; and that they outlive their shard. */
import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import { bank } from "../client/bank.fixture.ts";
import { openNode } from "../runtime/node.ts";
import { ServiceProxy } from "../runtime/service-proxy.ts";
import type { EntityAddress, Service } from "./service.ts";

const principal = { tenant: "default", subject: "test", scopes: ["*"] };
const account = (id: string): EntityAddress => ({ kind: "account", id });

async function withService(run: (service: Service) => Promise<void>): Promise<void> {
  const dataDirectory = await mkdtemp(join(tmpdir(), "onefold-watches-"));
  const node = await openNode({ system: bank, dataDirectory, trace: () => undefined });
  try {
    await run(node.embedded.service);
  } finally {
    await node.close();
    await rm(dataDirectory, { recursive: true });
  }
}

describe("a watch", () => {
  test("hears each durable change of its entity by commands, transactions and deletion, and of no other", () =>
    withService(async (service) => {
      const sequences: number[] = [];
      const hear = () => sequences.push(service.health().sequence);
      const watch = service.watch("default", account("a"), hear);
      assert.match(watch.log, /^[0-9a-f]{32}$/);
      const deposit = (id: string) => service.command(account(id), "deposit", { cents: 5 }, { principal });
      const first = await deposit("a");
      // The change was durable when it was heard of, and heard of before its caller was answered.
      assert.deepEqual(sequences, [first.sequence]);
      await deposit("b");
      await service.query(account("a"), "balance", undefined, { principal });
      await assert.rejects(service.command(account("a"), "withdraw", { cents: 500 }, { principal }));
      assert.equal(sequences.length, 1);
      const input = { from: "b", to: "a", cents: 1 };
      assert.equal((await service.transaction("transfer", input, { principal })).sequence, sequences[1]);
      assert.equal((await service.delete(account("a"), { principal })).sequence, sequences[2]);
      watch.cancel();
      watch.cancel();
      await deposit("a");
      assert.equal(sequences.length, 3);
    }));

  test("is one of many of an entity, each heard once a batch, and each cancelled by itself", () =>
    withService(async (service) => {
      const counts = [0, 0];
      const same = () => counts[0]!++;
      const watches = [0, 1].map(() => service.watch("default", account("a"), same));
      service.watch("default", account("a"), () => counts[1]!++);
      const batches = new Set(
        (
          await Promise.all(
            Array.from({ length: 50 }, () => service.command(account("a"), "deposit", { cents: 1 }, { principal })),
          )
        ).map(({ sequence }) => sequence),
      );
      assert.deepEqual(counts, [2 * batches.size, batches.size]);
      watches[0]!.cancel();
      await service.command(account("a"), "deposit", { cents: 1 }, { principal });
      assert.deepEqual(counts, [2 * batches.size + 1, batches.size + 1]);
    }));

  test("of another tenant hears nothing; one of no kind or no id is refused", () =>
    withService(async (service) => {
      let count = 0;
      service.watch("other", account("a"), () => count++);
      await service.command(account("a"), "deposit", { cents: 1 }, { principal });
      assert.equal(count, 0);
      assert.throws(() => service.watch("default", { kind: "acount", id: "a" }, () => undefined), {
        code: "unknown-kind",
      });
      assert.throws(() => service.watch("default", account(""), () => undefined), { code: "invalid-id" });
    }));

  test("outlives its shard: on the next one it is called, since it may have missed something, and goes on", () =>
    withService(async (service) => {
      const proxy = new ServiceProxy();
      assert.throws(() => proxy.watch("default", account("a"), () => undefined), { code: "not-ready" });
      proxy.connect(service);
      let count = 0;
      const watch = proxy.watch("default", account("a"), () => count++);
      proxy.disconnect("It is being rebuilt.");
      proxy.connect(service);
      assert.equal(count, 1);
      await service.command(account("a"), "deposit", { cents: 1 }, { principal });
      assert.equal(count, 2);
      watch.cancel();
      proxy.disconnect("It is being rebuilt.");
      proxy.connect(service);
      await service.command(account("a"), "deposit", { cents: 1 }, { principal });
      assert.equal(count, 2);
    }));
});
