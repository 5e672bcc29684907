/** Real processes on real files: their stops, and a data directory that somebody has been at. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtemp, readdir, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { BankClient, installBank, Program } from "./bank-process.fixture.ts";
import { codeOf, installNotes } from "./notes.fixture.ts";

describe("a node's process", { timeout: 120_000 }, () => {
  let folder = "";
  const programs: Program[] = [];

  const serve = async (data: string, ...args: string[]): Promise<{ program: Program; client: BankClient }> => {
    const program = args.length > 0 ? new Program(folder, args) : Program.serve(folder, data);
    programs.push(program);
    const url = await program.url;
    if (url === undefined) assert.fail(`it does not start: ${(await program.ended).stderr}`);
    return { program, client: new BankClient(url) };
  };

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "onefold-lifecycle-"));
    await installBank(folder);
    await installNotes(folder);
  });
  after(async () => {
    for (const { child } of programs) child.kill("SIGKILL");
    await Promise.all(programs.map((program) => program.ended));
    await rm(folder, { recursive: true, force: true });
  });

  test("that is told to stop answers all it has accepted, ends with 0, and the next one has it all", async () => {
    const { program, client } = await serve("stopped");
    let acknowledged = 0;
    let brokenOff = 0;
    let isOver = false;
    const worker = async () => {
      while (!isOver) {
        const answer = await client.post("/v1/entities/account/a/deposit", { cents: 1 });
        if (answer?.status === 200) acknowledged++;
        else if (answer === undefined) {
          // Only for want of a node: one that has stopped accepts no connection.
          isOver = true;
          brokenOff++;
        } else assert.equal(answer.status, 503, JSON.stringify(answer));
      }
    };
    const workers = Array.from({ length: 16 }, worker);
    while (acknowledged < 200) await delay(1);
    const stopping = program.kill("SIGTERM");
    await Promise.all(workers);
    const { code } = await stopping;
    client.close();
    assert.equal(code, 0);
    assert.ok(brokenOff <= 16);
    const next = await serve("stopped");
    assert.equal(await next.client.balance("a"), acknowledged);
    next.client.close();
    assert.equal((await next.program.kill("SIGTERM")).code, 0);
  });

  test("stops commands and queries that loop for ever, fails only them, and serves on", async () => {
    const { program, client } = await serve("", "start", "notes", "--port", "0", "--json", "--data", "loops");
    const note = "/v1/entities/note/n";
    assert.equal((await client.post(`${note}/keep`, { text: "x" }))?.body, 1);
    const calls = [
      client.post(`${note}/keep`, { text: "y" }),
      client.post(`${note}/loop`, undefined),
      client.post(`${note}/keep`, { text: "z" }),
      client.post("/v1/entities/note/other/keep", { text: "beside" }),
      client.get(`${note}/loopQuery`),
    ];
    const [before, loop, later, beside, query] = await Promise.all(calls);
    assert.deepEqual([codeOf(loop), loop?.status], ["command-too-slow", 500]);
    assert.deepEqual([codeOf(query), query?.status], ["command-too-slow", 500]);
    assert.deepEqual([before?.status, later?.status, beside?.body], [200, 200, 1]);
    assert.deepEqual([before?.body, later?.body].sort(), [2, 3]);
    for (let i = 0; i < 3; i++) assert.equal(codeOf(await client.post(`${note}/loop`, undefined)), "command-too-slow");
    assert.equal((await client.get(`${note}/count`))?.body, 3);
    client.close();
    assert.equal((await program.kill("SIGTERM")).code, 0);
    const next = await serve("", "start", "notes", "--port", "0", "--json", "--data", "loops");
    assert.equal((await next.client.get(`${note}/count`))?.body, 3);
    next.client.close();
    await next.program.kill("SIGTERM");
  });

  test("that finds its data directory in use says so and ends with 4, and the one that has it goes on", async () => {
    const { program, client } = await serve("held");
    await client.post("/v1/entities/account/a/deposit", { cents: 5 });
    const second = await Program.serve(folder, "held").ended;
    assert.equal(second.code, 4, second.stderr);
    assert.match(second.stderr, new RegExp(`data-directory-busy[\\s\\S]*${program.child.pid}`));
    assert.equal(await client.balance("a"), 5);
    client.close();
    await program.kill("SIGKILL");
    // The lock ended with the process, however that ended.
    const third = await serve("held");
    assert.equal(await third.client.balance("a"), 5);
    third.client.close();
    await third.program.kill("SIGTERM");
  });

  for (const how of ["SIGTERM", "SIGKILL"] as const) {
    test(`rebuilds a store that was deleted after ${how}, and one that holds rubbish`, async () => {
      const data = `rebuilt-${how}`;
      const first = await serve(data);
      for (let i = 1; i <= 30; i++) await first.client.post(`/v1/entities/account/a${i}/deposit`, { cents: i });
      first.client.close();
      await first.program.kill(how);
      await rm(join(folder, data, "store"), { recursive: true });
      const second = await serve(data);
      for (let i = 1; i <= 30; i++) assert.equal(await second.client.balance(`a${i}`), i);
      second.client.close();
      await second.program.kill(how);
      const [file = ""] = (await readdir(join(folder, data, "store"))).filter((name) => !name.endsWith("-lock"));
      await writeFile(join(folder, data, "store", file), Buffer.alloc(100_000, 0xa5));
      const third = await serve(data);
      for (let i = 1; i <= 30; i++) assert.equal(await third.client.balance(`a${i}`), i);
      third.client.close();
      await third.program.kill("SIGTERM");
      assert.equal((await new Program(folder, ["verify", "--data", data]).ended).code, 0);
    });
  }

  test("refuses to serve a log whose newest records are gone, and names the anchor that says so", async () => {
    const { program, client } = await serve("rolled-back");
    await client.post("/v1/entities/account/a/deposit", { cents: 1 });
    await program.kill("SIGTERM");
    const log = join(folder, "rolled-back", "log");
    const [segment = ""] = (await readdir(log)).filter((name) => name.endsWith(".segment"));
    const { size } = await stat(join(log, segment));
    const before = spawnSync("cp", [join(log, segment), join(folder, "older.segment")]);
    assert.equal(before.status, 0);
    const later = await serve("rolled-back");
    await later.client.post("/v1/entities/account/a/deposit", { cents: 1 });
    later.client.close();
    client.close();
    await later.program.kill("SIGTERM");
    spawnSync("cp", [join(folder, "older.segment"), join(log, segment)]);
    assert.equal((await stat(join(log, segment))).size, size);
    const refused = await Program.serve(folder, "rolled-back").ended;
    assert.equal(refused.code, 1, refused.stderr);
    assert.match(refused.stderr, /damaged/);
    const verified = await new Program(folder, ["verify", "--data", "rolled-back"]).ended;
    assert.equal(verified.code, 1, verified.stdout);
  });
});
