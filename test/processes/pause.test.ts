/**
 * A real process that the system stops for a while and lets go on (SIGSTOP, SIGCONT), as a suspended virtual machine or a
 * starved container is: nothing acknowledged is lost, nothing is done twice, and no call fails for the pause itself.
 */
import assert from "node:assert/strict";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { SeededRandom } from "../../src/base/random.ts";
import { nextOperation, type Operation, Oracle, unkeyed } from "./bank-oracle.fixture.ts";
import { BankClient, installBank, Program } from "./bank-process.fixture.ts";

const seed = process.env.ONEFOLD_PAUSE_SEED ?? "pause";
const workerCount = 8;

/** Commands that take some tens of milliseconds, so that a pause often falls into the middle of one. */
const spinsSource = `
  import { entity, system } from "onefold";
  import { z } from "zod";
  const wheel = entity("wheel")
    .state(z.object({ count: z.number() }), () => ({ count: 0 }))
    .command("spin", (state) => {
      let x = 0;
      for (let i = 0; i < 10_000_000; i++) x += i % 7;
      state.count += x > 0 ? 1 : 0;
      return state.count;
    })
    .query("count", (state) => state.count);
  export const spins = system("spins", { wheel });
`;

describe("a node's process that is paused", { timeout: 90_000, skip: process.platform === "win32" }, () => {
  let folder = "";
  const programs: Program[] = [];

  const serve = async (program: Program): Promise<{ program: Program; client: BankClient }> => {
    programs.push(program);
    const url = await program.url;
    if (url === undefined) assert.fail(`it does not start: ${(await program.ended).stderr}`);
    return { program, client: new BankClient(url) };
  };

  /** Pauses it so many times, for up to `pauseMs`, with up to `runMs` between. */
  const pauseOften = async (
    { child }: Program,
    random: SeededRandom,
    { count, pauseMs, runMs }: { readonly count: number; readonly pauseMs: number; readonly runMs: number },
  ): Promise<number> => {
    let pausedMs = 0;
    for (let i = 0; i < count; i++) {
      await delay(10 + random.integer(runMs));
      assert.ok(child.kill("SIGSTOP"), "it has ended");
      const forMs = 20 + random.integer(pauseMs);
      await delay(forMs);
      assert.ok(child.kill("SIGCONT"));
      pausedMs += forMs;
    }
    return pausedMs;
  };

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "onefold-pause-"));
    await installBank(folder);
    await mkdir(join(folder, "spins"));
    await writeFile(join(folder, "spins", "index.mjs"), spinsSource);
  });
  after(async () => {
    for (const { child } of programs) child.kill("SIGKILL");
    await Promise.all(programs.map((program) => program.ended));
    await rm(folder, { recursive: true, force: true });
  });

  test("under load fails no call, loses nothing and does nothing twice", async (context) => {
    const random = new SeededRandom(seed);
    const oracle = new Oracle();
    const { program, client } = await serve(Program.serve(folder, "data"));
    const acknowledged: Operation[] = [];
    let operationCount = 0;
    let isOver = false;
    const load = async (worker: SeededRandom) => {
      while (!isOver) {
        const operation = nextOperation(worker, ++operationCount);
        const answer = await client.post(operation.path, operation.input, operation.key);
        const code = (answer?.body as { readonly code?: string } | null | undefined)?.code;
        assert.ok(
          answer?.status === 200 || code === "insufficient-funds",
          `${JSON.stringify(operation)} got ${JSON.stringify(answer)}, seed ${seed}`,
        );
        oracle.settle(operation, answer);
        if (answer?.status === 200 && operation.key !== undefined) acknowledged.push(operation);
      }
    };
    const workers = Promise.all(Array.from({ length: workerCount }, (_, i) => load(random.fork(`worker-${i}`))));
    // A worker that finds something wrong is heard of at once.
    const pausing = pauseOften(program, random, { count: 10, pauseMs: 900, runMs: 250 }).finally(() => {
      isOver = true;
    });
    const [pausedMs] = await Promise.all([pausing, workers]);

    const check = async (node: BankClient, when: string) => {
      for (const [id, cents] of oracle.balances) assert.equal(await node.balance(id), cents, `${id} ${when}`);
      assert.equal(await node.balance(unkeyed), oracle.unkeyedAcknowledgedCents, `${unkeyed} ${when}`);
    };
    await check(client, "after the pauses");
    // Whoever had lost an answer would have sent the same again.
    for (const { path, input, key } of random.shuffle(acknowledged).slice(0, 100)) {
      assert.equal((await client.post(path, input, key))?.status, 200);
    }
    await check(client, "after repeating what had been acknowledged");
    client.close();
    await program.kill("SIGKILL");
    const next = await serve(Program.serve(folder, "data"));
    await check(next.client, "after a restart");
    next.client.close();
    assert.equal((await next.program.kill("SIGTERM")).code, 0);
    assert.ok(oracle.acknowledged > 100, `there was load: ${oracle.acknowledged}`);
    context.diagnostic(
      `seed ${seed}: paused for ${pausedMs} ms in all; ${oracle.acknowledged} acknowledged, ${oracle.refused} refused`,
    );
  });

  test("in the middle of commands, for longer than one may take, stops none of them as too slow", async (context) => {
    const random = new SeededRandom(`${seed}-spins`);
    const args = ["start", "spins", "--port", "0", "--json", "--data", "spins-data"];
    const { program, client } = await serve(new Program(folder, args));
    const wheel = "/v1/entities/wheel/w";
    assert.equal((await client.post(`${wheel}/spin`, undefined))?.status, 200);
    let count = 1;
    let isOver = false;
    const load = async () => {
      while (!isOver) {
        const answer = await client.post(`${wheel}/spin`, undefined);
        assert.equal(answer?.status, 200, `${JSON.stringify(answer)}, seed ${seed}`);
        count++;
      }
    };
    const workers = Promise.all([load(), load()]);
    const pausing = pauseOften(program, random, { count: 7, pauseMs: 700, runMs: 150 }).finally(() => {
      isOver = true;
    });
    await Promise.all([pausing, workers]);
    assert.equal((await client.get(`${wheel}/count`))?.body, count);
    client.close();
    assert.equal((await program.kill("SIGTERM")).code, 0);
    assert.ok(count > 5, `${count} commands`);
    context.diagnostic(`${count} commands`);
  });
});
