/**
 * What a data directory is: of one embedded node, or of a cluster's node. What one has written the other would neither find nor respect, so
 * each refuses what is the other's.
 */
import { OnefoldError } from "../base/errors.ts";
import { type Disk, DiskError } from "../host/host.ts";
import { dataLayout } from "./data-layout.ts";
import { assertNoUnfinishedRestore } from "./restore-place.ts";

export type DirectoryRole = "embedded" | "member";

const marks: Readonly<Record<DirectoryRole, string>> = { embedded: dataLayout.log, member: dataLayout.system };

/**
 * The caller holds the directory's lock. Throws `invalid-configuration` (retry never) for a directory of the other role, and for one that a
 * restore has not finished.
 */
export async function assertRole(disk: Disk, role: DirectoryRole): Promise<void> {
  const names = await disk.list("");
  assertNoUnfinishedRestore(names);
  const other: DirectoryRole = role === "embedded" ? "member" : "embedded";
  if (!names.includes(marks[other])) return;
  const message =
    role === "embedded"
      ? "The data directory is a cluster node's. Start it with --cluster, or choose another one with --data."
      : "The data directory is an embedded node's. Move that to a cluster with `onefold promote`, or choose another one with --data.";
  throw new OnefoldError("invalid-configuration", message);
}

/** Throws `data-directory-busy` (retry safe) where another process has it. */
export async function lockDirectory(disk: Disk): Promise<{ release(): Promise<void> }> {
  try {
    return await disk.lock(dataLayout.lock);
  } catch (cause) {
    if (!(cause instanceof DiskError) || cause.code !== "busy") throw cause;
    throw new OnefoldError("data-directory-busy", `Another process uses the data directory: ${cause.message}`, {
      cause,
    });
  }
}
