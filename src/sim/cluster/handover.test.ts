/** A node that leaves in good order, by the simulation's clock: no other work makes that slower, so it shows what waits for what. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { bank } from "../../../examples/bank/bank.ts";
import { SeededRandom } from "../../base/random.ts";
import { tester } from "../../entity/shard.fixture.ts";
import { FaultCounts } from "../faults.ts";
import { Scheduler } from "../scheduler.ts";
import { SimulatedCluster } from "./simulated-cluster.ts";

/**
 * An append takes 1 to 4 ms there, a sync up to 2, a message up to 1. A call that waits for its shard to change hands waits for what is in the
 * open batch, the release, a message, the claim, its reading back and a fold; 20 ms were the most in 12 seeds. Any poll or back-off between would
 * show.
 */
const slowestMsMax = 30;
const callerCount = 48;

describe("a node that leaves in good order", () => {
  for (const seed of ["a", "d"]) {
    test(`keeps no caller waiting for longer than the records take that it is about, seed ${seed}`, () => {
      const scheduler = new Scheduler({ eventsMax: 20_000_000 });
      const failures: string[] = [];
      const cluster = new SimulatedCluster({
        scheduler,
        random: new SeededRandom(seed),
        counts: new FaultCounts(),
        system: () => bank,
        nodeCount: 3,
        shardCount: 16,
        onFailure: (node, error) => failures.push(`${node}: ${error}`),
      });
      const body = async (): Promise<void> => {
        for (const name of cluster.names) cluster.start(name);
        while (cluster.serving.length < 3 || !cluster.isServed) await scheduler.sleep(20);
        await scheduler.sleep(5000);
        const leaving = "n2";
        const counts = new Array<number>(callerCount).fill(0);
        let [isOver, slowestMs] = [false, 0];
        const callers = counts.map(async (_, index) => {
          for (let count = 1; !isOver; count++) {
            // Its own callers have gone to other nodes before a node hands over (`runtime/serve-member.ts`).
            const others = cluster.serving.filter(({ name }) => name !== leaving);
            const { service } = others[index % others.length]!;
            const beganMs = scheduler.nowMs;
            const options = { principal: tester, idempotencyKey: `${index} ${count}` };
            const reply = await service.command({ kind: "account", id: `${index}` }, "deposit", { cents: 1 }, options);
            assert.equal(reply.output, count);
            counts[index] = count;
            slowestMs = Math.max(slowestMs, scheduler.nowMs - beganMs);
            await scheduler.sleep(5);
          }
        });
        await scheduler.sleep(500);
        const owned = cluster.serving.find(({ name }) => name === leaving)!.cluster.shards!.ownedCount;
        assert.equal(owned > 3, true, `${leaving} owns ${owned} shards`);
        slowestMs = 0;
        await cluster.world.hooks.stop(leaving);
        await scheduler.sleep(100);
        isOver = true;
        await Promise.all(callers);
        assert.equal(slowestMs < slowestMsMax, true, `the slowest call took ${slowestMs} ms`);
        assert.deepEqual(failures, []);
        cluster.end();
      };
      return scheduler.complete(body(), { untilMs: 600_000 });
    });
  }
});
