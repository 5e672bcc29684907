/**
 * What a node remembers on its own disk of the system log: the last record that it has verified (G8). Another log, or an older state of
 * this one, does not hold that record's hash there. The file is that of a segment log's anchors (`docs/format.md`).
 */
import type { Disk, Trace } from "../host/host.ts";
import { DiskError } from "../host/host.ts";
import { AnchorFile, anchorFileBytes, decodeUnfinishedAnchorFile } from "../log/engine/segment/anchors.ts";
import { anchorFileName } from "../log/engine/segment/format.ts";

/**
 * Opens the file in `directory`, or makes it: a new node has none, and one that died while it made it has half of one. Throws `damaged`
 * (retry never) where there are anchors that can't be read, `DiskError`.
 */
export async function openSystemAnchor(disk: Disk, directory: string, trace: Trace): Promise<AnchorFile> {
  await disk.makeDirectory(directory);
  return (await holdsAnchors(disk, directory))
    ? AnchorFile.open(disk, directory, trace)
    : AnchorFile.create(disk, directory);
}

async function holdsAnchors(disk: Disk, directory: string): Promise<boolean> {
  try {
    const file = await disk.open(`${directory}/${anchorFileName}`);
    try {
      return decodeUnfinishedAnchorFile(await file.read(0, anchorFileBytes)) !== undefined;
    } finally {
      await file.close();
    }
  } catch (error) {
    if (error instanceof DiskError && error.code === "not-found") return false;
    throw error;
  }
}
