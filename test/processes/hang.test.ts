/** A real node whose event loop the system's own code keeps for ever: what no watchdog can stop ends the process (T5). */
import assert from "node:assert/strict";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { hungExitCode } from "../../src/cli/exit-code.ts";
import { BankClient, installBank, Program } from "./bank-process.fixture.ts";

const loopingSource = `
  import { entity, system, transaction } from "onefold";
  import { z } from "zod";
  const counter = entity("counter")
    .state(z.object({ count: z.number() }), () => ({ count: 0 }))
    .command("increment", (state) => ++state.count)
    .query("count", (state) => state.count);
  const loop = transaction("loop").run(async (tx) => {
    await tx(counter, "a").increment();
    for (;;);
  });
  export const looping = system("looping", { counter, loop });
`;

describe("a node whose transaction never comes back", { timeout: 60_000 }, () => {
  let folder = "";
  const programs: Program[] = [];
  const start = async () => {
    const program = new Program(folder, ["start", "looping", "--port", "0", "--json", "--data", "data"]);
    programs.push(program);
    const url = await program.url;
    if (url === undefined) assert.fail(`it does not start: ${(await program.ended).stderr}`);
    return { program, client: new BankClient(url) };
  };

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "onefold-hang-"));
    await installBank(folder);
    await mkdir(join(folder, "looping"));
    await writeFile(join(folder, "looping", "index.mjs"), loopingSource);
  });
  after(async () => {
    for (const { child } of programs) child.kill("SIGKILL");
    await Promise.all(programs.map((program) => program.ended));
    await rm(folder, { recursive: true, force: true });
  });

  test("ends itself with a code and a reason, and the next one has all that was acknowledged and nothing of it", async () => {
    const { program, client } = await start();
    assert.equal((await client.post("/v1/entities/counter/a/increment", undefined))?.body, 1);
    assert.equal(await client.post("/v1/transactions/loop", undefined), undefined);
    const { code, stderr } = await program.ended;
    client.close();
    assert.equal(code, hungExitCode, stderr);
    assert.match(stderr, /"level":"error","message":"The main thread has not come back to its event loop/);
    const next = await start();
    assert.equal((await next.client.get("/v1/entities/counter/a/count"))?.body, 1);
    next.client.close();
    assert.equal((await next.program.kill("SIGTERM")).code, 0);
  });
});
