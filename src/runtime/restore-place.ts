/**
 * The place that a restore makes a data directory in: below the directory itself (which may be a mount point, and can then be
 * neither renamed nor replaced), under a name of its own, until all of it is durable and verified.
 *
 * P1  Only an empty directory is taken, or one in which nothing but an earlier restore has failed.
 * P2  The log is what makes a data directory, and it comes last, by one rename. Until then a start refuses the directory
 *     (`assertNoUnfinishedRestore`), and another restore begins anew in it; from then on it is whole.
 *
 *     empty ──> restoring/{snapshots,log} ──> snapshots, restoring/log ──> snapshots, log
 *     `──────────── not opened by anybody but a restore ───────────┘      `─ whole
 */
import { OnefoldError } from "../base/errors.ts";
import type { Disk } from "../host/host.ts";
import { dataLayout } from "./data-layout.ts";

const { lock, log, restoring, snapshots } = dataLayout;

/** Of the parts below `restoring`. */
export const restorePlace = { log: `${restoring}/${log}`, snapshots: `${restoring}/${snapshots}` } as const;

/** What file systems themselves put into a directory that is a whole volume. */
const foreign = new Set(["lost+found"]);

/**
 * `names` are what is in the data directory. Throws `invalid-configuration` (retry never) where a restore has failed and not been done
 * again.
 */
export function assertNoUnfinishedRestore(names: readonly string[]): void {
  if (!isUnfinished(names)) return;
  throw new OnefoldError(
    "invalid-configuration",
    "A restore into this data directory has not been finished. Run `onefold restore` again, or delete the directory.",
  );
}

/** P1: makes an empty place. Throws `invalid-configuration` (retry never) for a directory with anything else in it. */
export async function makeRestorePlace(disk: Disk): Promise<void> {
  const names = await disk.list("");
  const ours: readonly string[] = isUnfinished(names) ? [lock, restoring, snapshots] : [lock];
  const others = names.filter((name) => !ours.includes(name) && !foreign.has(name));
  if (others.length > 0) {
    throw new OnefoldError(
      "invalid-configuration",
      `A backup is restored into an empty directory only, and this one has ${others.slice(0, 3).join(", ")} in it. Choose another with --data.`,
    );
  }
  await clearRestorePlace(disk);
  await disk.makeDirectory(restorePlace.snapshots);
  await disk.makeDirectory(restorePlace.log);
  await disk.syncDirectory(restoring);
  // P2: from here on a start refuses the directory, also after a crash.
  await disk.syncDirectory("");
}

/** Puts the parts, which are durable, in their places. At return the directory is whole, durably. */
export async function takeRestorePlace(disk: Disk): Promise<void> {
  await move(disk, restorePlace.snapshots, snapshots);
  await move(disk, restorePlace.log, log);
  await disk.remove(restoring);
  await disk.syncDirectory("");
}

/** Undoes all that a restore that is not finished has done. */
export async function clearRestorePlace(disk: Disk): Promise<void> {
  if (!isUnfinished(await disk.list(""))) return;
  for (const directory of [restorePlace.log, restorePlace.snapshots, snapshots]) {
    for (const name of await disk.list(directory)) await disk.remove(`${directory}/${name}`);
    await disk.remove(directory);
  }
  // What is in its place is gone, durably, before the mark that says what it was.
  await disk.syncDirectory("");
  await disk.remove(restoring);
  await disk.syncDirectory("");
}

async function move(disk: Disk, from: string, to: string): Promise<void> {
  await disk.rename(from, to);
  await disk.syncDirectory("");
  await disk.syncDirectory(restoring);
}

function isUnfinished(names: readonly string[]): boolean {
  return names.includes(restoring) && !names.includes(log);
}
