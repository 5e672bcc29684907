import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { afterEach, beforeEach, describe, test } from "node:test";
import type { bank } from "../examples/bank/bank.ts";
import { bank as bankSystem } from "../examples/bank/bank.ts";
import { OnefoldError } from "../src/base/errors.ts";
import { connect } from "../src/client/index.ts";
import { openNode } from "../src/runtime/node.ts";
import type { ClusterView } from "../src/wire/cluster-view.ts";
import { MemberRig, until } from "./member.fixture.ts";

/** How many shards each of the nodes owns, in their order. */
function ownedCounts(
  nodes: readonly {
    readonly member: { readonly node: { readonly shards?: { readonly ownedCount: number } | undefined } | undefined };
  }[],
): readonly number[] {
  return nodes.map(({ member }) => member.node?.shards?.ownedCount ?? 0);
}

const total = (counts: readonly number[]): number => counts.reduce((sum, count) => sum + count, 0);

describe("nodes of a cluster on a real machine", () => {
  let rig: MemberRig;

  beforeEach(async () => {
    rig = await MemberRig.make();
  });

  afterEach(() => rig.close());

  test("answer the same whichever is asked, over every shard", async () => {
    const nodes = [await rig.start("n1"), await rig.start("n2"), await rig.start("n3")];
    await until("all shards are owned", () => total(ownedCounts(nodes)) === 4);
    const clients = nodes.map(({ url }) => connect<typeof bank>(url));
    const ids = Array.from({ length: 12 }, (_, index) => `a${index}`);
    for (const [index, id] of ids.entries()) await clients[index % 3]!.account(id).deposit({ cents: 100 });
    for (const [index, id] of ids.entries()) {
      await clients[(index + 1) % 3]!.transfer({ from: id, to: ids[(index + 5) % 12]!, cents: 10 });
    }
    for (const client of clients) {
      const balances = await Promise.all(ids.map((id) => client.account(id).balance()));
      assert.deepEqual(new Set(balances), new Set([100]));
    }
    for (const client of clients) await client.$close();
  });

  test("tell of the cluster the same whichever is asked", async () => {
    const nodes = [await rig.start("n1"), await rig.start("n2")];
    const viewAt = async (url: string): Promise<ClusterView> =>
      (await (await fetch(`${url}/v1/cluster`)).json()) as ClusterView;
    await until("all is served, and followed", async () => {
      const { shards } = await viewAt(nodes[0]!.url);
      return shards.every(
        ({ isServed, followers }) => isServed && followers.every(({ lagBatches }) => lagBatches === 0),
      );
    });
    const [one, two] = await Promise.all(nodes.map(({ url }) => viewAt(url)));
    assert.equal(one!.node, "n1");
    assert.equal(two!.node, "n2");
    assert.equal(one!.controller, two!.controller);
    assert.deepEqual(
      one!.nodes.map(({ name, answers, httpUrl, owned }) => [name, answers, httpUrl, owned]),
      nodes.map(({ url }, index) => [`n${index + 1}`, true, url, 2]),
    );
    const owners = (view: ClusterView) => view.shards.map(({ id, owner, epoch }) => [id, owner, epoch]);
    assert.deepEqual(owners(one!), owners(two!));
    assert.equal(one!.shards.length, 4);
  });

  for (const transport of ["socket", "http"] as const) {
    test(`are one system to a client that knows several addresses, over ${transport}, whichever end`, async () => {
      const nodes = [await rig.start("n1"), await rig.start("n2"), await rig.start("n3")];
      await until("all shards are owned", () => total(ownedCounts(nodes)) === 4);
      // Nobody listens at the first.
      const client = connect<typeof bank>(["http://127.0.0.1:9", ...nodes.map(({ url }) => url)], { transport });
      let sum = 0;
      const depositing = async (): Promise<void> => {
        for (let count = 0; count < 20; count++) assert.equal(await client.account("a").deposit({ cents: 1 }), ++sum);
      };
      await depositing();
      const [, two, three] = nodes;
      await Promise.all([two!.close({ noticeMs: 0 }), depositing()]);
      await Promise.all([three!.close({ noticeMs: 0 }), depositing()]);
      assert.equal(await client.account("a").balance(), 60);
      await client.$close();
    });
  }

  test("hand over what they own when they end, and have it again when they come back", async () => {
    const nodes = [await rig.start("n1"), await rig.start("n2")];
    await until("both own some", () => ownedCounts(nodes).every((count) => count === 2));
    const client = connect<typeof bank>(nodes[1]!.url);
    for (let index = 0; index < 10; index++) await client.account(`a${index}`).deposit({ cents: 5 });
    await nodes[0]!.close({ noticeMs: 0 });
    for (let index = 0; index < 10; index++) assert.equal(await client.account(`a${index}`).deposit({ cents: 5 }), 10);
    const again = await rig.start("n1");
    await until("it owns some again", () => ownedCounts([again, nodes[1]!]).every((count) => count === 2));
    for (let index = 0; index < 10; index++) assert.equal(await client.account(`a${index}`).balance(), 10);
    await client.$close();
  });

  test("say what they wait for until they are members", async () => {
    let isThere = false;
    const served = await rig.listen("n1", {
      connectEngine: async () => {
        if (!isThere) throw new OnefoldError("unavailable", "No server of the engine answers.");
        return rig.connectEngine();
      },
    });
    await until("it tries on", () => rig.lines.some(({ level }) => level === "warn"));
    const response = await fetch(`${served.url}/readyz`);
    assert.equal(response.status, 503);
    assert.match(await response.text(), /No server of the engine answers/);
    assert.equal((await fetch(`${served.url}/healthz`)).status, 200);
    isThere = true;
    await served.joined;
    await until("it is ready", async () => (await fetch(`${served.url}/readyz`)).status === 200);
    const metrics = await (await fetch(`${served.url}/metrics`)).text();
    assert.match(metrics, /onefold_cluster_members 1/);
    const page = await readFile(new URL("../docs/metrics.md", import.meta.url), "utf8");
    const [, section = ""] = /## A cluster([\s\S]*?)\n## /.exec(page) ?? [];
    const documented = [...section.matchAll(/^\| `(onefold_cluster_\w+)` \|/gm)].map(([, name]) => name!);
    const shown = [...metrics.matchAll(/^# TYPE (onefold_cluster_\w+) /gm)].map(([, name]) => name!);
    assert.deepEqual(documented.sort(), shown.sort(), "as docs/metrics.md has them");
    const others = [...metrics.matchAll(/^# TYPE (onefold_\w+) /gm)].map(([, name]) => name!);
    assert.deepEqual(
      others.filter((name) => !page.includes(`\`${name}`)),
      [],
      "not in docs/metrics.md",
    );
  });

  test("end where no waiting helps: another system's cluster, a lax engine", async () => {
    await rig.start("n1");
    const other = { ...bankSystem, definition: { ...bankSystem.definition, name: "other" } };
    const stopped: string[] = [];
    const foreign = await rig.listen("n2", { system: other, onStopped: ({ code }) => stopped.push(code) });
    await assert.rejects(foreign.joined, { code: "invalid-configuration" });
    assert.equal((await fetch(`${foreign.url}/healthz`)).status, 503);
    const lax = await rig.listen("n3", {
      connectEngine: async () => {
        const engine = await rig.connectEngine();
        return {
          ...engine,
          logs: Object.assign(Object.create(engine.logs), { laxities: async () => ["It forgets."] }),
        };
      },
    });
    await assert.rejects(lax.joined, /It forgets/);
  });

  test("take no directory that is an embedded node's, nor does an embedded node theirs", async () => {
    const embedded = await openNode({ system: bankSystem, dataDirectory: rig.dataDirectory("n1"), trace: rig.trace });
    await assert.rejects(rig.listen("n1"), { code: "data-directory-busy" });
    await embedded.close();
    await assert.rejects(rig.listen("n1"), { code: "invalid-configuration" });
    const member = await rig.start("n2");
    await member.close({ noticeMs: 0 });
    const opening = openNode({ system: bankSystem, dataDirectory: rig.dataDirectory("n2"), trace: rig.trace });
    await assert.rejects(opening, { code: "invalid-configuration" });
  });
});
