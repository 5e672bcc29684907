/** What the benchmark ran on, for whoever reads the figures. */
import { execFile } from "node:child_process";
import { arch, availableParallelism, cpus, platform, release, totalmem } from "node:os";
import { promisify } from "node:util";

export interface MachineFacts {
  readonly processor: string;
  readonly processors: number;
  readonly memoryGiB: number;
  readonly system: string;
  readonly node: string;
  /** The commit of the sources and whether they differ from it; undefined outside of a repository. */
  readonly commit: string | undefined;
}

export async function machineFacts(): Promise<MachineFacts> {
  return {
    processor: cpus()[0]?.model.trim() ?? "unknown",
    processors: availableParallelism(),
    memoryGiB: Math.round(totalmem() / 1024 ** 3),
    system: `${platform()} ${release()} ${arch()}`,
    node: process.version,
    commit: await commit(),
  };
}

async function commit(): Promise<string | undefined> {
  try {
    const { stdout } = await promisify(execFile)("git", ["describe", "--always", "--dirty"]);
    return stdout.trim();
  } catch (error) {
    // Without git or a repository there is nothing to tell; anything else would be a bug here.
    if (error instanceof Error && "code" in error) return undefined;
    throw error;
  }
}
