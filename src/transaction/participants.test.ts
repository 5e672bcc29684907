import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { OnefoldError } from "../base/errors.ts";
import { slotOf } from "../base/ids.ts";
import { type TransactionId, transactionId } from "../entity/transaction-parts.ts";
import { makeBank } from "./bank.fixture.ts";
import { ClusterRig } from "./cluster.fixture.ts";
import { bodyOf, type Granted, type StepAnswer, type VoteAnswer } from "./protocol.ts";

/** A participant's shard, asked as a home would ask it; its home is the first shard, which knows nothing of it. */
class Asker {
  readonly rig: ClusterRig;
  readonly entityId: string;
  readonly slot: number;
  readonly #homeSlot: number;

  constructor(rig: ClusterRig) {
    this.rig = rig;
    this.entityId = rig.idAt("account", 1);
    this.slot = slotOf("account", this.entityId, "default");
    this.#homeSlot = slotOf("account", rig.idAt("account", 0), "default");
  }

  id(name: string, homeEpoch = 1): TransactionId {
    return transactionId({ homeSlot: this.#homeSlot, homeEpoch, random: name.padEnd(16) });
  }

  #ask(type: string, body: Parameters<NonNullable<ClusterRig["members"][number]["shard"]>["answer"]>[1]) {
    return this.rig.members[1]!.shard!.answer(type, body);
  }

  step(id: TransactionId, number: number, options: { granted?: Granted; attempt?: number; timeMs?: number } = {}) {
    const question = {
      id,
      slot: this.slot,
      number,
      granted: options.granted,
      age: { timeMs: options.timeMs ?? 1, count: 1, owner: "o" },
      attempt: options.attempt ?? 1,
      caller: { tenant: "default", subject: "tester", scopes: [] },
      kind: "account",
      entityId: this.entityId,
      target: "command",
      name: "deposit",
      input: { cents: 5 },
    } as const;
    return this.#ask("transaction.step", bodyOf.step(question)) as unknown as Promise<StepAnswer>;
  }

  async begin(id: TransactionId, options: { attempt?: number; timeMs?: number } = {}): Promise<Granted> {
    const answer = await this.step(id, 1, options);
    assert.ok(answer.kind === "ran");
    return { epoch: answer.epoch, grant: answer.grant };
  }

  async vote(type: "prepare" | "confirm", id: TransactionId, granted: Granted, steps = 1): Promise<boolean> {
    const question = { id, slot: this.slot, granted, steps, command: "transfer", subject: "tester" };
    return ((await this.#ask(`transaction.${type}`, bodyOf.vote(question))) as unknown as VoteAnswer).isYes;
  }

  outcome(id: TransactionId, isCommit: boolean, epoch: number) {
    return this.#ask("transaction.outcome", bodyOf.outcome({ id, slot: this.slot, isCommit, epoch }));
  }
}

async function withAsker(body: (asker: Asker) => Promise<void>): Promise<void> {
  await ClusterRig.run(
    makeBank().bank,
    async (rig) => {
      // Nobody but the test says anything to the participant.
      rig.fate = () => ({ asked: [], answered: "lost" });
      await body(new Asker(rig));
    },
    { limits: { participationSilenceMs: 100_000, transactionInquiryMs: 50_000 } },
  );
}

function isNotOwner(error: unknown): boolean {
  return error instanceof OnefoldError && error.code === "not-owner" && error.retry === "safe";
}

describe("a participant", () => {
  test("votes yes for its own beginning alone: the same grant, the same epoch, as many steps", () =>
    withAsker(async (asker) => {
      const id = asker.id("one");
      const granted = await asker.begin(id);
      assert.equal(await asker.vote("prepare", id, { ...granted, grant: granted.grant + 1 }), false);
      assert.equal(await asker.vote("prepare", id, { ...granted, epoch: granted.epoch + 1 }), false);
      assert.equal(await asker.vote("prepare", id, granted, 2), false);
      assert.equal(await asker.vote("prepare", asker.id("two"), granted), false);
      assert.equal(await asker.vote("prepare", id, granted), true);
      assert.equal(await asker.vote("prepare", id, granted), true, "a repeated question gets the same answer");
    }));

  test("answers a repeated step as it did, and a step behind what it has let go of with 'lost'", () =>
    withAsker(async (asker) => {
      const id = asker.id("one");
      const first = await asker.step(id, 1);
      assert.deepEqual(await asker.step(id, 1), first);
      assert.ok(first.kind === "ran");
      await asker.outcome(id, false, 0);
      assert.equal((await asker.step(id, 2, { granted: first })).kind, "lost");
      const again = await asker.begin(id);
      assert.notEqual(again.grant, first.grant, "what begins anew has another grant");
      assert.equal(await asker.vote("prepare", id, first), false);
      assert.equal(await asker.vote("confirm", id, first), false);
    }));

  test("is of the latest attempt of its transaction: an older one's step never runs in it, nor beside it", () =>
    withAsker(async (asker) => {
      const older = await asker.begin(asker.id("older"), { attempt: 1 });
      const newer = await asker.begin(asker.id("newer"), { attempt: 2 });
      assert.equal(await asker.vote("prepare", asker.id("older"), older), false);
      assert.equal((await asker.step(asker.id("late"), 1, { attempt: 1 })).kind, "lost");
      assert.equal(await asker.vote("prepare", asker.id("newer"), newer), true);
    }));

  test("votes yes for what its earlier owner has prepared, and no for what that one has only begun", () =>
    withAsker(async (asker) => {
      const [prepared, begun] = [asker.id("prepared"), asker.id("begun")];
      const granted = await asker.begin(prepared);
      assert.equal(await asker.vote("prepare", prepared, granted), true);
      await asker.rig.members[1]!.restart();
      assert.equal(await asker.vote("prepare", prepared, granted), true);
      assert.equal(await asker.vote("prepare", begun, { ...granted, grant: 2 }), false);
    }));

  test("acknowledges an outcome, also one that it has taken in before, only once it is durable (PP3)", () =>
    withAsker(async (asker) => {
      const { rig } = asker;
      const id = asker.id("one");
      const granted = await asker.begin(id);
      await asker.vote("prepare", id, granted);
      rig.appendMs = 100;
      let acknowledged = 0;
      const count = () => {
        acknowledged++;
      };
      void asker.outcome(id, true, granted.epoch).then(count);
      await rig.sleep(20);
      void asker.outcome(id, true, granted.epoch).then(count);
      await rig.sleep(50);
      assert.equal(acknowledged, 0);
      await rig.members[1]!.restart({ commitUnfinished: false });
      assert.equal(acknowledged, 0);
      assert.equal(rig.members[1]!.core.working.transactions.preparedCount, 1, "it has not happened");
      await asker.outcome(id, true, granted.epoch);
      assert.equal(await rig.query("account", asker.entityId, "balance"), 5);
      assert.deepEqual(rig.members[1]!.parts(), ["prepared", "commit"]);
    }));

  test("leaves an outcome to a later owner where the vote was one's (PP3)", () =>
    withAsker(async (asker) => {
      const { epoch } = await asker.begin(asker.id("one"));
      await assert.rejects(asker.outcome(asker.id("two"), true, epoch + 1), isNotOwner);
      await asker.outcome(asker.id("two"), true, epoch);
    }));

  test("takes an abort after its prepare, and changes nothing", () =>
    withAsker(async (asker) => {
      const id = asker.id("one");
      await asker.vote("prepare", id, await asker.begin(id));
      await asker.outcome(id, false, 0);
      assert.equal(await asker.rig.query("account", asker.entityId, "balance"), 0);
      assert.deepEqual(asker.rig.members[1]!.parts(), ["prepared", "abort"]);
      assert.ok(asker.rig.isFree("account", asker.entityId));
    }));
});

describe("a home that is asked for a decision", () => {
  test("says abort of attempts of its own epoch or earlier ones that it does not know, and nothing of later ones (AT1)", () =>
    withAsker(async (asker) => {
      const home = asker.rig.members[0]!;
      const ask = (id: TransactionId) => home.shard!.answer("transaction.decision", bodyOf.id(id));
      assert.equal(await ask(asker.id("one")), "abort");
      await assert.rejects(ask(asker.id("one", 2)), isNotOwner);
      await home.restart();
      assert.equal(await ask(asker.id("one", 2)), "abort");
      assert.equal(await ask(asker.id("one", 1)), "abort");
    }));

  test("does not speak for slots of another shard, nor understand what is no question", () =>
    withAsker(async (asker) => {
      const other = asker.rig.members[1]!.shard!;
      await assert.rejects(other.answer("transaction.decision", bodyOf.id(asker.id("one"))), isNotOwner);
      for (const [type, body] of [
        ["transaction.decision", null],
        ["transaction.decision", { id: new Uint8Array(3) }],
        ["transaction.unheard", {}],
        ["nonsense", {}],
      ] as const) {
        await assert.rejects(other.answer(type, body), (error) => (error as OnefoldError).code === "malformed");
      }
    }));
});
