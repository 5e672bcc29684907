/**
 * Nodes with a `ClusterService` each on a simulated network, for tests. A shard is a service in memory that stands for its log; which node
 * serves it, and what each node believes of that, is in the test's hands.
 */
import { assert } from "../base/assert.ts";
import { OnefoldError } from "../base/errors.ts";
import type { Limits } from "../base/limits.ts";
import type { Value } from "../base/value.ts";
import type { SystemDefinition } from "../entity/definition.ts";
import { list } from "./fake-listing.fixture.ts";
import type { ListReply, PageOptions, Principal } from "../entity/service.ts";
import { bankSystem } from "../gateway/bank.fake.ts";
import { FakeService } from "../gateway/service.fake.ts";
import { ClusterService } from "./cluster-service.ts";
import type { FollowerReads, OwnedShard } from "./local-shards.ts";
import { type PeerNode, PeerNetwork } from "./peer-network.fixture.ts";
import { emptySystemState, type MemberState, type ShardState, type SystemState } from "./system-state.ts";

export const tester: Principal = { tenant: "default", subject: "tester", scopes: ["*"] };

/** A shard's log, and whoever serves it. */
export class FakeShard extends FakeService implements OwnedShard {
  readonly id: string;
  readonly incarnation = "aa".repeat(16);
  epoch = 1;
  readonly asked: string[] = [];
  readonly #definition: SystemDefinition;

  constructor(id: string, system: SystemDefinition) {
    super(system);
    this.id = id;
    this.#definition = system;
  }

  async answer(type: string, body: Value): Promise<Value> {
    this.asked.push(`${type} ${JSON.stringify(body)}`);
    return { by: this.id };
  }

  /** Cursors as those of a shard. */
  override list(kind: string, options: PageOptions & { readonly prefix?: string }): Promise<ListReply> {
    assert(this.#definition.entities.has(kind), "the kind is known");
    return list((all) => super.list(kind, { ...options, ...all }), options);
  }
}

export class FakeMap {
  state: SystemState = emptySystemState;
  readonly #listeners = new Set<() => void>();

  set(state: SystemState): void {
    this.state = state;
    for (const listener of [...this.#listeners]) listener();
  }

  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
}

export interface ClusterNode extends PeerNode {
  readonly service: ClusterService;
  readonly map: FakeMap;
  readonly owned: Map<string, OwnedShard>;
  readonly followers: Map<string, FollowerReads>;
  readonly standing: { isCutOff: boolean };
}

export class ClusterRig {
  readonly net: PeerNetwork;
  readonly system: SystemDefinition;
  readonly nodes = new Map<string, ClusterNode>();
  readonly shards = new Map<string, FakeShard>();
  /** What a node learns of the system log when it is told everything. */
  state: SystemState;

  constructor(seed: string, { system = bankSystem(), shardCount = 2, limits = {} as Partial<Limits> } = {}) {
    this.net = new PeerNetwork(seed, limits);
    this.system = system;
    const shards = new Map<string, ShardState>();
    const width = this.net.limits.slotCount / shardCount;
    for (let i = 0; i < shardCount; i++) {
      const id = `s${i}`;
      this.shards.set(id, new FakeShard(id, system));
      shards.set(id, {
        id,
        from: i * width,
        to: (i + 1) * width,
        log: `log-${id}`,
        status: "active",
        owner: undefined,
        followers: [],
        assignment: 0,
        movingTo: undefined,
        parent: undefined,
        anchor: undefined,
        incarnation: undefined,
        splitInto: undefined,
        snapshot: undefined,
        children: [],
      });
    }
    const cluster = {
      id: "c1".repeat(16),
      systemName: "bank",
      secret: new Uint8Array(32).fill(7),
      shardCount,
      followerCount: 1,
    };
    this.state = { ...emptySystemState, cluster, shards, sequence: 1 };
  }

  /** A rig of two nodes: `a` owns the shard s0, `b` s1. */
  static run(
    seed: string,
    body: (rig: ClusterRig, a: ClusterNode, b: ClusterNode) => Promise<void>,
    options: ConstructorParameters<typeof ClusterRig>[1] = {},
  ): Promise<void> {
    const rig = new ClusterRig(seed, options);
    return rig.net.run(async () => {
      const [a, b] = [await rig.start("a"), await rig.start("b")];
      rig.move("s0", "a");
      rig.move("s1", "b");
      await body(rig, a, b);
    });
  }

  async start(name: string): Promise<ClusterNode> {
    const peerNode = await this.net.start(name);
    const owned = new Map<string, OwnedShard>();
    const followers = new Map<string, FollowerReads>();
    const map = new FakeMap();
    const standing = { isCutOff: false };
    const { clock, timers, random, guard } = peerNode.host;
    const service = new ClusterService({
      clock,
      timers,
      random,
      guard,
      limits: this.net.limits,
      system: this.system,
      peers: peerNode.peers,
      map,
      local: { owned: (id) => owned.get(id), follower: (id) => followers.get(id) },
      standing,
    });
    const node = { ...peerNode, service, map, owned, followers, standing };
    this.nodes.set(name, node);
    const member: MemberState = {
      id: name,
      name,
      address: peerNode.address,
      httpUrl: undefined,
      labels: {},
      version: "1",
      schemas: {},
      readerVersion: 1,
      status: "live",
      renewedAt: 1,
      wallMs: 0,
    };
    this.#change({ members: new Map([...this.state.members, [name, member]]) });
    this.tell();
    return node;
  }

  /** The system log assigns the shard to a node. Nobody knows it yet, and it serves nowhere new. */
  assign(shardId: string, owner: string | undefined): void {
    const shard = this.state.shards.get(shardId)!;
    const assigned = { ...shard, owner, assignment: shard.assignment + 1 };
    this.#change({ shards: new Map([...this.state.shards, [shardId, assigned]]) });
  }

  /** The system log has the shard move. Nobody knows it yet, and its owner serves it. */
  planMove(shardId: string, to: string): void {
    const shard = { ...this.state.shards.get(shardId)!, movingTo: to };
    this.#change({ shards: new Map([...this.state.shards, [shardId, shard]]) });
  }

  #change(change: Partial<SystemState>): void {
    this.state = { ...this.state, ...change, sequence: this.state.sequence + 1 };
  }

  /** These nodes (all, by default) learn what the system log says. */
  tell(...names: string[]): void {
    for (const [name, node] of this.nodes) if (names.length === 0 || names.includes(name)) node.map.set(this.state);
  }

  /** The node's claim stands, and no other's; `service` is what answers there, by default the shard itself. */
  serve(shardId: string, name: string | undefined, service: OwnedShard = this.shards.get(shardId)!): void {
    for (const node of this.nodes.values()) node.owned.delete(shardId);
    if (name !== undefined) this.nodes.get(name)!.owned.set(shardId, service);
  }

  move(shardId: string, name: string): void {
    this.assign(shardId, name);
    this.serve(shardId, name);
    this.tell();
  }

  crash(name: string): void {
    this.net.crash(name);
    this.nodes.delete(name);
  }
}

/** What came of a call: its output, or the error's code and retry class; and how long it took, where that is long. */
export async function told(call: Promise<{ readonly output: Value | undefined }>): Promise<Value> {
  try {
    return (await call).output ?? null;
  } catch (error) {
    if (error instanceof OnefoldError) return `${error.code}, ${error.retry}`;
    throw error;
  }
}
