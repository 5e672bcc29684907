/**
 * `nats-server` for the tests: found on this machine, or brought into the project's cache. Run as a program it prints where it is
 * (`node --import tsx scripts/nats-server.ts`); a run before the tests spares the first of them the waiting.
 */
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { installNatsServer } from "../src/cli/cluster/nats-install.ts";
import { findNatsServer, type NatsServerProgram } from "../src/cli/cluster/nats-server.ts";

const cacheDirectory = fileURLToPath(new URL("../.cache/nats-server", import.meta.url));

/** Throws an error that says what to install where there is none and none can be had. */
export async function natsServerForTests(
  progress: (sentence: string) => void = () => undefined,
): Promise<NatsServerProgram> {
  const search = { environment: process.env, cacheDirectory };
  return (await findNatsServer(search)) ?? (await installNatsServer({ ...search, progress }));
}

if (process.argv[1] !== undefined && join(process.argv[1]) === fileURLToPath(import.meta.url)) {
  const { path, version } = await natsServerForTests((sentence) => console.error(sentence));
  console.log(`${path} (${version})`);
}
