/** PostgreSQL as it comes: a fresh cluster with default settings (so `fsync` and `synchronous_commit` are on), on loopback. */
import { chown, mkdir, readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import {
  type DatabaseServer,
  findProgram,
  freePort,
  installPackage,
  run,
  type ServerIdentity,
  startServer,
} from "./server-process.ts";

const packagedRoot = "/usr/lib/postgresql";

/**
 * Makes a cluster in `directory` and starts PostgreSQL on it; anybody on this machine may connect as `bench`. PostgreSQL refuses to be
 * root: then it runs as the user `postgres`, else `nobody`, so the folders above `directory` must let others through.
 * Rejects where there is none and none can be installed.
 */
export async function startPostgres(directory: string): Promise<DatabaseServer> {
  const [initdb, postgres] = await programs();
  const identity = await unprivileged();
  await mkdir(directory, { recursive: true, mode: 0o700 });
  if (identity !== undefined) await chown(directory, identity.uid, identity.gid);
  const data = join(directory, "data");
  const initial = ["--auth=trust", "--username=bench", "--encoding=UTF8", "--locale=C", "--no-sync"];
  await run(initdb, [...initial, `--pgdata=${data}`], identity);
  const port = await freePort();
  const { close } = await startServer({
    path: postgres,
    args: ["-D", data, "-h", "127.0.0.1", "-p", String(port), "-k", directory],
    identity,
    readyText: "database system is ready to accept connections",
    // A "fast shutdown": ends what is open, then writes everything down.
    endSignal: "SIGINT",
  });
  const version = (await run(postgres, ["--version"], identity)).replace("postgres (PostgreSQL)", "").trim();
  return { port, version: `PostgreSQL ${version}, default settings`, close };
}

async function programs(): Promise<readonly [initdb: string, postgres: string]> {
  const found = await findPostgres();
  if (found !== undefined) return found;
  await installPackage("postgresql");
  const installed = await findPostgres();
  if (installed === undefined) throw new Error("postgresql was installed, but its programs were not found.");
  return installed;
}

/** The paths of `initdb` and `postgres`; undefined where they are not installed. Debian keeps them out of the PATH, in a folder for each version; the newest one is taken. */
export async function findPostgres(): Promise<readonly [initdb: string, postgres: string] | undefined> {
  const versions = await readdir(packagedRoot).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return [];
    throw error;
  });
  const folders = versions.sort((a, b) => Number(b) - Number(a)).map((version) => join(packagedRoot, version, "bin"));
  const initdb = await findProgram("initdb", folders);
  const postgres = await findProgram("postgres", folders);
  return initdb === undefined || postgres === undefined ? undefined : [initdb, postgres];
}

/** Undefined where this process is nobody special. */
async function unprivileged(): Promise<ServerIdentity | undefined> {
  if (process.getuid?.() !== 0) return undefined;
  const users = await readFile("/etc/passwd", "utf8");
  for (const name of ["postgres", "nobody"]) {
    const [, , uid, gid] =
      users
        .split("\n")
        .find((line) => line.startsWith(`${name}:`))
        ?.split(":") ?? [];
    if (uid !== undefined && gid !== undefined) return { uid: Number(uid), gid: Number(gid) };
  }
  throw new Error("PostgreSQL refuses to run as root, and there is neither a user postgres nor a user nobody.");
}
