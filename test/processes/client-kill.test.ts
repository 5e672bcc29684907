/**
 * The typed client while the node behind it is killed with SIGKILL and started again on the same port: every call is answered in
 * the end, each took hold once, and a subscription comes to the last value.
 */
import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import type { bank } from "../../examples/bank/bank.ts";
import { SeededRandom } from "../../src/base/random.ts";
import { connect } from "../../src/client/index.ts";
import { installBank, Program } from "./bank-process.fixture.ts";

const roundCount = 8;
const callerCount = 16;

/** A port that was free just now. */
async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as { readonly port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}

describe("a client whose node is killed", { timeout: 120_000 }, () => {
  let folder = "";
  let running: Program | undefined;
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "onefold-client-kill-"));
    await installBank(folder);
  });
  after(async () => {
    running?.child.kill("SIGKILL");
    await running?.ended;
    await rm(folder, { recursive: true, force: true });
  });

  test(`loses no call and doubles none over ${roundCount} times kill -9`, async (context) => {
    const seed = process.env.ONEFOLD_KILL_SEED ?? "client";
    const random = new SeededRandom(seed);
    const port = await freePort();
    const start = async (): Promise<Program> => {
      const program = new Program(folder, ["start", "bank", "--port", String(port), "--json", "--data", "data"]);
      assert.ok((await program.url) !== undefined, (await Promise.race([program.ended, delay(0)]))?.stderr);
      return program;
    };
    running = await start();
    const client = connect<typeof bank>(`http://127.0.0.1:${port}`, { deadlineMs: 60_000, transport: "socket" });
    const ids = ["a", "b", "c"];
    const outputs = new Map<string, number[]>(ids.map((id) => [id, []]));
    let isOver = false;
    let lastSeen = 0;
    const watching = (async () => {
      for await (const balance of client.account("a").$watch("balance")) {
        assert.ok(balance >= lastSeen);
        lastSeen = balance;
        if (isOver && balance === outputs.get("a")!.length) return;
      }
    })();
    const caller = async (own: SeededRandom): Promise<void> => {
      while (!isOver) {
        const id = ids[own.integer(ids.length)]!;
        outputs.get(id)!.push(await client.account(id).deposit({ cents: 1 }));
      }
    };
    const callers = Promise.all(
      Array.from({ length: callerCount }, (_, index) => caller(new SeededRandom(`${seed} ${index}`))),
    );
    for (let round = 0; round < roundCount; round++) {
      // In the middle of work, wherever that is by then.
      const before = [...outputs.values()].flat().length;
      const untilMs = performance.now() + 20_000;
      while ([...outputs.values()].flat().length < before + 50) {
        assert.ok(performance.now() < untilMs, `no progress in round ${round}, seed ${seed}`);
        await delay(5);
      }
      await delay(random.integer(100));
      await running.kill("SIGKILL");
      running = await start();
    }
    isOver = true;
    await callers;
    for (const [id, balances] of outputs) {
      assert.deepEqual(
        balances.toSorted((a, b) => a - b),
        Array.from({ length: balances.length }, (_, index) => index + 1),
        `deposits to ${id}, seed ${seed}`,
      );
      assert.equal(await client.account(id).balance(), balances.length);
    }
    // One more, so that there is a value to come to after everything is counted.
    outputs.get("a")!.push(await client.account("a").deposit({ cents: 1 }));
    await watching;
    context.diagnostic(`${[...outputs.values()].flat().length} deposits, ${roundCount} kills`);
    client.$close();
    await running.kill("SIGTERM");
  });
});
