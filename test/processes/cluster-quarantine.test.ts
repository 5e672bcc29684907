/**
 * A command that exhausts the heap, on a real cluster: its caller asks again wherever the shard has gone, and each owner dies of it in turn,
 * until all of them know the entity (G10, hazard 18).
 */
import assert from "node:assert/strict";
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { after, before, describe, test } from "node:test";
import { natsServerForTests } from "../../scripts/nats-server.ts";
import { connect } from "../../src/client/index.ts";
import type { SuspectView } from "../../src/wire/cluster-view.ts";
import { ProgramFolder } from "../command-line.fixture.ts";
import { installOnefold } from "../installation.ts";
import { until } from "../member.fixture.ts";
import type { guests } from "./guests.fixture.ts";

const guestsSource = `
  import { entity, system } from "onefold";
  import { z } from "zod";
  // One native function from here to the end: nothing stops it in between.
  const eat = () => JSON.parse("[" + "[[],[],[],[]],".repeat(1.5e6) + "0]");
  const guest = entity("guest")
    .state(z.object({ count: z.number() }), () => ({ count: 0 }))
    .command("greet", (state) => ++state.count)
    .command("eat", (state) => (state.count = eat().length));
  export const guests = system("guests", { guest });
`;

describe("a cluster whose nodes die of a command", { timeout: 240_000 }, () => {
  let folder: ProgramFolder;
  let up: ChildProcess;
  const urls: string[] = [];
  let deaths = 0;

  before(async () => {
    folder = await ProgramFolder.make();
    await installOnefold(folder.path);
    await writeFile(join(folder.path, "guests.mjs"), guestsSource);
    const { path } = await natsServerForTests();
    // A heap this small is exhausted before the process has grown by what the watchdog stops a call for.
    const NODE_OPTIONS = "--max-old-space-size=96";
    folder.environment = { NATS_SERVER: path, ONEFOLD_LOG_LEVEL: "warn", NODE_OPTIONS };
    up = folder.launch(["cluster", "up", "guests.mjs", "--nodes", "3", "--shards", "4", "--json"]);
    up.stderr!.setEncoding("utf8").on("data", (text: string) => {
      deaths += text.match(/^The node n\d has ended/gm)?.length ?? 0;
    });
    let isUp = false;
    createInterface({ input: up.stdout! }).on("line", (line) => {
      const said = JSON.parse(line) as { readonly node?: string; readonly http?: string; readonly kind?: string };
      if (said.node !== undefined && said.http !== undefined && !urls.includes(said.http)) urls.push(said.http);
      isUp ||= said.kind === "up";
    });
    await until("the cluster is up", () => isUp, 60_000);
  });
  after(async () => {
    up.kill("SIGINT");
    await once(up, "exit");
    await folder.remove();
  });

  test("loses some of them, then none: the entity alone is refused, on every node, until an operator lifts that", async () => {
    const client = connect<typeof guests>(urls, { deadlineMs: 120_000 });
    assert.equal(await client.guest("good").greet(), 1);
    assert.equal(await client.guest("ogre").greet(), 1);
    await assert.rejects(client.guest("ogre").eat(), { code: "quarantined" });
    await until("all nodes are ready", async () => (await Promise.all(urls.map(isReady))).every(Boolean), 60_000);
    // One more may have begun to own it before the third had told what it died of.
    assert.ok(deaths >= 3 && deaths <= 6, `${deaths} deaths`);

    for (const url of urls) {
      const one = connect<typeof guests>(url, { deadlineMs: 20_000 });
      await assert.rejects(one.guest("ogre").greet(), { code: "quarantined" });
      await one.guest("good").greet();
      one.$close();
    }
    assert.equal(await client.guest("good").greet(), 5);

    const [url] = urls;
    const listed = JSON.parse(await folder.result("cluster", "suspects", "--url", url!, "--json")) as {
      readonly suspects: readonly SuspectView[];
    };
    const told = listed.suspects.map(({ kind, id, what, isInQuarantine }) => [kind, id, what, isInQuarantine]);
    assert.deepEqual(told, [["guest", "ogre", "eat", true]]);
    const refused = await folder.onefold("cluster", "lift", "guest/good", "--url", url!);
    assert.notEqual(refused.code, 0);
    assert.match(await folder.result("cluster", "lift", "guest/ogre", "--url", url!), /guest\/ogre serves again/);
    await until(
      "it serves again",
      async () => {
        const [outcome] = await Promise.allSettled([client.guest("ogre").greet()]);
        return outcome!.status === "fulfilled" && outcome.value === 2;
      },
      20_000,
    );
    client.$close();
  });
});

async function isReady(url: string): Promise<boolean> {
  try {
    return (await fetch(`${url}/readyz`)).ok;
  } catch {
    // Nobody listens there just now.
    return false;
  }
}
