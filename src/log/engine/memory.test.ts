import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { hasCode, logSuite, RecordChain } from "../log.suite.ts";
import { type InjectedOutcome, MemoryLogStorage, memoryLog } from "./memory.ts";

logSuite("memory", () => {
  const storage = new MemoryLogStorage();
  return { open: async (options) => memoryLog({ storage, ...options }), trimsExactly: true };
});

const payload = new Uint8Array([1, 2, 3]);

/** A log with a genesis whose next appends meet the given outcomes, in order. */
async function logWith(outcomes: readonly InjectedOutcome[]) {
  const storage = new MemoryLogStorage();
  const chain = new RecordChain();
  await chain.append(memoryLog({ storage }), payload);
  const queue = [...outcomes];
  return { storage, chain, log: memoryLog({ storage, outcome: () => queue.shift() }) };
}

describe("the memory log's injected outcomes", () => {
  test("an unknown append that was committed shows as a conflict and then as the record itself", async () => {
    const { chain, log } = await logWith([{ kind: "unknown", fate: "committed" }]);
    const record = chain.encode(payload);
    assert.equal((await log.append(record.bytes)).kind, "unknown");
    assert.equal(log.end?.sequence, 1);
    assert.equal((await log.append(record.bytes)).kind, "conflict");
    assert.deepEqual((await log.read(2))?.bytes, record.bytes);
  });

  test("an unknown append that was lost takes hold when it is sent again", async () => {
    const { chain, log } = await logWith([{ kind: "unknown", fate: "lost" }]);
    const record = chain.encode(payload);
    assert.equal((await log.append(record.bytes)).kind, "unknown");
    assert.equal((await log.append(record.bytes)).kind, "appended");
    assert.equal(log.end?.sequence, 2);
  });

  test("an unknown append may stay unknown for a while", async () => {
    const { chain, log } = await logWith([{ kind: "unknown", fate: "committed", afterOperations: 2 }]);
    const record = chain.encode(payload);
    assert.equal((await log.append(record.bytes)).kind, "unknown");
    assert.equal(await log.read(2), undefined);
    assert.equal((await log.append(record.bytes)).kind, "unknown");
    assert.deepEqual((await log.read(2))?.bytes, record.bytes);
  });

  test("after a conflict or a full disk the same append can succeed", async () => {
    const { chain, log } = await logWith([{ kind: "conflict" }, { kind: "full" }]);
    const record = chain.encode(payload);
    assert.equal((await log.append(record.bytes)).kind, "conflict");
    assert.equal(await log.read(2), undefined);
    assert.equal((await log.append(record.bytes)).kind, "full");
    assert.equal((await log.append(record.bytes)).kind, "appended");
  });

  for (const fate of ["committed", "lost"] as const) {
    test(`after a failure nothing more is accepted, and a restart finds the record ${fate}`, async () => {
      const { storage, chain, log } = await logWith([{ kind: "failed", fate }]);
      const record = chain.encode(payload);
      assert.equal((await log.append(record.bytes)).kind, "failed");
      assert.equal((await log.append(record.bytes)).kind, "failed");
      await assert.rejects(log.anchor(), hasCode("stopped"));
      storage.crash({ commitUnfinished: false });
      assert.equal(memoryLog({ storage }).end?.sequence, fate === "committed" ? 2 : 1);
    });

    test(`a crash in the middle of an append can leave its record ${fate}`, async () => {
      const storage = new MemoryLogStorage();
      const chain = new RecordChain();
      await chain.append(memoryLog({ storage }), payload);
      let release = (): void => assert.fail("not yet waiting");
      const log = memoryLog({ storage, delay: () => new Promise((resolve) => (release = resolve)) });
      const record = chain.encode(payload);
      let settled = false;
      const finish = (): void => {
        settled = true;
      };
      log.append(record.bytes).then(finish, finish);
      storage.crash({ commitUnfinished: fate === "committed" });
      release();
      await new Promise((resolve) => setImmediate(resolve));
      assert.equal(settled, false);
      assert.equal(memoryLog({ storage }).end?.sequence, fate === "committed" ? 2 : 1);
    });
  }

  test("a flipped bit is found when the log is opened, and when the record is read", async () => {
    const { storage, chain, log } = await logWith([]);
    await chain.append(log, payload);
    await chain.append(log, payload);
    storage.flip(2, 8 * 97);
    await assert.rejects(log.read(2), hasCode("damaged"));
    assert.throws(() => memoryLog({ storage }), hasCode("damaged"));
  });

  test("a log that was rolled back behind its anchor is not opened", async () => {
    const { storage, chain, log } = await logWith([]);
    await chain.append(log, payload);
    await log.anchor();
    storage.rollBack(1);
    assert.throws(() => memoryLog({ storage }), hasCode("damaged"));
  });
});
