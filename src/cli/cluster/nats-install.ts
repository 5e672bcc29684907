/**
 * Brings `nats-server` into a cache, where the machine has none that is new enough. The system is left as it is: a package is unpacked, not
 * installed.
 *
 * 1. From the machine's own mirror of Debian's packages, a newer suite than the machine's if need be.
 * 2. With Go, from its module proxy, built here.
 */
import { execFile } from "node:child_process";
import { mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { isVersionAtLeast, parseServerVersion, versionMin } from "../../log/engine/nats/server-version.ts";
import { isSystemError, type NatsServerProgram, programName, usableProgram } from "./nats-server.ts";

const execute = promisify(execFile);

/** In this order: the first that has a version that is new enough. */
const suites = ["trixie", "forky", "sid"];
const keyring = "/usr/share/keyrings/debian-archive-keyring.gpg";
const lookMs = 10_000;
const updateMs = 120_000;
const downloadMs = 120_000;
/** Compiling takes a minute on two cores. */
const buildMs = 600_000;

export interface NatsServerInstallation {
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly cacheDirectory: string;
  /** Told what is being tried, a sentence each: it may take a minute. */
  readonly progress: (sentence: string) => void;
}

/** Throws an error that says what to install by hand where no way works. */
export async function installNatsServer(options: NatsServerInstallation): Promise<NatsServerProgram> {
  const { cacheDirectory, progress } = options;
  await mkdir(cacheDirectory, { recursive: true });
  const work = await mkdtemp(join(cacheDirectory, "work-"));
  const failures: string[] = [];
  try {
    for (const [way, bring] of [
      ["Debian's packages", fromDebian],
      ["Go", fromGo],
    ] as const) {
      progress(`Looking for nats-server ${versionMin} or newer by way of ${way}.`);
      try {
        const path = await bring(work, options);
        const program = path === undefined ? undefined : await usableProgram(path);
        if (program !== undefined) return await keep(program, cacheDirectory);
        failures.push(`${way} has none that is new enough and runs here.`);
      } catch (error) {
        if (!(error instanceof Error)) throw error;
        failures.push(`${way}: ${error.message.trim().split("\n")[0]}`);
      }
    }
  } finally {
    await rm(work, { recursive: true, force: true });
  }
  throw new Error(
    `nats-server ${versionMin} or newer is needed and could not be brought here (${failures.join("; ")}). ` +
      "Install it, and put it on the path or name it in NATS_SERVER.",
  );
}

async function keep({ path, version }: NatsServerProgram, cacheDirectory: string): Promise<NatsServerProgram> {
  const directory = join(cacheDirectory, version);
  await mkdir(directory, { recursive: true });
  // Renamed, so that whoever looks sees a whole program or none; two who install at once each put a whole one there.
  await rename(path, join(directory, programName));
  return { path: join(directory, programName), version };
}

/** The path of the program, unpacked below `work`; undefined where no suite has one that is new enough. Throws where apt does. */
async function fromDebian(work: string, { progress }: NatsServerInstallation): Promise<string | undefined> {
  const mirror = await debianMirror();
  if (mirror === undefined) return undefined;
  for (const suite of suites) {
    const directory = join(work, suite);
    for (const name of ["lists/partial", "archives/partial", "tree"]) {
      await mkdir(join(directory, name), { recursive: true });
    }
    const sources = join(directory, "suite.sources");
    await writeFile(
      sources,
      `Types: deb\nURIs: ${mirror}\nSuites: ${suite}\nComponents: main\nTargets: Packages\nSigned-By: ${keyring}\n`,
    );
    const options = aptOptions(directory, sources);
    await execute("apt-get", [...options, "update"], { timeout: updateMs });
    const { stdout } = await execute("apt-cache", [...options, "show", "--no-all-versions", programName], {
      timeout: lookMs,
    });
    const version = parseServerVersion(/^Version: (.*)$/m.exec(stdout)?.[1] ?? "");
    if (version === undefined || !isVersionAtLeast(version, versionMin)) continue;
    progress(`Taking nats-server ${version} from ${suite}.`);
    await execute("apt-get", [...options, "download", programName], { cwd: directory, timeout: downloadMs });
    const file = (await readdir(directory)).find((name) => name.endsWith(".deb"));
    if (file === undefined) throw new Error("apt-get has downloaded nothing.");
    const tree = join(directory, "tree");
    await execute("dpkg-deb", ["-x", join(directory, file), tree], { timeout: downloadMs });
    for (const folder of ["usr/sbin", "usr/bin"]) {
      const program = await usableProgram(join(tree, folder, programName));
      if (program !== undefined) return program.path;
    }
  }
  return undefined;
}

/** Everything of apt's that would touch the system's own state is moved to `directory`. */
function aptOptions(directory: string, sources: string): string[] {
  const settings = {
    "Dir::Etc::sourcelist": sources,
    "Dir::Etc::sourceparts": "-",
    "Dir::State::lists": join(directory, "lists"),
    "Dir::Cache": directory,
    "Acquire::Languages": "none",
    "APT::Sandbox::User": "",
  };
  return Object.entries(settings).flatMap(([name, value]) => ["-o", `${name}=${value}`]);
}

/** Where this machine gets its own release from; undefined where it isn't Debian. */
async function debianMirror(): Promise<string | undefined> {
  let release: string;
  try {
    release = await readFile("/etc/os-release", "utf8");
  } catch (error) {
    if (isSystemError(error)) return undefined;
    throw error;
  }
  const codename = /^VERSION_CODENAME="?([a-z]+)"?$/m.exec(release)?.[1];
  if (codename === undefined || !/^ID="?debian"?$/m.test(release)) return undefined;
  const { stdout } = await execute("apt-get", ["--print-uris", "update"], { timeout: lookMs });
  return new RegExp(`^'(\\S+)/dists/${codename}/InRelease'`, "m").exec(stdout)?.[1];
}

async function fromGo(work: string, { environment, progress }: NatsServerInstallation): Promise<string> {
  const directory = join(work, "go");
  progress(`Building nats-server ${versionMin} with Go; this takes a minute or more.`);
  await execute("go", ["install", `github.com/nats-io/nats-server/v2@v${versionMin}`], {
    env: { ...environment, GOBIN: directory },
    timeout: buildMs,
  });
  return join(directory, programName);
}
