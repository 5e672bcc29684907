/**
 * `onefold backup` and `restore` of a cluster as its users have them: `cluster up` under load, its backup restored to another engine, and
 * served there by other nodes. No call fails for it; what is restored was there at one moment.
 */
import assert from "node:assert/strict";
import type { ChildProcess } from "node:child_process";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import type { bank } from "../../examples/bank/bank.ts";
import { natsServerForTests } from "../../scripts/nats-server.ts";
import { connect, type RemoteClient } from "../../src/client/index.ts";
import { TestServers } from "../../src/log/engine/nats/servers.fixture.ts";
import { Lines, ProgramFolder } from "../command-line.fixture.ts";
import { until } from "../member.fixture.ts";

const bankPath = new URL("../../examples/bank", import.meta.url).pathname;
const purseCount = 6;
const purseCents = 1000;
const chainCount = 3;
const chainLength = 4;

/** The addresses of the nodes, once `cluster up` says that it is up. */
async function urlsOf(child: ChildProcess): Promise<readonly string[]> {
  const lines = new Lines(child.stdout!);
  child.stderr!.resume();
  const line = await lines.next(/"kind":"up"/, 60_000);
  return (JSON.parse(line) as { readonly http: readonly string[] }).http;
}

/** Callers that move money, and count up one account after the other, until they are ended. Any call that fails, fails them. */
class Load {
  readonly #client: RemoteClient<typeof bank>;
  readonly #callers: readonly Promise<void>[];
  readonly counts = Array.from({ length: chainCount }, () => Array.from({ length: chainLength }, () => 0));
  #isOver = false;
  calls = 0;
  slowestMs = 0;

  constructor(client: RemoteClient<typeof bank>) {
    this.#client = client;
    this.#callers = [
      ...this.counts.map((counts, chain) => this.#count(chain, counts)),
      ...Array.from({ length: 3 }, (_, index) => this.#move(index)),
    ];
  }

  async #count(chain: number, counts: number[]): Promise<void> {
    while (!this.#isOver) {
      for (let place = 0; place < chainLength && !this.#isOver; place++) {
        const answer = await this.#timed(() => this.#client.account(`chain-${chain}-${place}`).deposit({ cents: 1 }));
        assert.equal(answer, ++counts[place]!);
      }
    }
  }

  async #move(index: number): Promise<void> {
    for (let turn = index; !this.#isOver; turn++) {
      const from = `purse-${turn % purseCount}`;
      const to = `purse-${(turn + 1 + index) % purseCount}`;
      await this.#timed(() => this.#client.transfer({ from, to, cents: 1 }));
    }
  }

  async #timed<T>(call: () => Promise<T>): Promise<T> {
    const beganMs = performance.now();
    const answer = await call();
    this.slowestMs = Math.max(this.slowestMs, performance.now() - beganMs);
    this.calls++;
    return answer;
  }

  async end(): Promise<void> {
    this.#isOver = true;
    await Promise.all(this.#callers);
  }
}

async function keyed(url: string, id: string, key: string): Promise<unknown> {
  const response = await fetch(`${url}/v1/entities/account/${id}/deposit`, {
    method: "POST",
    headers: { "content-type": "application/json", "idempotency-key": key },
    body: JSON.stringify({ cents: 7 }),
  });
  assert.equal(response.status, 200, await response.clone().text());
  return response.json();
}

describe("a cluster that is backed up", { timeout: 180_000 }, () => {
  let folder: ProgramFolder;
  let servers: TestServers;

  before(async () => {
    folder = await ProgramFolder.make();
    folder.environment = { NATS_SERVER: (await natsServerForTests()).path, ONEFOLD_LOG_LEVEL: "warn" };
    servers = await TestServers.start({ serverCount: 1 });
    const { account, systemAccount: system } = servers.cluster;
    await writeFile(join(folder.path, "engine.json"), JSON.stringify({ account, system }));
  });

  after(async () => {
    await folder.remove();
    await servers.dispose();
  });

  test("under load is restored to another engine as it was at one moment, and goes on there", async () => {
    const shape = ["--nodes", "2", "--servers", "1", "--shards", "4"];
    const up = folder.launch(["cluster", "up", bankPath, ...shape, "--data", "first", "--json"]);
    const first = await urlsOf(up);
    const client = connect<typeof bank>(first);
    for (let purse = 0; purse < purseCount; purse++) {
      await client.account(`purse-${purse}`).deposit({ cents: purseCents });
    }
    for (let index = 0; index < 8; index++) assert.equal(await keyed(first[0]!, `keyed-${index}`, `key-${index}`), 7);
    const load = new Load(client);
    await until("there is load", () => Promise.resolve(load.calls > 200));

    const counted = load.counts.map((counts) => [...counts]);
    const { code, out, err } = await folder.onefold("backup", "--url", first[1]!, "-o", "bank.backup", "--json");
    assert.equal(code, 0, err);
    const callsAtBackup = load.calls;
    await until("the load goes on", () => Promise.resolve(load.calls > callsAtBackup + 100));
    await load.end();
    assert.ok(load.slowestMs < 10_000, `a call took ${load.slowestMs} ms`);
    client.$close();
    const said = JSON.parse(out) as {
      readonly cluster: string;
      readonly shards: readonly unknown[];
      partsHash: string;
    };
    assert.equal(said.shards.length, 4);
    up.kill("SIGTERM");

    const verified = await folder.onefold("verify", "bank.backup", "--json");
    assert.equal(verified.code, 0, verified.err);
    assert.equal((JSON.parse(verified.out) as typeof said).partsHash, said.partsHash);
    const bytes = await readFile(join(folder.path, "bank.backup"));
    bytes[Math.floor(bytes.length / 2)]! ^= 1;
    await writeFile(join(folder.path, "flipped.backup"), bytes);
    assert.equal((await folder.onefold("verify", "flipped.backup")).code, 1);
    assert.equal((await folder.onefold("restore", "bank.backup", "--data", "alone")).code, 2);

    const engine = [
      ...["--engine-name", "second", "--engine-credentials", "engine.json", "--engine-replicas", "1"],
      "--unsafe-durability",
    ];
    const to = servers.cluster.urls.join(",");
    const damaged = await folder.onefold("restore", "flipped.backup", "--to", to, ...engine);
    assert.equal(damaged.code, 1, damaged.err);
    const restored = await folder.onefold("restore", "bank.backup", "--to", to, "--json", ...engine);
    assert.equal(restored.code, 0, restored.err);
    const report = JSON.parse(restored.out) as { readonly parent: string; readonly cluster: string };
    assert.equal(report.parent, said.cluster);
    const again = await folder.onefold("restore", "bank.backup", "--to", to, ...engine);
    assert.equal(again.code, 2, again.err);
    assert.match(again.err, /There is a cluster in that engine already/);

    const second: string[] = [];
    for (const name of ["n1", "n2"]) {
      const words = ["start", bankPath, "--cluster", to, "--name", name, "--data", `second-${name}`, "--port", "0"];
      const child = folder.launch([...words, ...engine, "--json"]);
      child.stderr!.resume();
      const line = await new Lines(child.stdout!).next(/"url"/, 60_000);
      second.push((JSON.parse(line) as { readonly url: string }).url);
    }
    const other = connect<typeof bank>(second);
    for (const [chain, before] of counted.entries()) {
      const found: number[] = [];
      for (let place = 0; place < chainLength; place++) {
        found.push(await other.account(`chain-${chain}-${place}`).balance());
      }
      const isLost = found.some((count, place) => count < before[place]!);
      const isTorn = found.some((count, place) => count > (found[place - 1] ?? count) || count < found[0]! - 1);
      assert.deepEqual({ isLost, isTorn }, { isLost: false, isTorn: false }, `${before} became ${found}`);
    }
    let cents = 0;
    for (let purse = 0; purse < purseCount; purse++) cents += await other.account(`purse-${purse}`).balance();
    assert.equal(cents, purseCount * purseCents);
    for (let index = 0; index < 8; index++) {
      assert.equal(await keyed(second[index % 2]!, `keyed-${index}`, `key-${index}`), 7);
      assert.equal(await other.account(`keyed-${index}`).balance(), 7);
    }
    assert.equal(await other.account("keyed-0").deposit({ cents: 1 }), 8);
    other.$close();
  });
});
