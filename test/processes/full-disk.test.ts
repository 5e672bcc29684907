/** Real processes on a small file system that fills up. Skipped where the tests may not mount one. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdir, mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { type Answer, BankClient, installBank, Program } from "./bank-process.fixture.ts";
import { codeOf, installNotes } from "./notes.fixture.ts";

describe("a node's process on a disk that fills up", { timeout: 120_000 }, () => {
  let folder = "";
  const programs: Program[] = [];
  const mounts: string[] = [];

  const serve = async (args: readonly string[]): Promise<{ program: Program; client: BankClient }> => {
    const program = new Program(folder, args);
    programs.push(program);
    const url = await program.url;
    if (url === undefined) assert.fail(`it does not start: ${(await program.ended).stderr}`);
    return { program, client: new BankClient(url) };
  };

  /** A new disk of so many megabytes; undefined where that is not allowed. */
  const mountDisk = async (name: string, megabytes: number): Promise<string | undefined> => {
    const mount = join(folder, name);
    await mkdir(mount);
    if (spawnSync("mount", ["-t", "tmpfs", "-o", `size=${megabytes}m`, "none", mount]).status !== 0) return undefined;
    mounts.push(mount);
    return mount;
  };

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "onefold-full-disk-"));
    await installBank(folder);
    await installNotes(folder);
  });
  after(async () => {
    for (const { child } of programs) child.kill("SIGKILL");
    await Promise.all(programs.map((program) => program.ended));
    for (const mount of mounts) spawnSync("umount", [mount]);
    await rm(folder, { recursive: true, force: true });
  });

  test("on a full disk refuses writes with 503 disk-full, still reads, and goes on once there is space", async (context) => {
    const mount = await mountDisk("small-disk", 100);
    if (mount === undefined) return context.skip("needs the right to mount a small file system");
    const start = ["start", "notes", "--port", "0", "--json", "--data", join(mount, "data")];
    const { program, client } = await serve(start);
    const text = "x".repeat(200_000);
    const keep = () => client.post("/v1/entities/note/n/keep", { text });
    let kept = 0;
    let answer: Answer | undefined;
    // The disk has room for one segment, with some 300 of these.
    for (;;) {
      answer = await keep();
      if (answer?.status !== 200) break;
      assert.equal(answer.body, ++kept);
      assert.ok(kept < 3000, "the disk is never full");
    }
    assert.deepEqual([answer?.status, codeOf(answer)], [503, "disk-full"], JSON.stringify(answer));
    const count = await client.get("/v1/entities/note/n/count");
    assert.deepEqual([count?.status, count?.body], [200, kept]);
    assert.equal(spawnSync("mount", ["-o", "remount,size=400m", mount]).status, 0);
    const endMs = performance.now() + 60_000;
    for (;;) {
      answer = await keep();
      if (answer?.status === 200) break;
      assert.equal(codeOf(answer), "disk-full", JSON.stringify(answer));
      assert.ok(performance.now() < endMs, "it does not go on");
      await delay(50);
    }
    assert.equal(answer.body, ++kept);
    client.close();
    await program.kill("SIGKILL");
    const next = await serve(start);
    assert.equal((await next.client.get("/v1/entities/note/n/count"))?.body, kept);
    next.client.close();
    assert.equal((await next.program.kill("SIGTERM")).code, 0);
    const verified = await new Program(folder, ["verify", "--data", join(mount, "data")]).ended;
    assert.equal(verified.code, 0, verified.stdout);
    context.diagnostic(`${kept} notes of ${text.length} bytes were kept`);
  });

  test("trims its log in time, so that it writes far more than the disk holds", async (context) => {
    const mount = await mountDisk("tight-disk", 200);
    if (mount === undefined) return context.skip("needs the right to mount a small file system");
    const start = ["start", "notes", "--port", "0", "--json", "--data", join(mount, "data")];
    const { program, client } = await serve(start);
    const text = "y".repeat(200_000);
    const noteCount = 20;
    const roundCount = 65;
    let fullCount = 0;
    for (let round = 1; round <= roundCount; round++) {
      const keep = async (note: number): Promise<void> => {
        const endMs = performance.now() + 60_000;
        for (;;) {
          const answer = await client.post(`/v1/entities/note/n${note}/keep`, { text });
          if (answer?.status === 200) return assert.equal(answer.body, round);
          assert.equal(codeOf(answer), "disk-full", JSON.stringify(answer));
          assert.ok(performance.now() < endMs, `it does not go on: ${program.stderr}`);
          fullCount++;
          await delay(50);
        }
      };
      await Promise.all(Array.from({ length: noteCount }, (_, note) => keep(note)));
    }
    const segments = (await readdir(join(mount, "data", "log"))).filter((name) => name.endsWith(".segment"));
    assert.ok(!segments.includes("0000000000000001.segment"), segments.join());
    client.close();
    await program.kill("SIGKILL");
    // The store is what costs least to lose; what replaces it must be all there.
    await rm(join(mount, "data", "store"), { recursive: true });
    const next = await serve(start);
    for (let note = 0; note < noteCount; note++) {
      assert.equal((await next.client.get(`/v1/entities/note/n${note}/count`))?.body, roundCount);
    }
    next.client.close();
    assert.equal((await next.program.kill("SIGTERM")).code, 0);
    const verified = await new Program(folder, ["verify", "--data", join(mount, "data")]).ended;
    assert.equal(verified.code, 0, verified.stdout);
    const megabytes = Math.round((noteCount * roundCount * text.length) / 1e6);
    context.diagnostic(`${megabytes} MB of notes on a disk of 200 MB; ${fullCount} answers were disk-full`);
  });
});
