/**
 * A crash at every await of a transfer, on the segment log and its simulated disk: at each disk operation and timer, before,
 * during and after it. Whatever survives, the transfer has taken hold as a whole or not at all; if it was acknowledged, it has.
 */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { SeededRandom } from "../base/random.ts";
import type { CallReply } from "../entity/service.ts";
import { makeBank } from "../transaction/bank.fixture.ts";
import { SimulatedNode } from "../sim/host.ts";
import { type CrashMoment, crashMoments } from "../sim/life.ts";
import { Scheduler } from "../sim/scheduler.ts";
import { memoryStore } from "../store/engine/memory.ts";
import { EmbeddedNode } from "./embedded.ts";
import { inProcessClient } from "./in-process-client.ts";

const principal = { tenant: "default", subject: "tester", scopes: ["*"] };

class Place {
  readonly scheduler = new Scheduler({ eventsMax: 1_000_000 });
  readonly made = makeBank();
  readonly node: SimulatedNode;
  readonly #storeEngine: ReturnType<typeof memoryStore>;
  #host: ReturnType<SimulatedNode["start"]>;

  constructor(seed: string) {
    const random = new SeededRandom(seed);
    this.node = new SimulatedNode({ scheduler: this.scheduler, random: random.fork("node") });
    this.#host = this.node.start();
    this.#storeEngine = memoryStore({
      timers: {
        after: (delayMs, callback) => this.#host.timers.after(delayMs, callback),
        soon: (callback) => this.#host.timers.soon(callback),
      },
      random: random.fork("store"),
    });
  }

  open(): Promise<EmbeddedNode> {
    const options = { system: this.made.bank, host: this.#host, storeEngine: this.#storeEngine };
    return EmbeddedNode.open({ ...options, segmentBytes: 4 << 20, reserveBytes: 0 });
  }

  restart(): Promise<EmbeddedNode> {
    this.node.crash();
    this.#storeEngine.crash();
    this.#host = this.node.start();
    return this.open();
  }

  balances(node: EmbeddedNode): Promise<number[]> {
    const client = inProcessClient(this.made.bank, node.service, principal);
    return Promise.all(["a", "b"].map((id) => client.account(id).balance()));
  }
}

interface Found {
  /** False where the transfer was over before the planned operation. */
  readonly hasCrashed: boolean;
  readonly isAcknowledged: boolean;
  readonly tookHold: boolean;
}

/** Opens a bank with 100 on account a, transfers 40, crashes on the way, and looks at what is there afterwards. */
async function crashAt(operation: number, moment: CrashMoment, isRetried: boolean): Promise<Found> {
  const place = new Place(`${operation}-${moment}`);
  const { scheduler } = place;
  const first = await scheduler.complete(place.open());
  const client = inProcessClient(place.made.bank, first.service, principal);
  await scheduler.complete(client.account("a").deposit({ cents: 100 }));
  // The store's own work, which comes a little later, is among what is crashed.
  place.node.crashAt(operation, { moment });
  const input = { from: "a", to: "b", cents: 40 };
  const transfer = (node: EmbeddedNode): Promise<CallReply> =>
    node.service.transaction("transfer", input, { principal, idempotencyKey: "transfer" });
  let isAcknowledged = false;
  transfer(first).then(
    () => {
      isAcknowledged = true;
    },
    (error: unknown) => {
      throw error;
    },
  );
  await scheduler.run({ untilMs: scheduler.nowMs + 300, stopWhen: () => !place.node.alive });
  const hasCrashed = !place.node.alive;

  const second = await scheduler.complete(place.restart());
  const [a, b] = await scheduler.complete(place.balances(second));
  assert.ok((a === 100 && b === 0) || (a === 60 && b === 40), `${a} and ${b} after ${moment} ${operation}`);
  if (isAcknowledged) assert.equal(b, 40, `acknowledged and lost after ${moment} ${operation}`);
  if (isRetried) {
    await scheduler.complete(transfer(second));
    await scheduler.complete(transfer(second));
    assert.deepEqual(await scheduler.complete(place.balances(second)), [60, 40]);
  }
  const third = await scheduler.complete(place.restart());
  const expected = isRetried ? [60, 40] : [a, b];
  assert.deepEqual(await scheduler.complete(place.balances(third)), expected, "another restart changes nothing");
  await scheduler.complete(third.close());
  return { hasCrashed, isAcknowledged, tookHold: b === 40 };
}

describe("a transfer during which the node crashes", () => {
  for (const moment of crashMoments) {
    test(`takes hold as a whole or not at all, wherever the crash is: ${moment} an operation`, async () => {
      const counts = { lost: 0, unacknowledged: 0, acknowledged: 0 };
      let operation = 1;
      for (; ; operation++) {
        const found = await crashAt(operation, moment, operation % 2 === 0);
        if (!found.hasCrashed) break;
        if (!found.tookHold) counts.lost++;
        else if (found.isAcknowledged) counts.acknowledged++;
        else counts.unacknowledged++;
        assert.ok(operation < 500, "a transfer ends");
      }
      assert.ok(operation > 8, `there are only ${operation} operations in a transfer`);
      assert.ok(counts.lost > 0 && counts.acknowledged > 0, JSON.stringify(counts));
    });
  }
});
