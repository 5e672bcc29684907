import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { OnefoldError } from "../base/errors.ts";
import { bankSystem } from "../gateway/bank.fake.ts";
import type { CallReply } from "../entity/service.ts";
import type { Settle } from "../entity/settle.ts";
import { FakeService } from "../gateway/service.fake.ts";
import type { Sample } from "../metrics/metric.ts";
import { MeteredService } from "./metered-service.ts";

describe("a measured service", () => {
  const principal = { tenant: "default", subject: "tester", scopes: ["*"] };
  const alice = { kind: "account", id: "alice" };

  function measured() {
    const system = bankSystem();
    const fake = new FakeService(system);
    let nowMs = 0;
    const clock = { wallMs: () => nowMs, monotonicMs: () => nowMs };
    const service = new MeteredService(fake, system, clock);
    const counts = (): Record<string, number> => {
      const samples = service.metrics[0]!.read() as readonly Sample[];
      const shown = samples.filter(({ value }) => value > 0);
      return Object.fromEntries(
        shown.map(({ labels, value }) => [
          [labels!.action, labels!.kind, labels!.operation, labels!.result].filter((part) => part !== "").join(" "),
          value,
        ]),
      );
    };
    return { service, fake, counts, pass: (ms: number) => (nowMs += ms) };
  }

  test("counts every call under its operation and its result, and answers as the service does", async () => {
    const { service, counts } = measured();
    assert.equal((await service.command(alice, "deposit", { cents: 5 }, { principal })).output, 5);
    await assert.rejects(service.command(alice, "withdraw", { cents: 50 }, { principal }), { name: "Refused" });
    await assert.rejects(service.command(alice, "withdraw", { cents: "x" }, { principal }), { code: "invalid-input" });
    assert.equal((await service.query(alice, "balance", undefined, { principal })).output, 5);
    await service.transaction("transfer", { from: "alice", to: "bob", cents: 1 }, { principal });
    await service.state(alice, { principal });
    await service.list("account", { principal });
    await service.history(alice, { principal });
    await service.delete(alice, { principal });
    assert.deepEqual(counts(), {
      "command account deposit done": 1,
      "command account withdraw refused": 1,
      "command account withdraw invalid-input": 1,
      "query account balance done": 1,
      "transaction transfer done": 1,
      "state account done": 1,
      "list account done": 1,
      "history account done": 1,
      "delete account done": 1,
    });
  });

  test("counts calls whose asker is answered without a promise, those too that were refused before they began", async () => {
    const { service, fake, counts } = measured();
    const asked = (begin: (settle: Settle<CallReply>) => void) =>
      new Promise<CallReply>((resolve, reject) => begin({ resolve, reject }));
    const deposit = asked((settle) => service.beginCommand(alice, "deposit", { cents: 5 }, { principal }, settle));
    assert.equal((await deposit).output, 5);
    const withdraw = asked((settle) => service.beginCommand(alice, "withdraw", { cents: 50 }, { principal }, settle));
    await assert.rejects(withdraw, { name: "Refused" });
    const input = { from: "alice", to: "bob", cents: 1 };
    await asked((settle) => service.beginTransaction("transfer", input, { principal }, settle));
    fake.beginCommand = () => {
      throw new OnefoldError("overloaded", "There is no room.");
    };
    const silent = {
      resolve: () => assert.fail("nobody is answered"),
      reject: () => assert.fail("nobody is answered"),
    };
    assert.throws(() => service.beginCommand(alice, "deposit", { cents: 5 }, { principal }, silent), {
      code: "overloaded",
    });
    assert.deepEqual(counts(), {
      "command account deposit done": 1,
      "command account deposit overloaded": 1,
      "command account withdraw refused": 1,
      "transaction transfer done": 1,
    });
  });

  test("has no meter for a name that callers make up", async () => {
    const { service, counts } = measured();
    await assert.rejects(service.command({ kind: "made-up", id: "x" }, "deposit", {}, { principal }), OnefoldError);
    await assert.rejects(service.command(alice, "made-up", {}, { principal }), OnefoldError);
    await assert.rejects(service.transaction("made-up", {}, { principal }), OnefoldError);
    assert.deepEqual(counts(), {});
  });

  test("measures until the answer", async () => {
    const { service, fake, pass } = measured();
    const release = fake.hold();
    const answer = service.query(alice, "balance", undefined, { principal });
    pass(700);
    release();
    await answer;
    const [sample] = service.metrics[1]!.read() as readonly { readonly histogram: { readonly sum: number } }[];
    assert.equal(sample!.histogram.sum, 0.7);
  });
});
