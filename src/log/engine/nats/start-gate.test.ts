/** What the start gate learns of real servers (hazard 21): their settings, by their own word, and those of the streams. */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { OnefoldError } from "../../../base/errors.ts";
import { limits } from "../../../base/limits.ts";
import { logStream } from "./names.ts";
import { connectNatsEngine, type NatsEngine } from "./nats-engine.ts";
import { askServers } from "./server-facts.ts";
import { TestServers, until } from "./servers.fixture.ts";

describe("the start gate, of servers that sync when it suits them", () => {
  let servers: TestServers;
  before(async () => {
    servers = await TestServers.start({ serverCount: 3, syncInterval: "2m" });
  });
  after(() => servers.dispose());

  test("names each of them", async () => {
    const laxities = await (await servers.connect()).laxities();
    assert.equal(laxities.length, 3, laxities.join("\n"));
    for (const [index, name] of servers.cluster.names.entries()) {
      assert.match(laxities[index]!, new RegExp(`server ${name} acknowledges before it syncs.*sync_interval: always`));
    }
  });
});

describe("the start gate, of servers that are in order", () => {
  let servers: TestServers;
  let engine: NatsEngine;
  before(async () => {
    servers = await TestServers.start({ serverCount: 3 });
    engine = await servers.connect();
  });
  after(() => servers.dispose());

  test("lets them pass, by the word of all three", async () => {
    assert.deepEqual(await engine.laxities(), []);
    const facts = await askServers({ servers: servers.cluster.urls, login: servers.cluster.systemAccount }, limits);
    assert.deepEqual(
      facts.map(({ name, syncsAlways, members }) => [name, syncsAlways, members.length]),
      servers.cluster.names.map((name) => [name, true, 3]),
    );
  });

  test("does not pass what it can't ask about", async () => {
    const { urls, account } = servers.cluster;
    const blind = await connectNatsEngine({ servers: urls, login: account, cluster: "test", replicaCount: 3 });
    const [laxity, ...others] = await blind.laxities();
    assert.match(laxity ?? "", /no system login/);
    assert.deepEqual(others, []);
    await blind.close();
  });

  test("is not reached with a login that is refused, and that is told soon", async () => {
    const startMs = performance.now();
    await assert.rejects(
      servers.connect({ login: { user: "onefold", pass: "wrong" } }),
      (error) => error instanceof OnefoldError && error.code === "unavailable",
    );
    assert.ok(performance.now() - startMs < 5_000);
  });

  test("says that it is unavailable, not that all is well, where the system login is refused", async () => {
    const refused = await servers.connect({ systemLogin: { user: "system", pass: "wrong" } });
    await assert.rejects(refused.laxities(), (error) => error instanceof OnefoldError && error.code === "unavailable");
  });

  test("names what a stream's settings would lose, and the streams of others it leaves alone", async () => {
    const create = async (name: string, settings: object) => {
      const answer = await engine.connection.api(`STREAM.CREATE.${name}`, {
        name,
        subjects: [`by-hand.${name}`],
        num_replicas: 3,
        storage: "file",
        retention: "limits",
        discard: "new",
        deny_delete: true,
        ...settings,
      });
      assert.ok("value" in answer, JSON.stringify(answer));
    };
    const lax: readonly (readonly [string, object, RegExp])[] = [
      ["memory", { storage: "memory" }, /is in memory only/],
      ["one", { num_replicas: 1 }, /is on 1 server/],
      ["age", { max_age: 3_600_000_000_000 }, /older than max_age/],
      ["size", { max_bytes: 1_000_000, discard: "old" }, /discards old messages/],
      ["count", { max_msgs: 1_000, discard: "old" }, /discards old messages/],
      ["subject", { max_msgs_per_subject: 1 }, /only the newest messages/],
      ["delete", { deny_delete: false }, /lets single records be deleted/],
      ["queue", { retention: "workqueue" }, /retention: workqueue/],
    ];
    for (const [name, settings] of lax) await create(logStream("test", name), settings);
    await create("elsewhere", { storage: "memory" });
    const laxities = await engine.laxities();
    assert.equal(laxities.length, lax.length, laxities.join("\n"));
    for (const [name, , sentence] of lax) {
      const found = laxities.filter((each) => each.includes(`stream ${logStream("test", name)} `));
      assert.equal(found.length, 1, name);
      assert.match(found[0]!, sentence);
    }
    for (const [name] of lax) await engine.connection.api(`STREAM.DELETE.${logStream("test", name)}`);
  });

  test("lets a node start while one server is down, and none while two are", async () => {
    const [first, second, third] = servers.cluster.names as [string, string, string];
    await servers.cluster.stopServer(third);
    await until(async () => (await laxitiesOrNone(engine)) !== undefined);
    assert.deepEqual(await laxitiesOrNone(engine), []);
    await servers.cluster.stopServer(second);
    await assert.rejects(
      engine.laxities(),
      (error) => error instanceof OnefoldError && error.code === "unavailable",
      `${first} alone says nothing of the others`,
    );
  });
});

async function laxitiesOrNone(engine: NatsEngine): Promise<readonly string[] | undefined> {
  try {
    return await engine.laxities();
  } catch (error) {
    if (error instanceof OnefoldError && error.code === "unavailable") return undefined;
    throw error;
  }
}
