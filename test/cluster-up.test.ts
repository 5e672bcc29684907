/** `onefold cluster up` as its users have it: real servers, real nodes, killed under load; nothing lost, nothing twice, no error. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { after, before, describe, test } from "node:test";
import type { bank } from "../examples/bank/bank.ts";
import { connect, type RemoteClient } from "../src/client/index.ts";
import type { ClusterView } from "../src/wire/cluster-view.ts";
import { natsServerForTests } from "../scripts/nats-server.ts";
import { Up } from "./cluster-up.fixture.ts";
import { ended, ProgramFolder } from "./command-line.fixture.ts";
import { until } from "./member.fixture.ts";

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    // One that has ended and whom nobody has waited for counts as gone.
    return !execFileSync("ps", ["-o", "stat=", "-p", String(pid)])
      .toString()
      .startsWith("Z");
  } catch {
    return false;
  }
}

describe("onefold cluster up", { timeout: 240_000 }, () => {
  let folder: ProgramFolder;
  let up: Up;
  let client: RemoteClient<typeof bank>;

  const start = async (): Promise<Up> => {
    return Up.bank(folder);
  };

  before(async () => {
    folder = await ProgramFolder.make();
    const { path } = await natsServerForTests();
    folder.environment = { NATS_SERVER: path, ONEFOLD_LOG_LEVEL: "warn" };
    up = await start();
    client = connect<typeof bank>(up.urls);
  });

  after(async () => {
    client.$close();
    await folder.remove();
  });

  test("says what it has started: servers with their addresses, nodes with theirs", () => {
    assert.deepEqual([...up.engines.keys()].sort(), ["e1", "e2", "e3"]);
    assert.deepEqual([...up.nodes.keys()].sort(), ["n1", "n2", "n3"]);
    for (const { url } of up.engines.values()) assert.match(url!, /^nats:\/\/127\.0\.0\.1:\d+$/);
    for (const { http } of up.nodes.values()) assert.match(http!, /^http:\/\/127\.0\.0\.1:\d+$/);
    assert.equal(up.pids.every(isAlive), true);
  });

  test("answers any call at any node", async () => {
    for (const [index, url] of up.urls.entries()) {
      const one = connect<typeof bank>(url);
      assert.equal(await one.account("shared").deposit({ cents: 10 }), 10 * (index + 1));
      await one.transfer({ from: "shared", to: `other-${index}`, cents: 4 });
      await one.account("shared").deposit({ cents: 4 });
      assert.equal(await one.account(`other-${index}`).balance(), 4);
      one.$close();
    }
  });

  test("loses nothing, does nothing twice, and shows no error while a node and a server are killed under load", async () => {
    const callers = Array.from({ length: 12 }, (_, index) => `load-${index}`);
    let isOver = false;
    const counts = await Promise.all([
      ...callers.map(async (id, index) => {
        const next = callers[(index + 1) % callers.length]!;
        let count = 0;
        for (; !isOver; count++) {
          // An account that only its caller fills answers with how often it was filled.
          assert.equal(await client.account(`own-${id}`).deposit({ cents: 1 }), count + 1);
          await client.account(id).deposit({ cents: 2 });
          await client.transfer({ from: id, to: next, cents: 1 });
        }
        return count;
      }),
      (async () => {
        process.kill(up.nodes.get("n2")!.pid, "SIGKILL");
        await up.heard(/"node":"n2","pid"/);
        process.kill(up.engines.get("e1")!.pid, "SIGKILL");
        await up.heard(/"engine":"e1","pid"/);
        // The engine's election is over where calls go on.
        await client.account("shared").deposit({ cents: 1 });
        process.kill(up.nodes.get("n1")!.pid, "SIGKILL");
        await up.heard(/"node":"n1","pid"/);
        isOver = true;
        return 0;
      })(),
    ]);
    const total = counts.reduce((sum, count) => sum + count, 0);
    const balances = await Promise.all(callers.map((id) => client.account(id).balance()));
    assert.equal(
      balances.reduce((sum, balance) => sum + balance, 0),
      2 * total,
    );
    for (const [index, id] of callers.entries())
      assert.equal(await client.account(`own-${id}`).balance(), counts[index]);
  });

  test("refuses writes within 2 s where the engine has no majority, serves what may be stale, and goes on when it is back", async () => {
    const [url] = up.urls;
    const paused = ["e2", "e3"].map((name) => up.engines.get(name)!.pid);
    for (const pid of paused) process.kill(pid, "SIGSTOP");
    try {
      const beganMs = performance.now();
      await until("writes are refused", async () => {
        const refused = await fetch(`${url}/v1/entities/account/shared/deposit`, {
          method: "POST",
          headers: { "content-type": "application/json", "onefold-deadline-ms": "20000", "idempotency-key": "during" },
          body: '{"cents":1}',
        });
        return refused.status === 503;
      });
      assert.ok(performance.now() - beganMs < 2500, `${performance.now() - beganMs} ms`);
      const stale = await fetch(`${url}/v1/entities/account/shared/balance?read=eventual`);
      assert.equal(stale.status, 200);
      assert.match(stale.headers.get("onefold-stale-for-ms") ?? "", /^\d+$/);
    } finally {
      for (const pid of paused) process.kill(pid, "SIGCONT");
    }
    const before = await client.account("shared").balance();
    assert.equal(await client.account("shared").deposit({ cents: 1 }), before + 1);
  });

  test("splits a shard under load, and no call fails", async () => {
    let isOver = false;
    const counts = Promise.all(
      Array.from({ length: 8 }, async (_, index) => {
        let count = 0;
        for (; !isOver; count++) {
          assert.equal(await client.account(`split-${index}`).deposit({ cents: 1 }), count + 1);
        }
        return count;
      }),
    );
    const [url] = up.urls;
    const { shards } = (await (await fetch(`${url}/v1/cluster`)).json()) as ClusterView;
    const text = await folder.result("cluster", "split", shards[0]!.id, "--parts", "2", "--url", url!, "--json");
    const { parts } = JSON.parse(text) as { readonly parts: readonly string[] };
    assert.equal(parts.length, 2);
    isOver = true;
    for (const count of await counts) assert.ok(count > 0);
    const after = (await (await fetch(`${url}/v1/cluster`)).json()) as ClusterView;
    assert.equal(after.shards.length, shards.length + 1);
    assert.equal(
      (await folder.onefold("cluster", "split", shards[0]!.id, "--url", url!)).code,
      1,
      "it is split already",
    );
  });

  test("hands everything to the others where a node is asked to end, and no call fails", async () => {
    const { pid } = up.nodes.get("n3")!;
    let isOver = false;
    let count = 0;
    const depositing = (async () => {
      for (; !isOver; count++) assert.equal(await client.account("handed").deposit({ cents: 1 }), count + 1);
    })();
    process.kill(pid, "SIGTERM");
    await up.heard(/"node":"n3","pid"/);
    isOver = true;
    await depositing;
    assert.ok(count > 0);
  });

  test("ends all that it has started, and comes up again with all that was acknowledged", async () => {
    const balance = await client.account("shared").balance();
    const { pids, child } = up;
    const end = ended(child);
    child.kill("SIGINT");
    assert.equal((await end).code, 0);
    assert.deepEqual(pids.filter(isAlive), []);
    client.$close();
    up = await start();
    client = connect<typeof bank>(up.urls);
    assert.equal(await client.account("shared").balance(), balance);
    const view = (await (await fetch(`${up.urls[0]}/v1/cluster`)).json()) as ClusterView;
    assert.equal(view.nodes.length, 3);
    assert.equal(view.shards.length, 9);
  });

  test("leaves nothing running where it is killed itself", async () => {
    const { pids, child } = up;
    const exit = once(child, "exit");
    child.kill("SIGKILL");
    await exit;
    await until("all processes have ended", () => !pids.some(isAlive));
  });
});
