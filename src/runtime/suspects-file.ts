/** The file `suspects` in a data directory: read by the node that starts there, and by an operator. */
import type { Limits } from "../base/limits.ts";
import type { Disk, Host } from "../host/host.ts";
import { parseSuspects, type Suspects, suspectsBytes } from "../entity/suspects.ts";
import { dataLayout } from "./data-layout.ts";

/** Larger than any file of suspects that is within its limits. */
const fileBytesMax = 8 * 1024 * 1024;

/** What the file holds; none where it can't be understood, which is traced. Throws `DiskError`, also where there is no file. */
export async function readSuspects({ disk, trace }: Pick<Host, "disk" | "trace">, limits: Limits): Promise<Suspects> {
  const suspects = parseSuspects(await readFile(disk, dataLayout.suspects), limits);
  if (suspects !== undefined) return suspects;
  const message =
    "The file of suspects can't be understood; every entity is served, and deaths of the process are counted anew.";
  trace("warn", message, { file: dataLayout.suspects });
  return new Map();
}

/** Replaces the file, durably. Throws `DiskError`. */
export async function writeSuspects(disk: Disk, suspects: Suspects): Promise<void> {
  const next = `${dataLayout.suspects}.new`;
  const file = await disk.open(next, { create: "always" });
  try {
    await file.truncate(0);
    await file.writeDurable(0, suspectsBytes(suspects));
  } finally {
    await file.close();
  }
  await disk.rename(next, dataLayout.suspects);
  await disk.syncDirectory("");
}

/** The whole of a file that is small. Throws `DiskError`. */
export async function readFile(disk: Disk, path: string): Promise<Uint8Array> {
  const file = await disk.open(path);
  try {
    return await file.read(0, Math.min(await file.size(), fileBytesMax));
  } finally {
    await file.close();
  }
}
