/** Redis as the benchmark runs it: every write synced before it is answered, nothing else changed but snapshots, which are off. */
import { mkdir } from "node:fs/promises";
import { type DatabaseServer, findProgram, freePort, installPackage, run, startServer } from "./server-process.ts";

/** Starts Redis on loopback with its data in `directory`, which is made. Rejects where there is none and none can be installed. */
export async function startRedis(directory: string): Promise<DatabaseServer> {
  const path = await redisPath();
  await mkdir(directory, { recursive: true });
  const port = await freePort();
  const settings = {
    bind: "127.0.0.1",
    port: String(port),
    dir: directory,
    appendonly: "yes",
    appendfsync: "always",
    // The append-only file has it all; snapshots beside it would only cost Redis time.
    save: "",
    daemonize: "no",
  };
  const args = Object.entries(settings).flatMap(([name, value]) => [`--${name}`, value]);
  const { close } = await startServer({ path, args, readyText: "Ready to accept connections", endSignal: "SIGTERM" });
  const version = /v=(\S+)/.exec(await run(path, ["--version"]))?.[1] ?? "of unknown version";
  return { port, version: `Redis ${version}, appendfsync always`, close };
}

async function redisPath(): Promise<string> {
  const found = await findProgram("redis-server");
  if (found !== undefined) return found;
  await installPackage("redis-server");
  const installed = await findProgram("redis-server");
  if (installed === undefined) throw new Error("redis-server was installed, but is not on the PATH.");
  return installed;
}
