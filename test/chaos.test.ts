/** The short form of `npm run chaos`: real processes, real faults, and nothing is found. What is checked is in `docs/chaos.md`. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { natsServerForTests } from "../scripts/nats-server.ts";

const root = fileURLToPath(new URL("..", import.meta.url));
/** A run takes as long as its faults, and on a busy machine as long again. */
const runMsMax = 170_000;

interface Ran {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

/** What of a run's JSON is looked at. */
interface Result {
  readonly network: string;
  readonly findings: readonly unknown[];
  readonly workloads: readonly { readonly workload: string; readonly ok: number }[];
  readonly faults: readonly { readonly kind: string; readonly count: number }[];
  readonly plan: { readonly strikes: readonly unknown[] };
}

/** Asks it to end where it takes too long: it then ends all that it has started. */
async function chaos(words: readonly string[], environment: NodeJS.ProcessEnv): Promise<Ran> {
  const child = spawn(
    process.execPath,
    ["--conditions=onefold-source", "--import", "tsx", join(root, "scripts", "chaos.ts"), ...words],
    { cwd: root, env: { ...process.env, ...environment }, stdio: ["ignore", "pipe", "pipe"] },
  );
  let [out, err] = ["", ""];
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    out += text;
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    err += text;
  });
  const timer = setTimeout(() => child.kill("SIGTERM"), runMsMax);
  const [code] = (await once(child, "close")) as [number | null];
  clearTimeout(timer);
  return { code, out, err };
}

describe("chaos, in short", { timeout: 240_000 }, () => {
  let folder: string;
  let environment: NodeJS.ProcessEnv;

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "onefold-chaos-test-"));
    const { path } = await natsServerForTests();
    environment = { NATS_SERVER: path, TMPDIR: folder };
  });
  after(() => rm(folder, { recursive: true, force: true }));

  test("finds nothing where nodes and servers are killed, stopped, paused and cut off", async () => {
    const report = join(folder, "report.html");
    const words = [
      ...["--loopback", "--seconds", "45", "--seed", "short", "--clients", "2"],
      ...["--faults", "kill-node,kill-server,stop-node,pause-node,cut-node,split,kill-all"],
      ...["--json", "--report", report],
    ];
    const { code, out, err } = await chaos(words, environment);
    assert.equal(code, 0, `${err}\n${out}`);
    const { network, findings, workloads, faults, plan } = JSON.parse(out) as Result;
    assert.equal(network, "loopback");
    assert.deepEqual(findings, []);
    // That nothing was found says something only of what was done.
    assert.deepEqual(
      workloads.filter(({ ok }) => ok < 10).map(({ workload }) => workload),
      [],
      err,
    );
    assert.equal(
      faults.reduce((sum, { count }) => sum + count, 0),
      plan.strikes.length,
    );
    assert.ok(plan.strikes.length >= 5, err);
    const page = await readFile(report, "utf8");
    assert.match(page, /<p class="verdict good">Nothing was found<\/p>/);
    assert.equal(page.match(/<svg /g)?.length, 1 + 2 * workloads.length);
    // No data, no logs: what a run has made goes with it.
    const left = (await readdir(folder)).filter((name) => name.startsWith("onefold"));
    assert.deepEqual(left, []);
  });

  test("says what it takes where it is asked for what it does not know", async () => {
    const { code, out, err } = await chaos(["--faults", "earthquake"], environment);
    assert.equal(code, 2);
    assert.equal(out, "");
    assert.match(err, /--faults knows no 'earthquake'. It takes kill-node, kill-server, /);
  });
});
