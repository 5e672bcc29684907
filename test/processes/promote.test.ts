/**
 * `onefold promote` as its users have it: a real engine, a node under load by a client that knows all addresses, the cluster's nodes waiting.
 * No call fails, sums are right, and whoever kills the node in the middle finds exactly one of the two alive.
 */
import assert from "node:assert/strict";
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { after, before, describe, test } from "node:test";
import type { bank } from "../../examples/bank/bank.ts";
import { connect, type RemoteClient } from "../../src/client/index.ts";
import { TestServers } from "../../src/log/engine/nats/servers.fixture.ts";
import type { PromotionProgress } from "../../src/wire/promotion.ts";
import { ended, ProgramFolder } from "../command-line.fixture.ts";
import { until } from "../member.fixture.ts";

const bankPath = new URL("../../examples/bank", import.meta.url).pathname;

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  assert.ok(address !== null && typeof address === "object");
  server.close();
  return address.port;
}

/** An embedded node and two nodes of a cluster that waits for its system. */
class Scene {
  readonly folder: ProgramFolder;
  readonly servers: TestServers;
  readonly name: string;
  #ports: readonly number[] = [];
  embedded!: ChildProcess;

  constructor(folder: ProgramFolder, servers: TestServers, name: string) {
    this.folder = folder;
    this.servers = servers;
    this.name = name;
  }

  get data(): string {
    return join(this.folder.path, `${this.name}-data`);
  }

  get urls(): readonly string[] {
    return this.#ports.map((port) => `http://127.0.0.1:${port}`);
  }

  get #engine(): readonly string[] {
    const credentials = join(this.folder.path, "engine.json");
    const replicas = ["--engine-replicas", "1", "--unsafe-durability"];
    return ["--engine-name", this.name, "--engine-credentials", credentials, ...replicas];
  }

  async start(): Promise<void> {
    this.#ports = [await freePort(), await freePort(), await freePort()];
    await this.startEmbedded();
    for (const node of ["n1", "n2"]) {
      const place = ["--name", node, "--data", join(this.folder.path, `${this.name}-${node}`)];
      const port = ["--port", String(this.#ports[node === "n1" ? 1 : 2])];
      const child = this.folder.launch([
        ...["start", bankPath, "--cluster", this.servers.cluster.urls.join(","), "--await-system"],
        ...[...place, ...port, ...this.#engine],
      ]);
      child.stdout!.resume();
      child.stderr!.resume();
    }
  }

  /** At return the node serves. */
  async startEmbedded(): Promise<void> {
    const words = ["start", bankPath, "--data", this.data, "--port", String(this.#ports[0]), "--json"];
    this.embedded = this.folder.launch(words);
    this.embedded.stderr!.resume();
    await Promise.race([once(createInterface({ input: this.embedded.stdout! }), "line"), once(this.embedded, "exit")]);
  }

  promote(): ChildProcess {
    const [url] = this.urls;
    const to = this.servers.cluster.urls.join(",");
    const shape = ["--shards", "4", "--followers", "1"];
    return this.folder.launch(["promote", "--url", url!, "--to", to, "--json", ...shape, ...this.#engine]);
  }

  client(): RemoteClient<typeof bank> {
    return connect<typeof bank>(this.urls);
  }
}

/** Callers that fill accounts of their own, and move money between others, until they are ended. */
class Load {
  #isOver = false;
  slowestMs = 0;
  readonly #client: RemoteClient<typeof bank>;
  readonly #callers: Promise<number>[];

  constructor(client: RemoteClient<typeof bank>) {
    this.#client = client;
    this.#callers = Array.from({ length: 6 }, (_, index) => this.#call(index));
  }

  async #call(index: number): Promise<number> {
    let count = 0;
    for (; !this.#isOver; count++) {
      // An account that only its caller fills answers with how often it was filled: once each time.
      const beganMs = performance.now();
      assert.equal(await this.#client.account(`own-${index}`).deposit({ cents: 1 }), count + 1);
      this.slowestMs = Math.max(this.slowestMs, performance.now() - beganMs);
      await this.#client.account(`purse-${index}`).deposit({ cents: 2 });
      await this.#client.transfer({ from: `purse-${index}`, to: `purse-${(index + 1) % 6}`, cents: 1 });
    }
    return count;
  }

  /** Every call was answered, and took hold once. */
  async check(): Promise<number> {
    this.#isOver = true;
    const counts = await Promise.all(this.#callers);
    let purses = 0;
    for (let index = 0; index < 6; index++) {
      assert.equal(await this.#client.account(`own-${index}`).balance(), counts[index]);
      purses += await this.#client.account(`purse-${index}`).balance();
    }
    const calls = counts.reduce((a, b) => a + b);
    assert.equal(purses, 2 * calls);
    return calls;
  }
}

async function isMoved(scene: Scene): Promise<boolean> {
  // A node that finds that it has moved ends.
  return scene.embedded.exitCode !== null || (await ended(scene.promote())).code === 0;
}

describe("onefold promote", { timeout: 400_000 }, () => {
  let folder: ProgramFolder;
  let servers: TestServers;

  before(async () => {
    folder = await ProgramFolder.make();
    folder.environment = { ONEFOLD_LOG_LEVEL: "warn" };
    servers = await TestServers.start({ serverCount: 1 });
    const { account, systemAccount: system } = servers.cluster;
    await writeFile(join(folder.path, "engine.json"), JSON.stringify({ account, system }));
  });

  after(async () => {
    await folder.remove();
    await servers.dispose();
  });

  test("moves a system under load without a failed call, and what stays behind says where it went", async () => {
    const scene = new Scene(folder, servers, "whole");
    await scene.start();
    const client = scene.client();
    const load = new Load(client);
    const { code, out, err } = await ended(scene.promote());
    assert.equal(code, 0, err + out);
    const last = JSON.parse(out.trim().split("\n").at(-1)!) as { report: { equal: boolean; pausedMs: number } };
    assert.equal(last.report.equal, true);
    assert.ok(last.report.pausedMs < 10_000, `${last.report.pausedMs} ms`);
    assert.ok((await load.check()) > 10);
    assert.ok(load.slowestMs < 15_000, `a call took ${load.slowestMs} ms`);
    client.$close();
    scene.embedded.kill("SIGTERM");
    await once(scene.embedded, "exit");
    const again = await folder.onefold("start", bankPath, "--data", scene.data, "--port", "0");
    assert.equal(again.code, 2, again.err);
    assert.match(again.err, /has moved to the cluster/);
    const verified = await folder.onefold("verify", "--data", scene.data, "--json");
    assert.equal(verified.code, 0, verified.err);
    const found = JSON.parse(verified.out) as { readonly whole: boolean; readonly move: { readonly isDone: boolean } };
    assert.deepEqual([found.whole, found.move.isDone], [true, true]);
  });

  for (const step of ["snapshot", "pausing", "sealed", "activated"] as const) {
    test(`survives a kill of the node at the step '${step}': one of the two serves, and the move can be done again`, async () => {
      const scene = new Scene(folder, servers, `kill${step}`);
      await scene.start();
      const client = scene.client();
      const load = new Load(client);
      const promotion = scene.promote();
      promotion.stderr!.resume();
      for await (const line of createInterface({ input: promotion.stdout! })) {
        const { progress } = JSON.parse(line) as { readonly progress?: PromotionProgress };
        if (progress?.step === step) scene.embedded.kill("SIGKILL");
      }
      if (scene.embedded.signalCode === null) {
        scene.embedded.kill("SIGKILL");
        await once(scene.embedded, "exit");
      }
      await scene.startEmbedded();
      if (scene.embedded.exitCode === null) await until("the system has moved", () => isMoved(scene));
      assert.ok((await load.check()) > 0);
      client.$close();
    });
  }
});
