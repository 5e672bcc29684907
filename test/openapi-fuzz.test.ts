/** What `/openapi.json` says is how it is: no 5xx, no undocumented status, no answer off its schema. `npm run fuzz` for longer. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { bank } from "../examples/bank/bank.ts";
import { exchange } from "../examples/order-book/order-book.ts";
import { fuzz, summaryText } from "./fuzz/fuzzer.ts";
import { credentials, varied } from "./fuzz/varied-system.ts";

/**
 * An order is cancelled by the key that placing it gave, which no schema tells; an embedded node has no shard to split, and its quarantine is
 * lifted while it is stopped.
 */
const unreachable = ["book.cancel", "onefold:splitShard", "onefold:liftQuarantine"];

const systems = [{ system: bank }, { system: exchange }, { system: varied, credentials }];

for (const { system, ...options } of systems) {
  test(`requests by the document of ${system.definition.name}, right and wrong, are answered as it says`, async (context) => {
    const seed = Date.now() % 2 ** 31;
    const summary = await fuzz({ system, ...options, seed, forMs: 2500 });
    for (const line of summaryText(summary).split("\n")) context.diagnostic(line);
    assert.ok(summary.properCount > summary.requestCount / 10, "hardly anything was asked properly");
    assert.deepEqual(
      summary.neverDone.filter((id) => !unreachable.includes(id)),
      [],
    );
  });
}
