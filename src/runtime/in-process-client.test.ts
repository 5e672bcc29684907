import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { z } from "zod";
import { Refused } from "../base/errors.ts";
import { entity } from "../entity/define.ts";
import { system, transaction } from "../entity/define-system.ts";
import type { CallReply, Principal, Service } from "../entity/service.ts";
import { settleBy } from "../entity/settle.ts";
import { inProcessClient } from "./in-process-client.ts";

const principal: Principal = { tenant: "default", subject: "test", scopes: ["*"] };

const account = entity("account")
  .state(z.object({ cents: z.number() }), () => ({ cents: 0 }))
  .command("deposit", z.object({ cents: z.number() }), (state, { cents }) => {
    state.cents += cents;
    return state.cents;
  })
  // A name that an object with properties of its own could hide.
  .command("address", () => "home")
  .query("balance", (state) => state.cents);
const transfer = transaction("transfer", z.object({ to: z.string() })).run(async () => "done");
const bank = system("bank", { account, transfer });

/** A service that writes down what it is asked and answers as it is told. */
function recordingService(answer: () => CallReply): { readonly service: Service; readonly calls: unknown[][] } {
  const calls: unknown[][] = [];
  const record = async (...call: unknown[]): Promise<CallReply> => {
    calls.push(call);
    return answer();
  };
  const refuse = (): never => assert.fail("the client has no use for this");
  const service: Service = {
    command: refuse,
    transaction: refuse,
    beginCommand: (...call) => settleBy(record("command", ...call.slice(0, -1)), call[4]),
    beginTransaction: (...call) => settleBy(record("transaction", ...call.slice(0, -1)), call[3]),
    query: (...call) => record("query", ...call),
    state: refuse,
    delete: refuse,
    list: refuse,
    history: refuse,
    changes: refuse,
    deadLetters: refuse,
    watch: refuse,
    mintSession: refuse,
    health: refuse,
  };
  return { service, calls };
}

describe("the in-process client", () => {
  test("turns methods into calls of the service and gives their outputs", async () => {
    const { service, calls } = recordingService(() => ({ output: 7, sequence: 1 }));
    const client = inProcessClient(bank, service, principal);
    assert.equal(await client.account("alice").deposit({ cents: 5 }), 7);
    assert.equal(await client.account("bob").balance(), 7);
    await client.account("bob").address();
    await client.transfer({ to: "bob" });
    assert.deepEqual(calls, [
      ["command", { kind: "account", id: "alice" }, "deposit", { cents: 5 }, { principal }],
      ["query", { kind: "account", id: "bob" }, "balance", undefined, { principal }],
      ["command", { kind: "account", id: "bob" }, "address", undefined, { principal }],
      ["transaction", "transfer", { to: "bob" }, { principal }],
    ]);
  });

  test("hands over a copy of the input", async () => {
    const { service, calls } = recordingService(() => ({ output: undefined, sequence: 1 }));
    const input = { cents: 5 };
    await inProcessClient(bank, service, principal).account("alice").deposit(input);
    assert.notEqual(calls[0]![3], input);
  });

  test("rejects an input that is no value, before the service sees it", async () => {
    const { service, calls } = recordingService(() => ({ output: undefined, sequence: 1 }));
    const client = inProcessClient(bank, service, principal);
    await assert.rejects(client.account("alice").deposit({ cents: Number.NaN }), { code: "invalid-value" });
    await assert.rejects(client.transfer({ to: "\ud800" }), { code: "invalid-value" });
    assert.equal(calls.length, 0);
  });

  test("fails as the service fails", async () => {
    const refusal = new Refused("insufficient-funds");
    const { service } = recordingService(() => {
      throw refusal;
    });
    const client = inProcessClient(bank, service, principal);
    await assert.rejects(client.account("alice").deposit({ cents: 5 }), refusal);
    await assert.rejects(client.transfer({ to: "bob" }), refusal);
  });

  test("can be awaited by mistake: neither it nor an entity is taken for a promise", async () => {
    const { service } = recordingService(() => ({ output: 1, sequence: 1 }));
    const client = await inProcessClient(bank, service, principal);
    const alice = await client.account("alice");
    assert.equal(await alice.balance(), 1);
  });
});
