/** Who is connected to `onefold dev` for long, by a socket or waiting for changes: a reload neither loses nor waits for them. */
import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { connect } from "../src/client/index.ts";
import { entity } from "../src/entity/define.ts";
import { system } from "../src/entity/define-system.ts";
import { Lines, ProgramFolder, stopped } from "./command-line.fixture.ts";
import { installOnefold } from "./installation.ts";
import { z } from "zod";

/** For its type alone: what runs is `source`. */
const counter = entity("counter")
  .state(z.object({ count: z.number() }), () => ({ count: 0 }))
  .command("increment", (state) => ++state.count)
  .query("count", (state) => state.count);
const counters = system("counters", { counter });

const source = (step: number): string => `
import { entity, system } from "onefold";
import { z } from "zod";
const counter = entity("counter")
  .state(z.object({ count: z.number() }), () => ({ count: 0 }))
  .command("increment", (state) => { state.count += ${step}; return state.count; })
  .query("count", (state) => state.count);
export const counters = system("counters", { counter });
`;

interface DevEvent {
  readonly url: string;
  readonly heldMs: number;
}

describe("onefold dev and those who stay connected", { timeout: 60_000 }, () => {
  let folder: ProgramFolder;

  before(async () => {
    folder = await ProgramFolder.make();
    await installOnefold(folder.path);
    await writeFile(join(folder.path, "counter.ts"), source(1));
  });
  after(() => folder.remove());

  test("calls and subscriptions on a socket, and tail, go on with the new code; the reload does not wait for them", async () => {
    const dev = folder.launch(["dev", "--port", "0", "--json"]);
    const events = new Lines(dev.stdout!);
    const { url } = JSON.parse(await events.next(/"serving"/)) as DevEvent;
    const client = connect<typeof counters>(url, { transport: "socket" });
    const values = client.counter("a").$watch("count")[Symbol.asyncIterator]();
    const nextIs = async (expected: number): Promise<void> => {
      // A value that was read twice around the reload may come twice.
      for (;;) {
        const { value } = (await values.next()) as IteratorResult<number, number>;
        assert.ok(value <= expected, `${value}`);
        if (value === expected) return;
      }
    };
    const tail = folder.launch(["tail", "--url", url, "--json"]);
    const [changes, notes] = [new Lines(tail.stdout!), new Lines(tail.stderr!)];
    await notes.next(/^Following/);
    await nextIs(0);
    assert.equal(await client.counter("a").increment(), 1);
    await nextIs(1);
    await changes.next(/"count":1\b/);

    await writeFile(join(folder.path, "counter.ts"), source(100));
    const { heldMs } = JSON.parse(await events.next(/"reloaded"/)) as DevEvent;
    assert.ok(heldMs < 5000, `requests waited ${heldMs} ms`);
    assert.equal(await client.counter("a").increment(), 101);
    await nextIs(101);
    await changes.next(/"count":101\b/);
    await values.return?.();
    client.$close();
    const beganMs = performance.now();
    assert.equal(await stopped(dev), 0);
    assert.ok(performance.now() - beganMs < 5000, "who waits for changes does not hold up the end");
  });
});
