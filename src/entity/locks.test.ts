import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { type Age, EntityLock, type LockHolder, type LockMode } from "./locks.ts";

/** A transaction that touches a list of locks in turn, as the coordinator would run it. */
class Holder implements LockHolder {
  readonly age: Age;
  readonly log: string[];
  readonly held = new Set<EntityLock>();
  wounded = false;
  constructor(age: number, log: string[] = []) {
    this.age = { timeMs: 1, count: age, owner: "" };
    this.log = log;
  }
  wound(): void {
    this.log.push(`wounded ${this.age.count}`);
    this.wounded = true;
    for (const lock of [...this.held]) lock.release(this);
    this.held.clear();
  }
  take(lock: EntityLock, mode: LockMode, granted: () => void = () => undefined): boolean {
    this.held.add(lock);
    return lock.acquire(this, mode, { granted });
  }
}

describe("a lock", () => {
  test("is shared by readers and kept from a younger writer until they have let go", () => {
    const lock = new EntityLock();
    const [first, second, writer] = [new Holder(1), new Holder(2), new Holder(3)];
    assert.ok(first.take(lock, "shared") && second.take(lock, "shared"));
    let granted = false;
    assert.equal(
      writer.take(lock, "exclusive", () => {
        granted = true;
      }),
      false,
    );
    lock.release(first);
    assert.equal(granted, false);
    lock.release(second);
    assert.equal(granted, true);
    assert.ok(lock.holds(writer, "exclusive"));
  });

  test("goes to an older one at once, whose way younger holders must leave", () => {
    const lock = new EntityLock();
    const log: string[] = [];
    const [old, young, younger] = [new Holder(1, log), new Holder(5, log), new Holder(9, log)];
    young.take(lock, "shared");
    younger.take(lock, "shared");
    assert.ok(old.take(lock, "exclusive"));
    assert.deepEqual(log, ["wounded 5", "wounded 9"]);
  });

  test("wounds the younger one too that gets the lock when the first wounded one lets go", () => {
    const lock = new EntityLock();
    const log: string[] = [];
    const [old, holder, waiting] = [new Holder(2, log), new Holder(5, log), new Holder(7, log)];
    holder.take(lock, "exclusive");
    waiting.take(lock, "exclusive");
    assert.ok(old.take(lock, "exclusive"));
    assert.deepEqual(log, ["wounded 5", "wounded 7"]);
  });

  test("is granted to the oldest waiter first, and no reader overtakes an older writer", () => {
    const lock = new EntityLock();
    const order: number[] = [];
    const holder = new Holder(1);
    holder.take(lock, "shared");
    const writer = new Holder(3);
    const reader = new Holder(4);
    writer.take(lock, "exclusive", () => order.push(3));
    assert.equal(
      reader.take(lock, "shared", () => order.push(4)),
      false,
    );
    new Holder(2).take(lock, "exclusive", () => order.push(2));
    lock.release(holder);
    assert.deepEqual(order, [2]);
  });

  test("is upgraded from shared to exclusive when the other readers are younger", () => {
    const lock = new EntityLock();
    const [old, young] = [new Holder(1), new Holder(2)];
    old.take(lock, "shared");
    young.take(lock, "shared");
    assert.ok(old.take(lock, "exclusive"));
    assert.ok(young.wounded);
    assert.ok(lock.holds(old, "exclusive"));
  });

  test("is granted once to a holder that waits for it twice, in the stronger mode", () => {
    const lock = new EntityLock();
    const [first, twice, last] = [new Holder(1), new Holder(2), new Holder(3)];
    const order: string[] = [];
    first.take(lock, "exclusive");
    twice.take(lock, "exclusive", () => order.push("exclusive"));
    twice.take(lock, "shared", () => order.push("shared"));
    last.take(lock, "shared", () => order.push("last"));
    lock.release(first);
    assert.deepEqual(order, ["exclusive", "shared"]);
    assert.ok(lock.holds(twice, "exclusive") && !lock.holds(last, "shared"));
    lock.release(twice);
    assert.deepEqual(order, ["exclusive", "shared", "last"]);
    lock.release(last);
    assert.ok(lock.isFree);
  });

  test("forgets a waiter that lets go, and lets those behind it through", () => {
    const lock = new EntityLock();
    const [holder, writer, reader] = [new Holder(1), new Holder(2), new Holder(3)];
    let granted = false;
    holder.take(lock, "shared");
    writer.take(lock, "exclusive", () => assert.fail("it had given up"));
    reader.take(lock, "shared", () => {
      granted = true;
    });
    assert.equal(lock.waiterCount, 2);
    lock.release(writer);
    assert.ok(granted);
    assert.equal(lock.waiterCount, 0);
    lock.release(writer);
    assert.ok(lock.holds(holder, "shared") && lock.holds(reader, "shared"));
  });
});

interface Plan {
  readonly locks: readonly { readonly lock: number; readonly mode: LockMode }[];
}

const plan: fc.Arbitrary<Plan> = fc.record({
  locks: fc.array(
    fc.record({ lock: fc.integer({ min: 0, max: 3 }), mode: fc.constantFrom<LockMode>("shared", "exclusive") }),
    { minLength: 1, maxLength: 5 },
  ),
});

/** Runs many transactions step by step in an order that fast-check chooses; wounded ones begin again with their age. */
function runAll(plans: readonly Plan[], choices: readonly number[]): void {
  const locks = [0, 1, 2, 3].map(() => new EntityLock());
  const actors = plans.map((actorPlan, index) => ({
    plan: actorPlan,
    holder: new Holder(index + 1),
    next: 0,
    waits: false,
    done: false,
  }));
  const assertExclusive = () => {
    for (const lock of locks) {
      const exclusive = actors.filter(({ holder }) => lock.holds(holder, "exclusive"));
      const any = actors.filter(({ holder }) => lock.holds(holder, "shared"));
      if (exclusive.length > 0) assert.deepEqual([exclusive.length, any.length], [1, 1]);
    }
  };
  for (let turn = 0; actors.some(({ done }) => !done); turn++) {
    assert.ok(turn < 20_000, "the transactions do not come to an end");
    for (const actor of actors) {
      if (!actor.holder.wounded) continue;
      actor.holder = new Holder(actor.holder.age.count);
      actor.next = 0;
      actor.waits = false;
    }
    const ready = actors.filter(({ done, waits }) => !done && !waits);
    assert.ok(ready.length > 0, "everybody waits for somebody: a deadlock");
    const actor = ready[(choices[turn % choices.length] ?? 0) % ready.length]!;
    const { holder } = actor;
    const want = actor.plan.locks[actor.next];
    if (want === undefined) {
      actor.done = true;
      for (const lock of [...holder.held]) lock.release(holder);
      holder.held.clear();
    } else {
      actor.next++;
      actor.waits = true;
      const granted = () => {
        if (actor.holder === holder) actor.waits = false;
      };
      if (holder.take(locks[want.lock]!, want.mode, granted)) actor.waits = false;
    }
    assertExclusive();
  }
  assert.ok(locks.every((lock) => lock.isFree));
}

test("whatever the order of steps, conflicting holders never meet, nobody is forgotten, and all come to an end", () => {
  fc.assert(
    fc.property(
      fc.array(plan, { minLength: 1, maxLength: 8 }),
      fc.array(fc.nat(100), { minLength: 1, maxLength: 60 }),
      runAll,
    ),
    { numRuns: 1000 },
  );
});
