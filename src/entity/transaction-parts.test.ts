import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, test } from "node:test";
import { fromHex, toHex } from "../base/bytes.ts";
import { crossingVersion, formatVersion } from "../log/record.ts";
import { decodeBatch, type Entry, readerVersionOf } from "./batch.ts";
import { encodeBatch } from "./batch-encoder.ts";
import { effectOn, entryOf, preparedPart } from "./entry.fixture.ts";
import { homeOf, type TransactionPart, transactionId } from "./transaction-parts.ts";

const fixture = new URL("../../test/fixtures/batch/v3/transactions.json", import.meta.url);

const { id } = preparedPart;
const message = {
  fromSlot: 9,
  toSlot: 8,
  tenant: "default",
  kind: "note",
  id: "b",
  command: "write",
  input: new Uint8Array([0xc0]),
  subject: "tester",
};

/** What the fixture holds, by name. It was written once, by version 3, and is read by all later ones. */
const parts: Readonly<Record<string, TransactionPart>> = {
  prepared: { ...preparedPart, effects: [effectOn("a", { isBirth: true })], messages: [message] },
  preparedReads: preparedPart,
  decision: { type: "decision", id, participants: [{ slot: 9, epoch: 4 }] },
  commit: { type: "outcome", id, slot: 9, isCommit: true },
  abort: { type: "outcome", id, slot: 9, isCommit: false },
  forgotten: { type: "forgotten", ids: [id] },
};

function entryWith(transaction: TransactionPart): Entry {
  return entryOf({ origin: "transaction", command: "transfer", transaction });
}

/** Byte strings come back as views of some kind. */
function plain(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value, (_key, part) => (part instanceof Uint8Array ? toHex(part) : part)));
}

describe("what batches say of transactions over several shards", () => {
  const written = JSON.parse(readFileSync(fixture, "utf8")) as Readonly<Record<string, string>>;

  for (const [name, part] of Object.entries(parts)) {
    test(`is read and written as version 3 did: ${name}`, () => {
      const bytes = fromHex(written[name]!);
      const hex = (entries: readonly Entry[]) => plain(entries);
      assert.deepEqual(hex(decodeBatch(bytes)), hex([entryWith(part)]));
      assert.equal(toHex(encodeBatch([entryWith(part)])), written[name]);
    });
  }

  test("needs a reader that knows it; a batch without it is for all", () => {
    for (const part of Object.values(parts)) {
      assert.equal(readerVersionOf([entryOf({}), entryWith(part)]), crossingVersion);
    }
    assert.equal(readerVersionOf([entryOf({}), entryOf({})]), formatVersion);
  });

  test("is damage where its type is unknown", () => {
    const bytes = encodeBatch([entryWith(parts.abort!)]);
    const at = bytes.lastIndexOf(2, bytes.length - 4);
    assert.ok(at > 0);
    bytes[at] = 9;
    assert.throws(() => decodeBatch(bytes), /could not be decoded/);
  });

  test("names its transaction so that its home is known", () => {
    const name = transactionId({ homeSlot: 4095, homeEpoch: 2 ** 40, random: "r".repeat(16) });
    assert.deepEqual(homeOf(name), { slot: 4095, epoch: 2 ** 40 });
  });
});
