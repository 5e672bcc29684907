/** What a page loads when it imports the client. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { measureClient } from "../../scripts/client-size.ts";

describe("the client's bundle for browsers", () => {
  test("holds nothing of the server, no dependency, and is small", async (context) => {
    const { files, rawBytes, gzipBytes, text } = await measureClient();
    context.diagnostic(`${rawBytes} bytes minified, ${gzipBytes} compressed`);
    for (const path of files.keys()) {
      assert.match(path, /^(<stdin>|src\/(client|wire)\/.*|src\/base\/errors\.ts)$/, `${path} has no place in a page`);
    }
    assert.ok(gzipBytes < 15_000, `${gzipBytes} bytes compressed`);
    // A page's content security policy forbids code that is made at run time.
    assert.doesNotMatch(text, /\beval\(|new Function\b/);
    assert.doesNotMatch(text, /\bprocess\.|\bBuffer\b|require\(/);
  });
});
