/**
 * Two regions with 80 ms of network between them, each way: real servers of the engine, tagged and three in each region, real nodes, and a proxy
 * in front of each link. What is pinned is as fast as in one region; what is far is read here, and says how old it is.
 */
import assert from "node:assert/strict";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { slotOf } from "../../src/base/ids.ts";
import { SeededRandom } from "../../src/base/random.ts";
import { replicaCountOf, freePorts, natsConfig, natsPlan, type NatsPlan } from "../../src/cli/cluster/nats-plan.ts";
import { connectNatsEngine } from "../../src/log/engine/nats/nats-engine.ts";
import type { StreamInfo } from "../../src/log/engine/nats/stream-config.ts";
import type { ClusterView, ShardView } from "../../src/wire/cluster-view.ts";
import { anyNode, between, type Link } from "../../scripts/chaos/links.ts";
import { LoopbackNetwork } from "../../scripts/chaos/loopback-network.ts";
import { RunProcess } from "../../scripts/chaos/process.ts";
import { natsServerForTests } from "../../scripts/nats-server.ts";
import { installOnefold, mainPath } from "../installation.ts";
import { until } from "../member.fixture.ts";

const systemText = `
import { entity, system } from "onefold";
import { z } from "zod";
const counter = (name) => entity(name)
  .state(z.object({ count: z.number() }), () => ({ count: 0 }))
  .command("increment", (state) => ++state.count)
  .query("count", (state) => state.count);
export const places = system("places", {
  european: counter("european").region("eu"),
  american: counter("american").region("us"),
  worldly: counter("worldly"),
});
`;

const delayMs = 80;
const regions = ["eu", "us"] as const;
type Region = (typeof regions)[number];
const nodes: Readonly<Record<Region, string>> = { eu: "n1", us: "n2" };

interface Answer {
  readonly value: unknown;
  readonly tookMs: number;
  /** Undefined where the answer does not say. */
  readonly staleForMs: number | undefined;
}

class Scene {
  readonly directory: string;
  readonly plan: NatsPlan;
  readonly network = new LoopbackNetwork(new SeededRandom("regions"));
  readonly #program: string;
  readonly #ports: ReadonlyMap<string, { readonly http: number; readonly peers: number }>;
  readonly #processes: RunProcess[] = [];

  private constructor(directory: string, plan: NatsPlan, program: string, ports: readonly number[]) {
    this.directory = directory;
    this.plan = plan;
    this.#program = program;
    this.#ports = new Map(
      regions.map((region, index) => [nodes[region], { http: ports[2 * index]!, peers: ports[2 * index + 1]! }]),
    );
  }

  static async make(): Promise<Scene> {
    const { path } = await natsServerForTests();
    const directory = await mkdtemp(join(tmpdir(), "onefold-regions-"));
    const plan = await natsPlan({ directory: join(directory, "engine"), serverCount: 3, regions });
    const scene = new Scene(directory, plan, path, await freePorts(2 * regions.length));
    await scene.network.open(scene.#links);
    return scene;
  }

  get #links(): readonly Link[] {
    const { members } = this.plan;
    return [
      ...regions.flatMap((region) => [
        ...this.#serversIn(region).map(({ name, clientPort }) => ({ from: nodes[region], to: name, port: clientPort })),
        { from: anyNode, to: nodes[region], port: this.#ports.get(nodes[region])!.peers },
      ]),
      ...members.flatMap(({ name }) => this.#routesOf(name)),
    ];
  }

  #serversIn(region: Region): NatsPlan["members"] {
    return this.plan.members.filter((member) => member.region === region);
  }

  #routesOf(server: string): readonly Link[] {
    return this.plan.members
      .filter(({ name }) => name !== server)
      .map(({ name, routePort }) => ({ from: server, to: name, port: routePort }));
  }

  async start(): Promise<void> {
    const { directory, network, plan } = this;
    await installOnefold(directory);
    await writeFile(join(directory, "package.json"), '{ "type": "module", "main": "places.js" }');
    await writeFile(join(directory, "places.js"), systemText);
    const credentials = JSON.stringify({ account: plan.account, system: plan.systemAccount });
    await writeFile(join(directory, "engine.json"), credentials, { mode: 0o600 });
    for (const member of plan.members) {
      const engine = join(directory, "engine");
      await mkdir(join(engine, member.name), { recursive: true });
      const path = join(engine, member.name, "server.conf");
      const routes = this.#routesOf(member.name).map((link) => network.addressOf(link));
      await writeFile(path, natsConfig(plan, member, { directory: engine, routes }), { mode: 0o600 });
      this.#run(member.name, [this.#program, "--config", path]);
    }
    for (const region of regions) this.#startNode(region);
  }

  #startNode(region: Region): void {
    const { directory, network } = this;
    const node = nodes[region];
    const { http, peers } = this.#ports.get(node)!;
    const engine = this.#serversIn(region).map(
      ({ name, clientPort }) => `nats://${network.addressOf({ from: node, to: name, port: clientPort })}`,
    );
    this.#run(node, [
      ...[process.execPath, mainPath, "start", directory, "--cluster", engine.join(",")],
      ...["--engine-credentials", join(directory, "engine.json"), "--name", node, "--data", join(directory, node)],
      ...["--label", `region=${region}`, "--port", String(http), "--shards", "2", "--json"],
      ...["--node-address", network.addressOf({ from: anyNode, to: node, port: peers })],
      ...["--node-listen", `127.0.0.1:${peers}`],
    ]);
  }

  #run(name: string, [program, ...words]: readonly string[]): void {
    const logPath = join(this.directory, `${name}.log`);
    this.#processes.push(
      new RunProcess({ command: [program!, ...words], environment: { ONEFOLD_LOG_FORMAT: "text" }, logPath }),
    );
  }

  urlOf(region: Region): string {
    return `http://127.0.0.1:${this.#ports.get(nodes[region])!.http}`;
  }

  /** From now on what goes from one region to the other takes so much longer, each way. */
  setApart(): void {
    const parties = (region: Region): readonly string[] => [
      nodes[region],
      ...this.#serversIn(region).map(({ name }) => name),
    ];
    this.network.slow(between(parties("eu"), parties("us")), { delayMs, lossRate: 0 });
  }

  async view(region: Region = "eu"): Promise<ClusterView | undefined> {
    try {
      const response = await fetch(`${this.urlOf(region)}/v1/cluster`);
      return response.ok ? ((await response.json()) as ClusterView) : undefined;
    } catch (error) {
      // Not yet listening.
      if (error instanceof TypeError) return undefined;
      throw error;
    }
  }

  async ask(region: Region, method: "GET" | "POST", path: string): Promise<Answer> {
    const beganMs = performance.now();
    const response = await fetch(`${this.urlOf(region)}/v1/entities/${path}`, { method });
    const value: unknown = await response.json();
    const tookMs = performance.now() - beganMs;
    assert.equal(response.status, 200, JSON.stringify(value));
    const stale = response.headers.get("onefold-stale-for-ms");
    return { value, tookMs, staleForMs: stale === null ? undefined : Number(stale) };
  }

  /** The fastest of some: a machine that is busy with other things makes single ones slow, none of them fast. */
  async fastest(region: Region, method: "GET" | "POST", path: string): Promise<Answer> {
    let best: Answer | undefined;
    for (let count = 0; count < 8; count++) {
      const answer = await this.ask(region, method, path);
      if (best === undefined || answer.tookMs < best.tookMs) best = answer;
    }
    return best!;
  }

  async dispose(): Promise<void> {
    for (const each of this.#processes) each.signal("SIGKILL");
    await Promise.all(this.#processes.map((each) => each.ended));
    await this.network.close();
    await rm(this.directory, { recursive: true, force: true });
  }
}

describe("a cluster over two regions, 80 ms apart", () => {
  let scene: Scene;
  let shards: readonly ShardView[];
  before(async () => {
    scene = await Scene.make();
    await scene.start();
    await until(
      "all shards are served and followed",
      async () => {
        shards = (await scene.view())?.shards ?? [];
        return (
          shards.length > 0 &&
          shards.every(({ isServed, region, followers }) => {
            return isServed && (region !== null || followers.every(({ staleForMs }) => staleForMs !== null));
          })
        );
      },
      60_000,
    );
    scene.setApart();
  });
  after(() => scene.dispose());

  test("has a region's shards on nodes and servers of the region alone, and the others' copies in both", async () => {
    const placed = shards.map(({ region, owner, followers }) => [region, owner, followers.map(({ node }) => node)]);
    for (const [region, owner, followers] of placed) {
      if (region === null) assert.deepEqual([owner, ...(followers as string[])].sort(), ["n1", "n2"]);
      else assert.deepEqual([owner, followers], [nodes[region as Region], []]);
    }
    assert.deepEqual([...new Set(placed.map(([region]) => region))].sort(), ["eu", "us", null].sort());
    const near = scene.plan.members[0]!;
    const engine = await connectNatsEngine({
      servers: [`nats://127.0.0.1:${near.clientPort}`],
      login: scene.plan.account,
      cluster: "places",
      replicaCount: replicaCountOf(scene.plan) as 3,
    });
    const regionOf = (server: string): string => scene.plan.members.find(({ name }) => name === server)!.region!;
    for (const { region, log } of shards.filter((shard) => shard.region !== null)) {
      const answer = await engine.connection.api<StreamInfo>(`STREAM.INFO.places-log-${log}`);
      const info = "value" in answer ? answer.value.cluster! : assert.fail(JSON.stringify(answer.error));
      const servers = [info.leader!, ...info.replicas!.map(({ name }) => name)];
      assert.deepEqual(servers.map(regionOf), [region, region, region], `${log} is on ${servers}`);
    }
    await engine.close();
  });

  test("writes and reads what is pinned to the caller's region without a way to the other one", async () => {
    for (const [region, kind] of [
      ["eu", "european"],
      ["us", "american"],
    ] as const) {
      const write = await scene.fastest(region, "POST", `${kind}/near/increment`);
      assert.equal(write.tookMs < delayMs, true, `a write in ${region} took ${write.tookMs} ms`);
      const read = await scene.fastest(region, "GET", `${kind}/near/count`);
      assert.equal(read.value, 8);
      assert.equal(read.tookMs < delayMs, true, `a strong read in ${region} took ${read.tookMs} ms`);
    }
  });

  test("writes what is pinned to the other region, a little later", async () => {
    const write = await scene.fastest("eu", "POST", "american/far/increment");
    assert.equal(write.tookMs >= 2 * delayMs, true, `it took ${write.tookMs} ms`);
    assert.equal((await scene.ask("us", "GET", "american/far/count")).value, 8);
  });

  test("reads eventually what is owned far away from its own copy, and says how old it is; strong reads go there", async () => {
    const shardOf = (id: string): ShardView => {
      const slot = slotOf("worldly", id, "default");
      return shards.find(({ slots }) => slots.from <= slot && slot < slots.to)!;
    };
    const isFar = ({ region, owner }: ShardView): boolean => region === null && owner === nodes.us;
    const id = Array.from({ length: 1000 }, (_, index) => `e${index}`).find((each) => isFar(shardOf(each)))!;
    const far = `worldly/${id}`;
    await scene.ask("us", "POST", `${far}/increment`);
    await until(
      "the copy has it",
      async () => (await scene.ask("eu", "GET", `${far}/count?read=eventual`)).value === 1,
    );
    const eventual = await scene.fastest("eu", "GET", `${far}/count?read=eventual`);
    assert.equal(eventual.value, 1);
    assert.equal(eventual.tookMs < delayMs, true, `an eventual read took ${eventual.tookMs} ms`);
    assert.equal(eventual.staleForMs !== undefined && eventual.staleForMs < 10_000, true, `${eventual.staleForMs}`);
    const strong = await scene.fastest("eu", "GET", `${far}/count`);
    assert.equal(strong.value, 1);
    assert.equal(strong.tookMs >= 2 * delayMs, true, `a strong read took ${strong.tookMs} ms`);
    assert.equal(strong.staleForMs, undefined);
  });
});
