import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { routeOf } from "./account.ts";
import { naiveOperations } from "./naive.fake.ts";
import type { Operations } from "./operations.ts";
import { measureMoment, subjectOf } from "./workload.fixture.ts";

test("every workload's check holds for operations that do what they should", async () => {
  await measureMoment(subjectOf(naiveOperations()), { seconds: 0.02, limitSeconds: 0, concurrencies: [1, 16] });
});

test("transfers in a row go to as many accounts as chance would choose, and never to their own", () => {
  const [accounts, inARow] = [1000, 512];
  // Of so many drawn at random 401 are different at the mean, with a standard deviation of 9.
  for (const first of [0, 999, 123_456, 10_000_000]) {
    const routes = Array.from({ length: inARow }, (_, i) => routeOf(first + i, accounts));
    assert.equal(routes.filter(({ from, to }) => from === to).length, 0);
    assert.equal(new Set(routes.map(({ from }) => from)).size, inARow);
    const receivers = new Set(routes.map(({ to }) => to)).size;
    assert.equal(receivers > 350, true, `${receivers} receivers from ${first} on`);
  }
});

/** Calls the naive operation but for the 100th call of it, which `broken` answers without it. */
function breaking<Name extends keyof Operations>(name: Name, broken: Operations[Name]): Operations {
  const naive = naiveOperations();
  let calls = 0;
  const chosen = (...input: readonly unknown[]) =>
    ((++calls === 100 ? broken : naive[name]) as (...input: readonly unknown[]) => unknown)(...input);
  return { ...naive, [name]: chosen };
}

const broken: readonly { readonly only: string; readonly what: string; readonly operations: () => Operations }[] = [
  { only: "counter", what: "loses an increment", operations: () => breaking("increment", async () => 1) },
  { only: "hot", what: "loses an increment", operations: () => breaking("increment", async () => 1) },
  { only: "transfer", what: "loses a transfer", operations: () => breaking("transfer", async () => undefined) },
  { only: "read", what: "reads a wrong balance", operations: () => breaking("balance", async () => -1) },
  { only: "book", what: "places an order without taking one", operations: () => breaking("trade", async () => 2001) },
  { only: "ycsb-a", what: "loses an update", operations: losingUpdates },
  { only: "ycsb-c", what: "reads another row", operations: readingAnother },
  { only: "ycsb-f", what: "loses an update", operations: losingUpdates },
  { only: "smallbank", what: "loses a deposit", operations: () => breaking("depositChecking", async () => 130) },
  { only: "smallbank", what: "loses a check", operations: () => breaking("writeCheck", async () => -500) },
];

/** All updates, since a single one may be covered by a later one of the same field. */
function losingUpdates(): Operations {
  return { ...naiveOperations(), updateRow: async () => undefined };
}

function readingAnother(): Operations {
  const naive = naiveOperations();
  return { ...naive, readRow: () => naive.readRow("user0") };
}

describe("a workload fails where a subject", () => {
  for (const { only, what, operations } of broken) {
    test(`${what}: ${only}`, async () => {
      const subject = subjectOf(operations());
      await assert.rejects(
        measureMoment(subject, { seconds: 0.02, limitSeconds: 0, concurrencies: [16], only }),
        Error,
      );
    });
  }
});
