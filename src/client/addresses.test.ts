import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { Addresses } from "./addresses.ts";

describe("a client's addresses", () => {
  test("are used in turn, from a random one on; who leaves one that was left changes nothing", () => {
    const addresses = new Addresses(["http://a", new URL("http://b"), "https://c"], () => 0.5);
    const first = addresses.current;
    assert.equal(first.host, "b");
    addresses.leave(first);
    assert.equal(addresses.current.host, "c");
    addresses.leave(first);
    assert.equal(addresses.current.host, "c");
    addresses.leave(addresses.current);
    assert.equal(addresses.current.host, "a");
  });

  test("one stays", () => {
    const addresses = new Addresses("http://a", () => 0.99);
    addresses.leave(addresses.current);
    assert.equal(addresses.current.host, "a");
  });

  for (const given of [[], "ftp://a", ["http://a", "nats://b"], "nothing"]) {
    test(`refuse ${JSON.stringify(given)}`, () => assert.throws(() => new Addresses(given, () => 0), TypeError));
  }
});
