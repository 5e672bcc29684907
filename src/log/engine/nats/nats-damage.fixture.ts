/**
 * Damage to a server's files, done while it is down: what disks and file systems do, and what JetStream does not notice
 * (docs/engine-nats.md, "Damage"). For tests of whoever reads logs.
 */
import { readdir, readFile, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";

/** Where a server keeps one stream, and the Raft log behind it. */
export interface StreamFiles {
  /** As `NatsCluster.storeDirectoryOf` gives it. */
  readonly storeDirectory: string;
  readonly stream: string;
  /** As `STREAM.INFO` tells it. */
  readonly raftGroup: string;
}

/** The account of the plan (`nats-plan.ts`), and the servers' own. */
const [account, systemAccount] = ["ONEFOLD", "SYS"];

/** Cuts each file of messages in half, as after a crash of a file system that lost what was not synced. Returns how many. */
export async function halveBlocks(files: StreamFiles): Promise<number> {
  return cutBlocks(messageDirectory(files), 1 / 2);
}

/** Cuts the Raft log to a part. Only after a kill does it hold anything: a graceful stop compacts it. Returns how many files. */
export async function cutRaftLog(files: StreamFiles, part: number): Promise<number> {
  return cutBlocks(join(files.storeDirectory, "jetstream", systemAccount, "_js_", files.raftGroup, "msgs"), part);
}

/** Inverts one bit of a stored record, the first that contains `marker`. Throws where none does. */
export async function flipBit(files: StreamFiles, marker: Uint8Array): Promise<void> {
  const directory = messageDirectory(files);
  for (const name of await blocks(directory)) {
    const path = join(directory, name);
    const bytes = await readFile(path);
    const at = bytes.indexOf(marker);
    if (at < 0) continue;
    bytes[at]! ^= 1;
    await writeFile(path, bytes);
    return;
  }
  throw new Error(`No file of ${directory} contains the marker.`);
}

function messageDirectory({ storeDirectory, stream }: StreamFiles): string {
  return join(storeDirectory, "jetstream", account!, "streams", stream, "msgs");
}

async function blocks(directory: string): Promise<string[]> {
  const names = await readdir(directory);
  return names.filter((name) => name.endsWith(".blk")).sort();
}

async function cutBlocks(directory: string, part: number): Promise<number> {
  const names = await blocks(directory);
  for (const name of names) {
    const path = join(directory, name);
    const { length } = await readFile(path);
    await truncate(path, Math.floor(length * part));
  }
  return names.length;
}
