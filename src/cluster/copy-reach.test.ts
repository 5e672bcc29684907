import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { encodeUtf8 } from "../base/bytes.ts";
import { SeededRandom } from "../base/random.ts";
import { openSegmentLog } from "../log/engine/segment/engine.ts";
import { RecordChain } from "../log/log.suite.ts";
import type { RecordKind } from "../log/record.ts";
import { simulatedHost } from "../sim/host.ts";
import { Scheduler } from "../sim/scheduler.ts";
import { compareReaches, reachOf } from "./copy-reach.ts";

describe("how far a copy reaches", () => {
  const cases: readonly { readonly kinds: readonly RecordKind[]; readonly content: number }[] = [
    { kinds: [], content: 1 },
    { kinds: ["claim"], content: 1 },
    { kinds: ["claim", "batch", "batch"], content: 4 },
    { kinds: ["claim", "batch", "release", "claim", "claim"], content: 3 },
    { kinds: ["batch", "seal"], content: 2 },
  ];
  for (const { kinds, content } of cases) {
    test(`with content is what others than owners have said: genesis ${kinds.join(" ")}`, () => {
      const scheduler = new Scheduler();
      const { host } = simulatedHost({ scheduler, random: new SeededRandom("reach") });
      const body = async () => {
        const { disk, random, trace } = host;
        await disk.makeDirectory("shards");
        const options = { disk, random, trace, directory: "shards/one", segmentBytes: 64 * 1024, reserveBytes: 0 };
        const copy = await openSegmentLog(options);
        assert.equal(await reachOf(copy), null);
        const chain = new RecordChain();
        const hashes: Uint8Array[] = [];
        for (const kind of ["genesis" as const, ...kinds]) {
          const record = chain.encode(encodeUtf8(kind), { kind });
          assert.equal((await copy.append(record.bytes)).kind, "appended");
          chain.accept(record);
          hashes.push(copy.end!.hash);
        }
        const reach = (await reachOf(copy))!;
        assert.equal(reach.end.sequence, kinds.length + 1);
        assert.deepEqual(reach.content, { sequence: content, hash: hashes[content - 1] });
        await copy.close();
      };
      return scheduler.complete(body());
    });
  }

  test("is compared by content first: claims on a log that went back are no more than what it had", () => {
    const whole = { contentSequence: 7, sequence: 7 };
    assert.ok(compareReaches(whole, { contentSequence: 4, sequence: 9 }) > 0);
    assert.ok(compareReaches(whole, { contentSequence: 7, sequence: 8 }) < 0);
    assert.equal(compareReaches(whole, { contentSequence: 7, sequence: 7 }), 0);
  });
});
