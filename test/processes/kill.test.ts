/**
 * Real processes on real files, killed with SIGKILL at random moments under load: what was acknowledged is there once, what
 * was not is there once or not at all, and a retry under the same idempotency key settles which.
 */
import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { SeededRandom } from "../../src/base/random.ts";
import { nextOperation, Oracle, unkeyed } from "./bank-oracle.fixture.ts";
import { BankClient, installBank, Program } from "./bank-process.fixture.ts";

const roundCount = 50;
const workerCount = 8;

describe("a bank that is killed under load", { timeout: 180_000 }, () => {
  let folder = "";
  let running: Program | undefined;
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "onefold-kill-"));
    await installBank(folder);
  });
  after(async () => {
    running?.child.kill("SIGKILL");
    await rm(folder, { recursive: true, force: true });
  });

  test(`loses nothing and does nothing twice over ${roundCount} times kill -9`, async (context) => {
    const seed = process.env.ONEFOLD_KILL_SEED ?? "kill";
    const random = new SeededRandom(seed);
    const oracle = new Oracle();
    let operationCount = 0;
    let killedStarts = 0;

    const load = async (client: BankClient, worker: SeededRandom, isOver: () => boolean) => {
      while (!isOver()) {
        const operation = nextOperation(worker, ++operationCount);
        oracle.settle(operation, await client.post(operation.path, operation.input, operation.key));
      }
    };

    for (let round = 0; round < roundCount; round++) {
      if (random.chance(0.15)) {
        // In the middle of its start, wherever that is by then.
        const starting = Program.serve(folder, "data");
        running = starting;
        await delay(50 + random.integer(500));
        await starting.kill("SIGKILL");
        killedStarts++;
      }
      const program = Program.serve(folder, "data");
      running = program;
      const url = await program.url;
      if (url === undefined) {
        assert.fail(`round ${round} of seed ${seed} does not start: ${(await program.ended).stderr}`);
      }
      const client = new BankClient(url);

      for (const operation of oracle.inDoubt.splice(0)) {
        oracle.retried++;
        oracle.settle(operation, await client.post(operation.path, operation.input, operation.key));
      }
      assert.deepEqual(oracle.inDoubt, [], "a node that is not killed leaves nothing in doubt");
      for (const [id, cents] of oracle.balances) {
        assert.equal(await client.balance(id), cents, `the balance of ${id} in round ${round} of seed ${seed}`);
      }
      const unkeyedCents = await client.balance(unkeyed);
      assert.ok(
        unkeyedCents >= oracle.unkeyedAcknowledgedCents &&
          unkeyedCents <= oracle.unkeyedAcknowledgedCents + oracle.unkeyedInDoubtCents,
        `${unkeyedCents} are ${oracle.unkeyedAcknowledgedCents} and up to ${oracle.unkeyedInDoubtCents} more`,
      );

      let isOver = false;
      const workers = Array.from({ length: workerCount }, (_, i) =>
        load(client, random.fork(`${round}-${i}`), () => isOver),
      );
      await delay(20 + random.integer(230));
      const killed = program.kill("SIGKILL");
      isOver = true;
      await Promise.all([killed, ...workers]);
      client.close();
    }

    const program = Program.serve(folder, "data");
    running = program;
    const client = new BankClient((await program.url)!);
    for (const operation of oracle.inDoubt.splice(0)) {
      oracle.retried++;
      oracle.settle(operation, await client.post(operation.path, operation.input, operation.key));
    }
    for (const [id, cents] of oracle.balances) assert.equal(await client.balance(id), cents);
    client.close();
    assert.deepEqual((await program.kill("SIGTERM")).code, 0);
    const verified = await new Program(folder, ["verify", "--data", "data"]).ended;
    assert.equal(verified.code, 0, verified.stderr);
    assert.ok(oracle.acknowledged > roundCount * workerCount, "there was load");
    assert.ok(oracle.unknown > roundCount / 2, "kills hit calls under way");
    const { acknowledged, refused, unknown, retried } = oracle;
    context.diagnostic(
      `seed ${seed}: ${roundCount} rounds and ${killedStarts} starts killed; ${acknowledged} acknowledged, ${refused} refused, ${unknown} unknown, ${retried} retried; none lost, none twice`,
    );
  });
});
