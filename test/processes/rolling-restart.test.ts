/** A cluster under load whose nodes, then whose engine's servers, are restarted one after the other as `docs/clusters.md` says: no call fails. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { after, before, describe, test } from "node:test";
import type { bank } from "../../examples/bank/bank.ts";
import { natsServerForTests } from "../../scripts/nats-server.ts";
import { connect, type RemoteClient } from "../../src/client/index.ts";
import type { ClusterView } from "../../src/wire/cluster-view.ts";
import { Up } from "../cluster-up.fixture.ts";
import { ProgramFolder } from "../command-line.fixture.ts";
import { until } from "../member.fixture.ts";

const depositors = Array.from({ length: 8 }, (_, index) => `own-${index}`);
const purses = Array.from({ length: 6 }, (_, index) => `purse-${index}`);
const purseCents = 10_000;

/** Callers that go on without a pause until they are told to stop. The first call that fails ends its caller, and the test. */
class Load {
  readonly deposits = new Map<string, number>();
  readonly #running: Promise<unknown>;
  #transfers = 0;
  #slowestMs = 0;
  #isOver = false;

  constructor(clients: readonly RemoteClient<typeof bank>[]) {
    const clientOf = (index: number): RemoteClient<typeof bank> => clients[index % clients.length]!;
    this.#running = Promise.all([
      ...depositors.map((id, index) => this.#deposit(clientOf(index), id)),
      ...purses.map((id, index) => this.#transfer(clientOf(index), id, purses[(index + 1) % purses.length]!)),
    ]);
    // Whoever waits for the load hears of it.
    this.#running.catch(() => undefined);
  }

  /** Of the calls that ended since this was asked last, the slowest. Each caller ends another call before this resolves. */
  async slowestMs(): Promise<number> {
    const before = new Map(this.deposits);
    await Promise.race([
      this.#running,
      until("each caller goes on", () => depositors.every((id) => this.deposits.get(id)! > (before.get(id) ?? 0))),
    ]);
    const slowestMs = this.#slowestMs;
    this.#slowestMs = 0;
    return slowestMs;
  }

  /** How many transfers there were, once all callers have ended. */
  async end(): Promise<number> {
    this.#isOver = true;
    await this.#running;
    return this.#transfers;
  }

  async #deposit(client: RemoteClient<typeof bank>, id: string): Promise<void> {
    for (let count = 1; !this.#isOver; count++) {
      // An account that only its caller fills answers with how often it was filled.
      assert.equal(await this.#timed(client.account(id).deposit({ cents: 1 })), count);
      this.deposits.set(id, count);
    }
  }

  async #transfer(client: RemoteClient<typeof bank>, from: string, to: string): Promise<void> {
    while (!this.#isOver) {
      await this.#timed(client.transfer({ from, to, cents: 1 }));
      await this.#timed(client.transfer({ from: to, to: from, cents: 1 }));
      this.#transfers += 2;
    }
  }

  async #timed<T>(call: Promise<T>): Promise<T> {
    const beganMs = performance.now();
    const result = await call;
    this.#slowestMs = Math.max(this.#slowestMs, performance.now() - beganMs);
    return result;
  }
}

describe("a cluster under load", { timeout: 240_000 }, () => {
  let folder: ProgramFolder;
  let up: Up;
  let clients: readonly RemoteClient<typeof bank>[];

  before(async () => {
    folder = await ProgramFolder.make();
    const { path } = await natsServerForTests();
    folder.environment = { NATS_SERVER: path, ONEFOLD_LOG_LEVEL: "warn" };
    up = await Up.bank(folder);
    clients = [connect<typeof bank>(up.urls), connect<typeof bank>(up.urls), connect<typeof bank>(up.urls)];
  });

  after(async () => {
    for (const client of clients) client.$close();
    const exit = once(up.child, "exit");
    up.child.kill("SIGINT");
    await exit;
    await folder.remove();
  });

  /** What an operator waits for before the next one: its `/readyz`, and no shard that nobody serves. */
  const untilWhole = async (url: string): Promise<void> => {
    await until("the node is ready, and all shards are served", async () => {
      const ready = await fetch(`${url}/readyz`);
      if (ready.status !== 200) return false;
      const view = (await (await fetch(`${url}/v1/cluster`)).json()) as ClusterView;
      const isServed = view.shards.every((shard) => shard.isServed && shard.movingTo === null);
      return isServed && view.nodes.filter(({ status }) => status === "live").length === 3;
    });
  };

  test("has its nodes and its engine's servers restarted one by one, and no call fails, nothing is lost or done twice", async (t) => {
    const [client] = clients as readonly [RemoteClient<typeof bank>];
    for (const id of purses) await client.account(id).deposit({ cents: purseCents });
    const load = new Load(clients);
    t.diagnostic(`before: the slowest call took ${Math.round(await load.slowestMs())} ms`);
    for (const name of ["n1", "n2", "n3"]) {
      process.kill(up.nodes.get(name)!.pid, "SIGTERM");
      const { http } = await up.heard(new RegExp(`"node":"${name}","pid"`));
      await untilWhole(http!);
      t.diagnostic(`${name}: the slowest call took ${Math.round(await load.slowestMs())} ms`);
    }
    for (const name of ["e1", "e2", "e3"]) {
      process.kill(up.engines.get(name)!.pid, "SIGTERM");
      // It is told of once it says itself that all of its copies are as far as the others'.
      await up.heard(new RegExp(`"engine":"${name}","pid"`));
      await untilWhole(up.urls[0]!);
      t.diagnostic(`${name}: the slowest call took ${Math.round(await load.slowestMs())} ms`);
    }
    const transfers = await load.end();
    const deposits = [...load.deposits.values()].reduce((sum, count) => sum + count, 0);
    t.diagnostic(`${deposits} deposits and ${transfers} transfers`);
    assert.equal(transfers > 0, true);
    for (const [id, count] of load.deposits) assert.equal(await client.account(id).balance(), count);
    const balances = await Promise.all(purses.map((id) => client.account(id).balance()));
    // Each caller gives back what it took.
    assert.deepEqual(
      balances,
      purses.map(() => purseCents),
    );
  });
});
