/**
 * Where the program of the engine's servers is: `nats-server`, new enough to keep what it acknowledges (`versionMin`; docs/engine-nats.md
 * says which repairs that is about). Looks at what is there, and changes nothing.
 */
import { execFile } from "node:child_process";
import { access, constants, readdir } from "node:fs/promises";
import { delimiter, join } from "node:path";
import { promisify } from "node:util";
import { isVersionAtLeast, parseServerVersion, versionMin } from "../../log/engine/nats/server-version.ts";

const execute = promisify(execFile);
const versionMs = 10_000;

export const programName = "nats-server";

export interface NatsServerProgram {
  readonly path: string;
  readonly version: string;
}

export interface NatsServerSearch {
  /** The variables of the process: `NATS_SERVER` and `PATH` count. */
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** Where `nats-install.ts` has put programs, each in a folder of its own. */
  readonly cacheDirectory: string;
}

/**
 * `$NATS_SERVER`, or the first on the path that is new enough, or the newest of the cache. Undefined where there is none. Throws where
 * `$NATS_SERVER` is set and is no such program: who names one means that one.
 */
export async function findNatsServer(search: NatsServerSearch): Promise<NatsServerProgram | undefined> {
  const { environment, cacheDirectory } = search;
  const { NATS_SERVER: named, PATH: path = "" } = environment;
  if (named !== undefined && named !== "") {
    const version = await natsServerVersion(named);
    if (version === undefined) throw new Error(`NATS_SERVER is ${named}, which is no nats-server that runs here.`);
    if (!isVersionAtLeast(version, versionMin)) {
      throw new Error(`NATS_SERVER is version ${version}; it must be ${versionMin} or newer.`);
    }
    return { path: named, version };
  }
  const onPath = path.split(delimiter).filter((directory) => directory !== "");
  for (const directory of [...onPath, ...(await cachedDirectories(cacheDirectory))]) {
    const found = await usableProgram(join(directory, programName));
    if (found !== undefined) return found;
  }
  return undefined;
}

/** The program at `path`, if one is there, runs, and is new enough. */
export async function usableProgram(path: string): Promise<NatsServerProgram | undefined> {
  try {
    await access(path, constants.X_OK);
  } catch (error) {
    if (isSystemError(error)) return undefined;
    throw error;
  }
  const version = await natsServerVersion(path);
  return version !== undefined && isVersionAtLeast(version, versionMin) ? { path, version } : undefined;
}

/** Undefined for what can't be run, or tells no version. */
async function natsServerVersion(path: string): Promise<string | undefined> {
  try {
    const { stdout } = await execute(path, ["--version"], { timeout: versionMs });
    return parseServerVersion(stdout);
  } catch (error) {
    // Built for another machine, not a program, or hanging: it is not what is looked for.
    if (error instanceof Error && "code" in error) return undefined;
    throw error;
  }
}

async function cachedDirectories(cacheDirectory: string): Promise<string[]> {
  try {
    const names = await readdir(cacheDirectory);
    const versions = names.filter((name) => parseServerVersion(name) === name);
    versions.sort((a, b) => (isVersionAtLeast(a, b) ? -1 : 1));
    return versions.map((version) => join(cacheDirectory, version));
  } catch (error) {
    if (isSystemError(error)) return [];
    throw error;
  }
}

export function isSystemError(error: unknown): error is NodeJS.ErrnoException {
  return error instanceof Error && "code" in error && typeof error.code === "string" && /^E[A-Z]+$/.test(error.code);
}
