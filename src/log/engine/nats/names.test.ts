import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { blobSubject, logStream, logSubject, token } from "./names.ts";
import { sequenceOf } from "./nats-tail.ts";
import { isVersionAtLeast, parseServerVersion } from "./server-version.ts";

/** Short ones of few characters, so that they are often alike. */
const name = fc.string({
  unit: fc.constantFrom("a", "b", ".", "_", "2", "e", "-", "ü", "*", ">", " "),
  minLength: 1,
  maxLength: 5,
});

describe("the names of streams and subjects", () => {
  test("are one token each, and no two names become the same one", () => {
    fc.assert(
      fc.property(name, name, (one, two) => {
        assert.match(token(one), /^[A-Za-z0-9_-]+$/);
        assert.equal(token(one) === token(two), one === two);
      }),
      { numRuns: 500 },
    );
    assert.equal(token("s-abc.12"), "s-abc_2e12");
    assert.notEqual(token("a_2eb"), token("a.b"));
  });

  test("are what is written down", () => {
    assert.equal(logStream("onefold", "system-1"), "onefold-log-system-1");
    assert.equal(logSubject("onefold", "system-1"), "onefold.log.system-1");
    assert.equal(blobSubject("onefold", "s-1_2e7", "pointer", "newest"), "onefold.blob.s-1_2e7.pointer.newest");
  });
});

describe("the subject that a delivered message is acknowledged by", () => {
  test("names its sequence, in the old form and the new, also where names look like it", () => {
    assert.equal(sequenceOf("$JS.ACK.stream.consumer.1.42.7.1700000000.0"), 42);
    assert.equal(sequenceOf("$JS.ACK.domain.hash.stream.consumer.1.42.7.1700000000.0"), 42);
    assert.equal(sequenceOf("$JS.ACK.domain.hash.stream.consumer.1.42.7.1700000000.0.token"), 42);
  });

  test("is told from any other", () => {
    for (const reply of ["", "_INBOX.a.b", "$JS.FC.stream.consumer.xyz", "$JS.ACK.stream.consumer.1.x.7.1.0"]) {
      assert.equal(sequenceOf(reply), undefined, reply);
    }
  });
});

describe("the version of a server", () => {
  test("is found in what it prints", () => {
    assert.equal(parseServerVersion("nats-server: v2.15.1\n"), "2.15.1");
    assert.equal(parseServerVersion("2.15.1-1"), "2.15.1");
    assert.equal(parseServerVersion("2.16.0-RC.1"), "2.16.0");
    assert.equal(parseServerVersion("no version"), undefined);
  });

  test("is compared by its numbers", () => {
    for (const [version, isEnough] of [
      ["2.15.1", true],
      ["2.15.10", true],
      ["2.16.0", true],
      ["10.0.0", true],
      ["2.15.0", false],
      ["2.9.99", false],
      ["1.99.99", false],
    ] as const) {
      assert.equal(isVersionAtLeast(version, "2.15.1"), isEnough, version);
    }
  });
});
