import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { OnefoldError, Refused } from "../base/errors.ts";
import { ShardRig } from "../entity/shard.fixture.ts";
import { makeBank } from "./bank.fixture.ts";

describe("a transaction under an idempotency key", () => {
  test("is refused where the key came with another input before, also one with another home", () =>
    ShardRig.run(makeBank().bank, async (rig, client) => {
      for (const id of ["a", "b", "c"]) await client.account(id).deposit({ cents: 100 });
      const transfer = (from: string, cents: number) =>
        rig.transaction("transfer", { from, to: "c", cents }, { idempotencyKey: "one" });
      const first = await transfer("a", 10);
      assert.deepEqual(await transfer("a", 10), first);
      for (const other of [() => transfer("b", 10), () => transfer("a", 11)]) {
        await assert.rejects(other, (error) => error instanceof OnefoldError && error.code === "idempotency-mismatch");
      }
      assert.deepEqual(
        [await client.account("a").balance(), await client.account("b").balance(), await client.account("c").balance()],
        [90, 100, 110],
      );
    }));

  test("gives the same refusal again, with its details, though it would succeed by now", () =>
    ShardRig.run(makeBank().bank, async (rig, client) => {
      const transfer = () => rig.transaction("transfer", { from: "a", to: "b", cents: 10 }, { idempotencyKey: "poor" });
      const isPoor = (error: unknown) => {
        assert.ok(error instanceof Refused && error.code === "insufficient-funds");
        assert.deepEqual(error.details, { balanceCents: 0 });
        return true;
      };
      await assert.rejects(transfer, isPoor);
      await client.account("a").deposit({ cents: 1000 });
      await assert.rejects(transfer, isPoor);
      assert.equal(await client.account("b").balance(), 0);
    }));
});
