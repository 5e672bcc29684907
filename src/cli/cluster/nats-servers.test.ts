/** Finding the servers' program, and running servers on this machine. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { chmod, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { natsServerForTests } from "../../../scripts/nats-server.ts";
import { until } from "../../log/engine/nats/servers.fixture.ts";
import { findNatsServer } from "./nats-server.ts";
import { natsConfig, natsPlan } from "./nats-plan.ts";

async function withDirectory(body: (directory: string) => Promise<void>): Promise<void> {
  const directory = await mkdtemp(join(tmpdir(), "onefold-nats-"));
  try {
    await body(directory);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

/** A program that says that it is this version. */
async function placeProgram(directory: string, version: string): Promise<string> {
  await mkdir(directory, { recursive: true });
  const path = join(directory, "nats-server");
  await writeFile(path, `#!/bin/sh\necho "nats-server: v${version}"\n`);
  await chmod(path, 0o755);
  return path;
}

describe("the program of the servers", () => {
  test("is the one that is named, else the first on the path that is new enough, else the newest of the cache", () =>
    withDirectory(async (directory) => {
      const named = await placeProgram(join(directory, "named"), "2.15.1");
      await placeProgram(join(directory, "old"), "2.10.27");
      const onPath = await placeProgram(join(directory, "new"), "2.16.3");
      const cacheDirectory = join(directory, "cache");
      for (const version of ["2.15.2", "2.15.10", "2.15.9"]) await placeProgram(join(cacheDirectory, version), version);
      const PATH = [join(directory, "nowhere"), join(directory, "old"), join(directory, "new")].join(":");
      const find = async (environment: Record<string, string>) =>
        (await findNatsServer({ environment, cacheDirectory }))?.path;
      assert.equal(await find({ NATS_SERVER: named, PATH }), named);
      assert.equal(await find({ PATH }), onPath);
      assert.equal(await find({ PATH: join(directory, "old") }), join(cacheDirectory, "2.15.10", "nats-server"));
      assert.equal(await findNatsServer({ environment: {}, cacheDirectory: join(directory, "empty") }), undefined);
    }));

  test("is refused where it is named and too old, or no such program", () =>
    withDirectory(async (directory) => {
      const old = await placeProgram(directory, "2.10.27");
      const find = (path: string) => findNatsServer({ environment: { NATS_SERVER: path }, cacheDirectory: directory });
      await assert.rejects(find(old), /version 2\.10\.27; it must be 2\.15\.1 or newer/);
      await assert.rejects(find(join(directory, "nothing")), /no nats-server that runs here/);
    }));
});

describe("a plan of servers", () => {
  test("is kept with its ports and credentials, for its owner alone", () =>
    withDirectory(async (directory) => {
      const plan = await natsPlan({ directory, serverCount: 3, firstPort: 4300 });
      assert.deepEqual(
        plan.members.map(({ clientPort, routePort, monitorPort }) => [clientPort, routePort, monitorPort]),
        [
          [4300, 4303, 4306],
          [4301, 4304, 4307],
          [4302, 4305, 4308],
        ],
      );
      assert.deepEqual(await natsPlan({ directory, serverCount: 3 }), plan);
      await assert.rejects(natsPlan({ directory, serverCount: 5 }), /a cluster of 3 servers, not of 5/);
      const text = natsConfig(plan, plan.members[0]!, { directory });
      assert.match(text, /sync_interval: always/);
      assert.match(text, /system_account: SYS/);
    }));
});

describe("servers that are run here", () => {
  test("end when the process that runs them is killed", () =>
    withDirectory(async (directory) => {
      const { path: program } = await natsServerForTests();
      const script = `
        import { NatsCluster } from ${JSON.stringify(new URL("./nats-cluster.ts", import.meta.url).href)};
        import { natsPlan } from ${JSON.stringify(new URL("./nats-plan.ts", import.meta.url).href)};
        const [program, directory] = process.argv.slice(-2);
        const plan = await natsPlan({ directory, serverCount: 1 });
        const cluster = await NatsCluster.start({ program, plan, directory });
        const [name] = cluster.names;
        await cluster.pauseServer(name);
        console.log("running " + cluster.pidOf(name) + ".");
        setInterval(() => undefined, 1000);
      `;
      const owner = spawn(
        process.execPath,
        ["--conditions=onefold-source", "--import", "tsx", "--input-type=module", "--eval", script, program, directory],
        { stdio: ["ignore", "pipe", "inherit"], cwd: fileURLToPath(new URL("../../..", import.meta.url)) },
      );
      let output = "";
      owner.stdout.setEncoding("utf8").on("data", (text: string) => {
        output += text;
      });
      await until(() => output.includes(".") || owner.exitCode !== null);
      const pid = Number(/^running (\d+)\.$/m.exec(output)?.[1]);
      assert.ok(Number.isSafeInteger(pid), "the owner of the servers has ended");
      // It is paused, as a debugger leaves one: it must end all the same.
      process.kill(pid, 0);
      owner.kill("SIGKILL");
      await until(() => !isAlive(pid));
    }));
});

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ESRCH") return false;
    throw error;
  }
}
