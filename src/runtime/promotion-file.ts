/**
 * What a data directory says of its system's move to a cluster: where to, and whether it is done. Beside it stands the node's copy of that
 * cluster's system log.
 *
 * PR1 It is durable before anything is done in the engine that it names, so that a node which starts on a sealed log knows whom to ask.
 * PR2 `moved` is written only of what the system log has said. It saves asking; without it the engine is asked again.
 */
import { decodeUtf8, encodeUtf8 } from "../base/bytes.ts";
import { OnefoldError } from "../base/errors.ts";
import { type Disk, DiskError } from "../host/host.ts";
import type { PromotionTarget } from "../wire/promotion.ts";
import { dataLayout } from "./data-layout.ts";
import { readFile } from "./suspects-file.ts";

export interface PromotionFile {
  /** With its credentials: the directory holds secrets anyway. */
  readonly target: PromotionTarget;
  /** The cluster's id: the incarnation of the log that moves, as hex. */
  readonly cluster: string;
  readonly status: "moving" | "moved";
  /** Where clients reach the cluster's nodes, as far as was known then. */
  readonly nodes: readonly string[];
}

const path = `${dataLayout.promotion}/move.json`;
/** Of the copy of the system log. */
export const promotionSystemDirectory = `${dataLayout.promotion}/system`;

/** Undefined where no move was ever begun. Throws `damaged` (retry never), `DiskError`. */
export async function readPromotionFile(disk: Disk): Promise<PromotionFile | undefined> {
  let bytes: Uint8Array;
  try {
    bytes = await readFile(disk, path);
  } catch (error) {
    if (error instanceof DiskError && error.code === "not-found") return undefined;
    throw error;
  }
  try {
    return JSON.parse(decodeUtf8(bytes)) as PromotionFile;
  } catch (cause) {
    throw new OnefoldError(
      "damaged",
      `The file ${path} can't be understood. It says which cluster the system moves to.`,
      {
        cause,
      },
    );
  }
}

/** Durable at return. Throws `DiskError`. */
export async function writePromotionFile(disk: Disk, content: PromotionFile): Promise<void> {
  await disk.makeDirectory(dataLayout.promotion);
  const next = `${path}.new`;
  const file = await disk.open(next, { create: "always" });
  try {
    await file.truncate(0);
    await file.writeDurable(0, encodeUtf8(`${JSON.stringify(content)}\n`));
  } finally {
    await file.close();
  }
  await disk.rename(next, path);
  await disk.syncDirectory(dataLayout.promotion);
  await disk.syncDirectory("");
}

/** Forgets an earlier attempt's copy of a system log, which may be another engine's. */
export async function clearPromotionCopy(disk: Disk): Promise<void> {
  for (const log of await disk.list(promotionSystemDirectory)) {
    for (const name of await disk.list(`${promotionSystemDirectory}/${log}`)) {
      await disk.remove(`${promotionSystemDirectory}/${log}/${name}`);
    }
    await disk.remove(`${promotionSystemDirectory}/${log}`);
  }
}
