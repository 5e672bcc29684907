/**
 * The engine's known damage, done to real servers under a running cluster: what they acknowledged is gone or unreadable, and they say nothing.
 * Each case is found before anything wrong is served, sealed, repaired from the nodes' own copies into another log, and verified.
 */
import assert from "node:assert/strict";
import { afterEach, beforeEach, describe, test } from "node:test";
import type { bank } from "../examples/bank/bank.ts";
import { connect, type RemoteClient } from "../src/client/index.ts";
import type { NatsEngine } from "../src/log/engine/nats/nats-engine.ts";
import { cutRaftLog, flipBit, halveBlocks, type StreamFiles } from "../src/log/engine/nats/nats-damage.fixture.ts";
import { leaderOf, makeLeader, streamInfo, TestServers } from "../src/log/engine/nats/servers.fixture.ts";
import type { ServedMember } from "../src/runtime/serve-member.ts";
import { natsBlobs } from "../src/store/engine/nats-blobs.ts";
import type { ClusterView } from "../src/wire/cluster-view.ts";
import { MemberRig, until } from "./member.fixture.ts";

const log = "shard-0";
const accounts = Array.from({ length: 20 }, (_, index) => `account-${index}`);

describe("a cluster over an engine that loses what it acknowledged", { timeout: 180_000 }, () => {
  let servers: TestServers;
  let engine: NatsEngine;
  let rig: MemberRig;
  let nodes: Map<string, ServedMember>;
  let client: RemoteClient<typeof bank>;
  let expected: Map<string, number>;

  beforeEach(async () => {
    servers = await TestServers.start({ serverCount: 3 });
    engine = await servers.connect();
    rig = await MemberRig.make(async () => {
      const logs = await servers.connect();
      return {
        logs,
        blobs: natsBlobs({ connection: logs.connection, cluster: "test", replicaCount: 3 }),
        close: () => logs.close(),
      };
    });
    nodes = new Map();
    expected = new Map(accounts.map((id) => [id, 0]));
    for (const name of ["n1", "n2", "n3"]) await startNode(name);
    client = connect<typeof bank>([...nodes.values()].map(({ url }) => url));
    await until("the shard is served and followed", async () => {
      const [shard] = (await view()).shards;
      return shard!.isServed && shard!.followers.length === 1 && shard!.followers[0]!.lagBatches === 0;
    });
  });

  afterEach(async () => {
    client.$close();
    await rig.close();
    await servers.dispose();
  });

  async function startNode(name: string): Promise<void> {
    nodes.set(name, await rig.start(name, { shardCount: 1, followerCount: 1 }));
  }

  async function view(): Promise<ClusterView> {
    for (const node of nodes.values()) {
      const response = await fetch(`${node.url}/v1/cluster`);
      if (response.ok) return (await response.json()) as ClusterView;
    }
    throw new Error("no node tells of the cluster");
  }

  /** One deposit after the other, so that each has a record of its own. */
  async function deposit(count: number): Promise<void> {
    for (let index = 0; index < count; index++) {
      const id = accounts[index % accounts.length]!;
      const balance = expected.get(id)! + 1;
      assert.equal(await client.account(id).deposit({ cents: 1 }), balance);
      expected.set(id, balance);
    }
  }

  async function checkBalances(): Promise<void> {
    for (const [id, balance] of expected) assert.equal(await client.account(id).balance(), balance, id);
  }

  async function filesOf(server: string): Promise<StreamFiles> {
    const info = await streamInfo(engine, log);
    return {
      storeDirectory: servers.cluster.storeDirectoryOf(server),
      stream: info!.config.name,
      raftGroup: info!.cluster!.raft_group!,
    };
  }

  /** A server that does not lead the log, and one that does. */
  async function roles(): Promise<{ readonly leader: string; readonly follower: string; readonly other: string }> {
    const leader = await leaderOf(engine, log);
    const [follower, other] = servers.cluster.names.filter((name) => name !== leader);
    return { leader, follower: follower!, other: other! };
  }

  /** Stops a follower in good order, so that its Raft log is compacted away, damages its messages, and makes it the leader. */
  async function damageFollower(damage: (files: StreamFiles) => Promise<unknown>): Promise<void> {
    const { follower } = await roles();
    const files = await filesOf(follower);
    await servers.cluster.stopServer(follower);
    await damage(files);
    await servers.cluster.startServer(follower);
    await servers.cluster.untilHealthy();
    await makeLeader(engine, log, follower);
  }

  /** The shard goes on in another log, all of which can be read, and a node that has nothing yet comes to the same state from it. */
  async function checkRepaired(): Promise<void> {
    await until(
      "the shard is repaired and served",
      async () => {
        const [shard] = (await view()).shards;
        return shard!.log !== log && shard!.status === "active" && shard!.isServed;
      },
      90_000,
    );
    await checkBalances();
    await deposit(accounts.length);
    await checkBalances();
    assert.ok(
      rig.lines.some(({ level, message }) => level === "error" && /log/.test(message)),
      "an operator is told",
    );
  }

  /** Those that have copies leave, in good order; who takes over has none, and has to read what the engine keeps. */
  async function replaceNodes(): Promise<void> {
    const [shard] = (await view()).shards;
    const names = [shard!.owner!, ...shard!.followers.map(({ node }) => node)];
    for (const name of ["n4", "n5"]) await startNode(name);
    for (const name of names) {
      await nodes.get(name)!.close({ noticeMs: 0 });
      nodes.delete(name);
    }
    client.$close();
    client = connect<typeof bank>([...nodes.values()].map(({ url }) => url));
  }

  test("a halved block of a server that then leads: half of the records are gone", async () => {
    await deposit(200);
    await damageFollower(halveBlocks);
    await checkBalances();
    await replaceNodes();
    await checkRepaired();
  });

  test("one flipped bit of a server that then leads: one record can't be read", async () => {
    await deposit(200);
    await damageFollower((files) => flipBit(files, Buffer.from("account-7")));
    await checkBalances();
    await replaceNodes();
    await checkRepaired();
  });

  test("a Raft log that was cut while another replica lagged and the third was down: the log goes back", async () => {
    const { leader, follower, other } = await roles();
    await deposit(100);
    await servers.cluster.killServer(other);
    await deposit(100);
    const files = await filesOf(leader);
    await servers.cluster.killServer(leader);
    await servers.cluster.killServer(follower);
    assert.ok((await cutRaftLog(files, 1 / 4)) > 0);
    await servers.cluster.startServer(leader);
    await servers.cluster.startServer(other);
    // Who owns the shard finds out when it writes; the caller waits, and its money is there once.
    const [id] = accounts;
    const waiting = client.account(id!).deposit({ cents: 1 }, { deadlineMs: 170_000 });
    expected.set(id!, expected.get(id!)! + 1);
    await until("nobody serves it any more", async () => (await view()).shards[0]!.status === "quarantined", 60_000);
    // A new log needs all three; and the good one has nothing to say any more.
    await servers.cluster.startServer(follower);
    await waiting;
    await checkRepaired();
  });
});
