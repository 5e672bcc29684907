import assert from "node:assert/strict";
import { test } from "node:test";
import { RecordInbox } from "./record-inbox.ts";

const bytes = (length: number): Uint8Array => new Uint8Array(length);

test("an inbox gives what is next, forgets what is past, and tells when something was skipped", () => {
  const inbox = new RecordInbox(10);
  assert.equal(inbox.take(1), undefined);
  assert.equal(inbox.isStuck, false);
  for (const sequence of [1, 3, 4]) assert.equal(inbox.put(sequence, bytes(3)), true);
  assert.equal(inbox.put(3, bytes(9)), true, "it is there already");
  assert.equal(inbox.put(5, bytes(2)), false, "there is no room");
  assert.equal(inbox.take(1)?.length, 3);
  assert.equal(inbox.isStuck, false);
  assert.equal(inbox.take(2), undefined);
  assert.equal(inbox.isStuck, true);
  assert.equal(inbox.take(4)?.length, 3);
  assert.equal(inbox.put(5, bytes(10)), true, "3 went when 4 was next");
  inbox.clear();
  assert.equal(inbox.take(5), undefined);
  assert.equal(inbox.isStuck, false);
});
