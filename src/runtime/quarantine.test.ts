/** Processes that die of an entity's commands, in virtual time: the count, the quarantine, what waits for its end (G10). */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { parseCallNote } from "../host/call-note.ts";
import { dataLayout } from "./data-layout.ts";
import type { EmbeddedNode } from "./embedded.ts";
import { crashMoments } from "../sim/life.ts";
import { Place, principal } from "./embedded.fixture.ts";

/** The process dies of a command of `id`; the next one opens what it leaves. */
async function dieOf(place: Place, node: EmbeddedNode, id: string): Promise<EmbeddedNode> {
  place.host.guard.dieAtCall();
  let isAnswered = false;
  const settled = (): void => {
    isAnswered = true;
  };
  place.client(node).note(id).write({ line: "killer" }).then(settled, settled);
  await place.until("the process is dead", () => !place.node.alive);
  assert.ok(!isAnswered, "a process that has died answers nothing");
  assert.ok(parseCallNote(place.node.disk.content(dataLayout.suspect)) !== undefined);
  return place.reopen();
}

async function dieThreeTimes(place: Place, node: EmbeddedNode, id: string): Promise<EmbeddedNode> {
  let alive = node;
  for (let death = 0; death < 3; death++) alive = await dieOf(place, alive, id);
  return alive;
}

async function lift(place: Place): Promise<EmbeddedNode> {
  place.node.crash();
  place.node.disk.loseFile(dataLayout.suspects);
  return place.reopen();
}

const files = (place: Place) => place.node.disk.paths().filter((path) => path.startsWith("suspect"));
const hasProblem = (node: EmbeddedNode) => node.service.health().problems.length > 0;

describe("an entity whose commands end the process", () => {
  test("is refused from the third death on, with everything that is its own, and nobody else is", () =>
    Place.run("third", async (place) => {
      let node = await place.open();
      await place.client(node).note("bad").write({ line: "before" });
      await place.client(node).note("good").write({ line: "1" });
      for (let death = 1; death <= 2; death++) {
        node = await dieOf(place, node, "bad");
        assert.ok(place.hasTraced("The process before this one died"), place.traces());
        assert.ok(!hasProblem(node));
        assert.deepEqual(await place.client(node).note("bad").lines(), ["before"]);
      }
      node = await dieOf(place, node, "bad");
      assert.ok(place.hasTraced("An entity is in quarantine"), place.traces());
      assert.match(node.service.health().problems.join(), /^quarantined: 1 of note/);
      assert.equal(node.service.health().state, "ready");
      assert.equal(node.quarantinedCount, 1);
      const client = place.client(node);
      const refused = { code: "quarantined", retry: "never" };
      await assert.rejects(client.note("bad").write({ line: "again" }), refused);
      await assert.rejects(client.note("bad").lines(), refused);
      await assert.rejects(client.atHome({ id: "bad", line: "in a transaction" }), refused);
      const address = { kind: "note", id: "bad" };
      await assert.rejects(node.service.state(address, { principal }), refused);
      await assert.rejects(node.service.delete(address, { principal }), refused);
      // What takes no user code is there for whoever looks into it.
      const { items } = await node.service.history(address, { principal });
      assert.equal(items.length, 1);
      assert.equal(await client.note("good").write({ line: "2" }), 2);
      await client.atHome({ id: "good", line: "3" });
      await node.close();
    }));

  test("gets what was sent to it and its timers when the quarantine is lifted, once and in order", () =>
    Place.run("waits", async (place) => {
      let node = await place.open();
      await place.client(node).note("bad").remind({ delayMs: 60_000, line: "timer" });
      node = await dieThreeTimes(place, node, "bad");
      const from = place.client(node).note("sender");
      await from.mail({ to: "bad", lines: ["1", "2"] });
      await from.mail({ to: "good", lines: ["beside"] });
      await from.mail({ to: "bad", lines: ["3"] });
      await place.until("the others have theirs", async () => {
        const lines = await place.client(node).note("good").lines();
        return lines.length === 1;
      });
      await place.until("the others wait", () => node.shard.deadLetterCounts.waiting === 3);
      await place.scheduler.sleep(120_000);
      assert.ok(place.hasTraced("Timers are due of entities"), place.traces());
      const { items } = await node.service.deadLetters({ principal });
      assert.deepEqual(
        items.map(({ code, waits }) => [code, waits]),
        [1, 2, 3].map(() => ["quarantined", true]),
      );
      node = await place.reopen();
      assert.equal(node.shard.deadLetterCounts.waiting, 3, "they wait over a restart");
      node = await lift(place);
      const lines = () => place.client(node).note("bad").lines();
      await place.until("all has arrived", async () => (await lines()).length === 4);
      assert.deepEqual(
        (await lines()).filter((line) => line !== "timer"),
        ["1", "2", "3"],
      );
      await place.scheduler.sleep(120_000);
      assert.equal((await lines()).length, 4);
      await node.close();
    }));

  test("is forgotten as a suspect when a call of it that takes long ends by itself", () =>
    Place.run("forgotten", async (place) => {
      let node = await place.open();
      for (let round = 0; round < 3; round++) {
        for (let death = 0; death < 2; death++) node = await dieOf(place, node, "slow");
        assert.deepEqual(files(place), [dataLayout.suspects]);
        place.hooks.inCommand = () => place.host.guard.spend(200);
        await place.client(node).note("slow").hook();
        await place.until("it is forgotten", () => !contentOf(place).includes("slow"));
      }
      assert.ok(!hasProblem(node));
      await node.close();
    }));

  test("is not forgotten for its quick calls, nor for one that was stopped", () =>
    Place.run("kept", async (place) => {
      let node = await place.open();
      for (let death = 0; death < 3; death++) {
        node = await dieOf(place, node, "bad");
        if (death === 2) break;
        await place
          .client(node)
          .note("bad")
          .write({ line: `${death}` });
        place.hooks.inCommand = () => place.host.guard.spend(Number.POSITIVE_INFINITY);
        await assert.rejects(place.client(node).note("bad").hook(), { code: "command-too-slow" });
      }
      assert.ok(hasProblem(node));
      await node.close();
    }));

  test("is not suspected where the process dies elsewhere, or ends in good order", () =>
    Place.run("elsewhere", async (place) => {
      let node = await place.open();
      for (let life = 0; life < 4; life++) {
        place.hooks.inCommand = () => place.host.guard.spend(200);
        await place.client(node).note("slow").hook();
        if (life % 2 === 0) await node.close();
        node = await place.reopen();
      }
      assert.deepEqual(files(place), []);
      await node.close();
    }));

  test("is counted over a crash at each step of the count, and never twice for one death", () =>
    Place.run("crashes", async (place) => {
      let node = await place.open();
      await place.client(node).note("bad").write({ line: "before" });
      let crashes = 0;
      // Operations of the count; later ones are the store's and the log's.
      for (let operation = 1; operation <= 16; operation++) {
        for (const moment of crashMoments) {
          place.host.guard.dieAtCall();
          void place.client(node).note("bad").write({ line: "killer" });
          await place.until("the process is dead", () => !place.node.alive);
          if ((await place.reopenAndCrash(operation, moment)) === undefined) crashes++;
          node = await place.reopen();
          assert.equal(deathsIn(place), 1, `${moment} operation ${operation}`);
          node = await lift(place);
        }
      }
      assert.equal(crashes, 16 * crashMoments.length);
      await node.close();
    }));

  test("ends no start because the disk refuses to keep its record", () =>
    Place.run("refused", async (place) => {
      let node = await place.open();
      node = await dieOf(place, node, "bad");
      place.node.crash();
      place.node.disk.leaveFile(dataLayout.suspect, Buffer.from("rubbish"));
      // After the lock, and the look for an unfinished restore.
      place.node.disk.failNext("name", 3);
      node = await place.reopen();
      assert.ok(place.hasTraced("The record of what ended earlier processes can't be kept"), place.traces());
      assert.equal(await place.client(node).note("bad").write({ line: "served" }), 1);
      await node.close();
    }));

  test("ends no start, whatever its files hold", () =>
    Place.run("garbage", async (place) => {
      let node = await place.open();
      node = await dieThreeTimes(place, node, "bad");
      place.node.crash();
      place.node.disk.cutFile(dataLayout.suspects, 30);
      place.node.disk.leaveFile(dataLayout.suspect, Buffer.from("rubbish"));
      node = await place.reopen();
      assert.ok(place.hasTraced("The file of suspects can't be understood"), place.traces());
      assert.equal(await place.client(node).note("bad").write({ line: "served" }), 1);
      await node.close();
    }));
});

function contentOf(place: Place): string {
  return Buffer.from(place.node.disk.content(dataLayout.suspects)).toString("utf8");
}

function deathsIn(place: Place): number {
  return (JSON.parse(contentOf(place)) as { readonly suspects: readonly { readonly deaths: number }[] }).suspects[0]!
    .deaths;
}
