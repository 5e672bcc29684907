/** Real processes whose heap a command exhausts: what nobody can catch is counted by the next process (G10, hazard 18). */
import assert from "node:assert/strict";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { BankClient, installBank, Program } from "./bank-process.fixture.ts";
import { codeOf } from "./notes.fixture.ts";

/** A heap this small is exhausted before the process has grown by what the watchdog stops a call for. */
const smallHeap = { shell: "export NODE_OPTIONS=--max-old-space-size=96" };

const guestsSource = `
  import { entity, system } from "onefold";
  import { z } from "zod";
  // One native function from here to the end: nothing stops it in between.
  const eat = () => JSON.parse("[" + "[[],[],[],[]],".repeat(1.5e6) + "0]");
  const guest = entity("guest")
    .state(z.object({ count: z.number() }), () => ({ count: 0 }))
    .command("greet", (state) => ++state.count)
    .command("eat", (state) => {
      state.count = eat().length;
    })
    .command("invite", z.string(), (state, id, context) => context.send(guest, id, "greet"))
    .command("feed", z.string(), (state, id, context) => context.send(guest, id, "eat"))
    .query("count", (state) => state.count);
  export const guests = system("guests", { guest });
`;

describe("a process whose heap a command exhausts", { timeout: 120_000 }, () => {
  let folder = "";
  const programs: Program[] = [];

  const start = async (data = "data"): Promise<{ program: Program; client: BankClient }> => {
    const program = new Program(folder, ["start", "guests", "--port", "0", "--json", "--data", data], smallHeap);
    programs.push(program);
    const url = await program.url;
    if (url === undefined) assert.fail(`it does not start: ${(await program.ended).stderr}`);
    return { program, client: new BankClient(url) };
  };
  const onefold = async (...args: string[]) => {
    const program = new Program(folder, args);
    programs.push(program);
    return program.ended;
  };
  const of = (id: string, command: string) => `/v1/entities/guest/${id}/${command}`;

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "onefold-quarantine-"));
    await installBank(folder);
    await mkdir(join(folder, "guests"));
    await writeFile(join(folder, "guests", "index.mjs"), guestsSource);
  });
  after(async () => {
    for (const { child } of programs) child.kill("SIGKILL");
    await Promise.all(programs.map((program) => program.ended));
    await rm(folder, { recursive: true, force: true });
  });

  test("dies of it three times, then refuses that entity alone, until an operator lifts that", async () => {
    for (let death = 1; death <= 3; death++) {
      const { program, client } = await start();
      assert.equal((await client.post(of("good", "greet"), undefined))?.body, death);
      assert.equal((await client.post(of("ogre", "greet"), undefined))?.body, death);
      assert.equal(await client.post(of("ogre", "eat"), undefined), undefined, "no answer");
      const { code, signal, stderr } = await program.ended;
      client.close();
      assert.ok(signal !== null || (code !== null && code > 128), `${code} ${signal}`);
      assert.match(stderr, /heap out of memory/i);
    }

    const { program, client } = await start();
    assert.match(program.stderr, /An entity is in quarantine.*"id":"ogre".*"what":"eat".*"deaths":3/);
    for (const command of ["greet", "eat"]) {
      const answer = await client.post(of("ogre", command), undefined);
      assert.deepEqual([answer?.status, codeOf(answer)], [503, "quarantined"], JSON.stringify(answer));
    }
    assert.equal(codeOf(await client.get(of("ogre", "count"))), "quarantined");
    assert.equal((await client.post(of("good", "greet"), undefined))?.body, 4);
    assert.equal((await client.post(of("good", "invite"), "ogre"))?.status, 200);
    const ready = await client.get("/readyz");
    assert.equal(ready?.status, 200);
    assert.match(JSON.stringify(ready?.body), /quarantined: 1 of guest/);
    assert.doesNotMatch(JSON.stringify(ready?.body), /ogre/);
    const busy = await onefold("quarantine", "lift", "guest/ogre", "--data", "data");
    assert.equal(busy.code, 4, busy.stderr);
    client.close();
    assert.equal((await program.kill("SIGTERM")).code, 0);

    const listed = await onefold("quarantine", "ls", "--data", "data");
    assert.match(listed.stdout, /^quarantined +guest\/ogre: 3 deaths of the process, the last in eat at 20/);
    assert.equal((await onefold("quarantine", "lift", "guest/good", "--data", "data")).code, 2);
    assert.equal((await onefold("quarantine", "lift", "guest/ogre", "--data", "data")).code, 0);
    const after = await onefold("quarantine", "ls", "--data", "data", "--json");
    assert.deepEqual(JSON.parse(after.stdout), { suspects: [] });

    const lifted = await start();
    // The invitation has waited for it.
    let count = 0;
    for (let look = 0; look < 500 && count !== 4; look++) {
      count = (await lifted.client.get(of("ogre", "count")))?.body as number;
    }
    assert.equal(count, 4);
    assert.equal((await lifted.client.post(of("ogre", "greet"), undefined))?.body, 5);
    lifted.client.close();
    assert.equal((await lifted.program.kill("SIGTERM")).code, 0);
    assert.equal((await onefold("verify", "--data", "data")).code, 0);
  });

  test("dies of a message at each start, until it serves without the one that the message is for", async () => {
    const first = await start("fed");
    // Its answer is durable, and the message with it; whether it still arrives is chance.
    await first.client.post(of("host", "feed"), "ogre");
    await first.program.ended;
    first.client.close();
    let deaths = 1;
    for (; deaths < 6; deaths++) {
      const program = new Program(folder, ["start", "guests", "--port", "0", "--json", "--data", "fed"], smallHeap);
      programs.push(program);
      const url = await program.url;
      if (url === undefined) continue;
      const client = new BankClient(url);
      // It may just have come so far before it died.
      const answer = await client.post(of("host", "greet"), undefined);
      if (answer === undefined) {
        client.close();
        await program.ended;
        continue;
      }
      assert.equal(answer.status, 200);
      assert.equal(codeOf(await client.post(of("ogre", "greet"), undefined)), "quarantined");
      const { body } = (await client.get("/v1/dead-letters"))!;
      const [letter] = (body as { readonly items: readonly { readonly code: string; readonly waits: boolean }[] })
        .items;
      assert.deepEqual([letter?.code, letter?.waits], ["quarantined", true]);
      client.close();
      assert.equal((await program.kill("SIGTERM")).code, 0);
      break;
    }
    assert.equal(deaths, 3);
  });

  test("has no data to lift a quarantine of where there is none", async () => {
    const { code, stderr } = await onefold("quarantine", "ls", "--data", "nowhere");
    assert.equal(code, 2);
    assert.match(stderr, /There is no Onefold data in nowhere/);
  });
});
