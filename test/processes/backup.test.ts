/**
 * Backups with real processes on real files: taken under load over HTTP, the node killed, the backup restored, verified, served
 * and held against what was acknowledged.
 */
import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { backupContentType } from "../../src/backup/format.ts";
import { SeededRandom } from "../../src/base/random.ts";
import { type Ended, installBank, Program } from "./bank-process.fixture.ts";

const accountCount = 10;
const openingCents = 10_000;
const workerCount = 8;

interface Acknowledged {
  readonly mark: string;
  readonly sequence: number;
  readonly atMs: number;
}

interface Printed {
  readonly sequence: number;
  readonly sizeBytes: number;
  readonly incarnation: string;
}

/** Posts; the answer's place in the log, or undefined where there was none. */
async function post(url: string, path: string, input: unknown, key?: string): Promise<number | undefined> {
  const headers = { "content-type": "application/json", ...(key === undefined ? {} : { "idempotency-key": key }) };
  let response: Response;
  try {
    response = await fetch(`${url}${path}`, { method: "POST", headers, body: JSON.stringify(input) });
    await response.arrayBuffer();
  } catch (error) {
    // The node was killed in the middle.
    assert.ok(error instanceof TypeError, String(error));
    return undefined;
  }
  if (response.status === 503) return undefined;
  assert.equal(response.status, 200, path);
  return Number(response.headers.get("onefold-sequence"));
}

/** The balances of all accounts whose ids begin so, by id. */
async function balances(url: string, prefix: string): Promise<ReadonlyMap<string, number>> {
  const found = new Map<string, number>();
  for (let cursor = ""; ; ) {
    const from = cursor === "" ? "" : `&cursor=${encodeURIComponent(cursor)}`;
    const response = await fetch(`${url}/v1/entities/account?prefix=${prefix}&limit=1000${from}`);
    const page = (await response.json()) as { readonly ids: readonly string[]; readonly cursor?: string };
    const read = async (id: string): Promise<number> =>
      (await (await fetch(`${url}/v1/entities/account/${id}/balance`)).json()) as number;
    const values = await Promise.all(page.ids.map(read));
    for (const [index, id] of page.ids.entries()) found.set(id, values[index]!);
    if (page.cursor === undefined) return found;
    cursor = page.cursor;
  }
}

describe("a bank that is backed up", { timeout: 120_000 }, () => {
  let folder = "";
  const running = new Set<Program>();
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "onefold-backup-"));
    await installBank(folder);
  });
  after(async () => {
    for (const program of running) program.child.kill("SIGKILL");
    await rm(folder, { recursive: true, force: true });
  });

  const serve = async (data: string): Promise<{ readonly program: Program; readonly url: string }> => {
    const program = Program.serve(folder, data);
    running.add(program);
    const url = await program.url;
    assert.ok(url !== undefined, program.stderr);
    return { program, url };
  };
  const run = (...args: string[]): Promise<Ended> => new Program(folder, args).ended;
  const done = async (...args: string[]): Promise<string> => {
    const { code, stdout, stderr } = await run(...args);
    assert.equal(code, 0, `onefold ${args.join(" ")}: ${stderr}`);
    return stdout;
  };

  test("under load, is killed and restored as it was at one moment, with all that was acknowledged before", async (context) => {
    const { program, url } = await serve("data");
    for (let i = 0; i < accountCount; i++) {
      await post(url, `/v1/entities/account/a${i}/deposit`, { cents: openingCents });
    }
    const acknowledged: Acknowledged[] = [];
    let isOver = false;
    const work = async (worker: number): Promise<void> => {
      const random = new SeededRandom(`worker-${worker}`);
      for (let i = 0; !isOver; i++) {
        const mark = `m${worker}-${i}`;
        const sequence = await post(url, `/v1/entities/account/${mark}/deposit`, { cents: 1 }, mark);
        if (sequence !== undefined) acknowledged.push({ mark, sequence, atMs: performance.now() });
        const [from, to] = [`a${random.integer(accountCount)}`, `a${random.integer(accountCount)}`];
        if (from !== to) await post(url, "/v1/transactions/transfer", { from, to, cents: 1 });
      }
    };
    const workers = Array.from({ length: workerCount }, (_, worker) => work(worker));
    while (acknowledged.length < 100) await new Promise((resolve) => setImmediate(resolve));
    const askedMs = performance.now();
    const printed = JSON.parse(await done("backup", "--url", url, "-o", "bank.backup", "--json")) as Printed;
    const backedUpCount = acknowledged.length;
    while (acknowledged.length < backedUpCount + 100) await new Promise((resolve) => setImmediate(resolve));
    isOver = true;
    await Promise.all([program.kill("SIGKILL"), ...workers]);
    assert.equal(printed.sizeBytes, (await stat(join(folder, "bank.backup"))).size);

    await done("restore", "bank.backup", "--data", "restored");
    await done("verify", "--data", "restored");
    const restored = await serve("restored");
    const marks = await balances(restored.url, "m");
    const earlier = acknowledged.filter(({ atMs }) => atMs < askedMs);
    for (const { mark } of earlier) assert.equal(marks.get(mark), 1, `${mark} was acknowledged before the backup`);
    for (const { mark, sequence } of acknowledged) assert.equal(marks.has(mark), sequence <= printed.sequence, mark);
    let cents = 0;
    for (const balance of (await balances(restored.url, "a")).values()) cents += balance;
    assert.equal(cents, accountCount * openingCents, "no transfer is there by half");
    // Sent again under its key: what is there is not done again, what is not there is.
    const last = acknowledged.at(-1)!;
    for (const { mark } of [earlier[0]!, last]) {
      await post(restored.url, `/v1/entities/account/${mark}/deposit`, { cents: 1 }, mark);
      assert.equal((await balances(restored.url, mark)).get(mark), 1);
    }
    assert.equal((await restored.program.kill("SIGTERM")).code, 0);
    await done("verify", "--data", "restored");
    const after = acknowledged.filter(({ sequence }) => sequence > printed.sequence).length;
    context.diagnostic(
      `${acknowledged.length} acknowledged: ${earlier.length} before the backup was asked for, ${after} after its state; ${printed.sizeBytes} bytes at ${printed.sequence}`,
    );
    assert.ok(after > 0, "the load went on behind the backup");
  });

  test("while it is stopped, or through a pipe, is the same bank", async () => {
    await done("backup", "--data", "data", "-o", "stopped.backup");
    await done("restore", "stopped.backup", "--data", "from-stopped");
    const original = await serve("data");
    const expected = await balances(original.url, "");
    assert.ok(expected.size > 100);
    const pipe = new Program(folder, ["restore", "-", "--data", "from-pipe"], {
      shell: `exec < <("${process.execPath}" "$2" backup --url ${original.url} -o -)`,
    });
    assert.equal((await pipe.ended).code, 0, pipe.stderr);
    for (const data of ["from-stopped", "from-pipe"]) {
      const copy = await serve(data);
      assert.deepEqual(await balances(copy.url, ""), expected, data);
      await copy.program.kill("SIGKILL");
    }
    await original.program.kill("SIGTERM");
  });

  test("is not restored from a damaged or cut backup, nor over anything, and says so by its exit code", async () => {
    const bytes = await readFile(join(folder, "bank.backup"));
    const flipped = Buffer.from(bytes);
    flipped[flipped.length >> 1]! ^= 4;
    await writeFile(join(folder, "flipped.backup"), flipped);
    await writeFile(join(folder, "cut.backup"), bytes.subarray(0, -100));
    for (const file of ["flipped.backup", "cut.backup"]) {
      for (const args of [["--data", `of-${file}`], ["--check"]]) {
        const { code, stdout } = await run("restore", file, "--json", ...args);
        assert.equal(code, 1);
        const problem = JSON.parse(stdout) as { readonly code: string; readonly details: { readonly part: string } };
        assert.equal(problem.code, "damaged");
        assert.match(problem.details.part, /^part \d+$/);
      }
      assert.deepEqual(
        (await readdir(join(folder, `of-${file}`))).filter((name) => name !== "lock"),
        [],
      );
      await done("restore", "bank.backup", "--data", `of-${file}`);
    }
    await done("restore", "bank.backup", "--check");
    assert.equal((await run("restore", "bank.backup", "--data", "data")).code, 2);
    assert.equal((await run("restore", "missing.backup", "--data", "nowhere")).code, 2);
    assert.equal((await run("backup", "--data", "data", "-o", "bank.backup")).code, 2);
    assert.equal((await run("backup", "--data", "nowhere", "-o", "new.backup")).code, 2);
    assert.equal((await run("backup", "--url", "http://127.0.0.1:1", "-o", "new.backup")).code, 3);
    assert.deepEqual(
      (await readdir(folder)).filter((name) => name.startsWith("new.backup") || name.endsWith(".partial")),
      [],
    );
  });

  test("leaves no file where it is interrupted, or its node goes away in the middle", async () => {
    const server = createServer((_request, response) => {
      response.writeHead(200, { "content-type": backupContentType, "content-length": "1000" });
      response.write(Buffer.alloc(10));
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const isPartialThere = async (): Promise<boolean> =>
      (await readdir(folder)).some((name) => name.startsWith("half.backup"));
    for (const end of ["interrupt", "leave"] as const) {
      const asked = once(server, "request");
      const program = new Program(folder, ["backup", "--url", url, "-o", "half.backup"]);
      await asked;
      assert.ok(await isPartialThere());
      if (end === "interrupt") program.child.kill("SIGINT");
      else server.closeAllConnections();
      const { code, stderr } = await program.ended;
      assert.equal(code, end === "interrupt" ? 130 : 4, stderr);
      assert.ok(!(await isPartialThere()));
    }
    server.close();
  });

  test("leaves no file where there is no room for it, and fails where its reader goes away", async () => {
    // The limit on files' sizes stands for a full disk.
    const { program, url } = await serve("data");
    const small = new Program(folder, ["backup", "--url", url, "-o", "small.backup"], { shell: "ulimit -f 8" });
    const { code, stderr } = await small.ended;
    assert.equal(code, 4, stderr);
    assert.match(stderr, /There is no room for the backup/);
    assert.deepEqual(
      (await readdir(folder)).filter((name) => name.startsWith("small.backup")),
      [],
    );
    const gone = new Program(folder, ["backup", "--url", url, "-o", "-"], { shell: "exec > >(head -c 100)" });
    assert.equal((await gone.ended).code, 1, gone.stderr);
    // The node is none the worse for either.
    await done("backup", "--url", url, "-o", "later.backup");
    await program.kill("SIGTERM");
  });
});
