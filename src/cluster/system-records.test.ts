import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { OnefoldError } from "../base/errors.ts";
import { limits } from "../base/limits.ts";
import { encodeValue } from "../base/value.ts";
import { formatVersion } from "../log/record.ts";
import { decodeSystemRecords, encodeSystemRecords, type SystemRecord } from "./system-records.ts";
import { cluster, describe as described, parentPosition, records } from "./system.fixture.ts";

const withCode = (code: string) => (error: unknown) => error instanceof OnefoldError && error.code === code;

describe("the system log's records", () => {
  test("are given back as they were, several in one payload", () => {
    assert.deepEqual(decodeSystemRecords(encodeSystemRecords(records)), records);
    assert.equal(new Set(records.map((record) => record.type)).size, 21, "the fixture has one of each type");
    assert.equal(formatVersion, 1);
  });

  test("refuse a type of a later version, and pass over a property of one", () => {
    assert.throws(() => decodeSystemRecords(encodeValue([{ type: "renamed" }])), withCode("unsupported-version"));
    assert.throws(() => decodeSystemRecords(encodeValue([{ type: "toString" }])), withCode("unsupported-version"));
    const later = encodeValue([{ type: "renewed", member: "a.1", wallMs: 5, load: 7 }]);
    assert.deepEqual(decodeSystemRecords(later), [{ type: "renewed", member: "a.1", wallMs: 5 }]);
  });

  for (const [what, payload] of [
    ["no list", { type: "renewed", member: "a", wallMs: 1 }],
    ["an item that is no object", [1]],
    ["no type", [{ member: "a" }]],
    ["a missing property", [{ type: "renewed", member: "a" }]],
    ["a number that is not whole", [{ type: "renewed", member: "a", wallMs: 0.5 }]],
    ["a negative number", [{ type: "renewed", member: "a", wallMs: -1 }]],
    ["an id that is no token", [{ type: "left", member: "a b" }]],
    ["a shard count that doesn't divide the slots", [{ type: "founded", cluster: { ...cluster, shardCount: 3 } }]],
    ["too many followers", [{ type: "founded", cluster: { ...cluster, followerCount: 3 } }]],
    ["a short secret", [{ type: "founded", cluster: { ...cluster, secret: new Uint8Array(31) } }]],
    [
      "a hash that is none",
      [{ type: "repaired", shard: "0", log: "l", incarnation: "00", parent: parentPosition("l") }],
    ],
  ] as const) {
    test(`refuse ${what} as damaged`, () => {
      assert.throws(() => decodeSystemRecords(encodeValue(payload)), withCode("damaged"));
    });
  }

  test("hold a member of the largest allowed size, and no larger one", () => {
    const joined = (address: string): SystemRecord => ({
      type: "joined",
      member: { ...described("a"), address },
      wallMs: 1,
    });
    encodeSystemRecords([joined("x".repeat(limits.memberBytesMax - 200))]);
    assert.throws(() => encodeSystemRecords([joined("x".repeat(limits.memberBytesMax))]), withCode("too-large"));
  });
});
