/** `onefold quarantine`: shows which entities ended a node's process, and lets them serve again. On the data directory itself. */
import { stat } from "node:fs/promises";
import { join, resolve } from "node:path";
import { OnefoldError } from "../base/errors.ts";
import { limits } from "../base/limits.ts";
import { type Suspect, type Suspects, suspectViews, without } from "../entity/suspects.ts";
import { DiskError, type Host } from "../host/host.ts";
import { nodeHost } from "../host/node/host.ts";
import { dataLayout } from "../runtime/data-layout.ts";
import { readSuspects, writeSuspects } from "../runtime/suspects-file.ts";
import { splitEntityPath } from "./entity-path.ts";
import { CommandFailure, exitCodes } from "./exit-code.ts";
import type { Output } from "./output.ts";
import { printableLine, timeText } from "./text.ts";

export interface QuarantineOptions {
  readonly data: string;
  /** Only entities of this tenant. */
  readonly tenant?: string;
  readonly json?: boolean;
}

/** Prints suspects, those in quarantine first; also while the node runs. Throws `CommandFailure` (usage) where there is no data. */
export async function listQuarantine(options: QuarantineOptions, output: Output): Promise<void> {
  const suspects = await suspectsIn(await hostOf(options));
  const meant = [...suspects.values()].filter(
    ({ tenant }) => options.tenant === undefined || tenant === options.tenant,
  );
  const shown = suspectViews(meant, limits);
  if (options.json === true) return output.result(JSON.stringify({ suspects: shown }));
  if (shown.length === 0) return output.result("No entity is in quarantine, and none is a suspect.");
  for (const suspect of shown) output.result(suspectText(suspect));
}

/**
 * Lets an entity serve again, from the next start of the node on; its deaths are forgotten. The node must not be running. Throws
 * `CommandFailure`: `usage` where there is no data or no such suspect; and `data-directory-busy` (retry safe).
 */
export async function liftQuarantine(path: string, options: QuarantineOptions, output: Output): Promise<void> {
  const host = await hostOf(options);
  const { kind, id } = splitEntityPath(path);
  const lock = await lockData(host);
  try {
    const suspects = await suspectsIn(host);
    const isMeant = (suspect: Suspect): boolean =>
      suspect.kind === kind && suspect.id === id && (options.tenant === undefined || suspect.tenant === options.tenant);
    const left = without(suspects, isMeant);
    if (left.size === suspects.size) {
      const message = `${path} is not in quarantine. 'onefold quarantine ls' shows what is.`;
      throw new CommandFailure(exitCodes.usage, message);
    }
    await writeSuspects(host.disk, left);
    const lifted = suspects.size - left.size;
    if (options.json === true) output.result(JSON.stringify({ lifted, kind, id }));
    else output.result(`${printableLine(path)} serves again when the node starts.`);
  } finally {
    await lock.release();
  }
}

async function hostOf({ data }: QuarantineOptions): Promise<Host> {
  const dataDirectory = resolve(data);
  try {
    await stat(join(dataDirectory, dataLayout.log));
  } catch (cause) {
    const code = cause instanceof Error && "code" in cause ? String(cause.code) : String(cause);
    throw new CommandFailure(exitCodes.usage, `There is no Onefold data in ${data} (${code}). Name it with --data.`, {
      cause,
    });
  }
  return nodeHost({ dataDirectory });
}

async function suspectsIn(host: Host): Promise<Suspects> {
  try {
    return await readSuspects(host, limits);
  } catch (error) {
    if (error instanceof DiskError && error.code === "not-found") return new Map();
    throw error;
  }
}

async function lockData({ disk }: Host): Promise<{ release(): Promise<void> }> {
  try {
    return await disk.lock(dataLayout.lock);
  } catch (cause) {
    if (!(cause instanceof DiskError) || cause.code !== "busy") throw cause;
    throw new OnefoldError("data-directory-busy", `Stop the node first: ${cause.message}`, { cause });
  }
}

/** A line for people. */
export function suspectText(suspect: Suspect & { readonly isInQuarantine: boolean }): string {
  const { tenant, kind, id, what, deaths, lastDeathMs, isInQuarantine } = suspect;
  const state = isInQuarantine ? "quarantined" : "suspect";
  const count = deaths === 1 ? "1 death" : `${deaths} deaths`;
  const where = `${kind}/${id}${tenant === "default" ? "" : ` of tenant ${tenant}`}`;
  return printableLine(
    `${state.padEnd(12)}${where}: ${count} of the process, the last in ${what} at ${timeText(lastDeathMs)}`,
  );
}
