/**
 * `onefold backup`: all that a node holds, as one file or stream. Of a running node over HTTP, of a stopped one from its data
 * directory.
 *
 * BK1  What is written is verified as it passes, and a file is read back: done means that it can be restored.
 */
import { stat } from "node:fs/promises";
import { join, resolve } from "node:path";
import { BackupContents } from "../backup/contents.ts";
import { BackupDecoder, type WholeBackup } from "../backup/decoder.ts";
import { backupContentType } from "../backup/format.ts";
import { type AnySummary, isOfCluster } from "../backup/summary.ts";
import { toHex } from "../base/bytes.ts";
import { limits } from "../base/limits.ts";
import type { LogPosition } from "../log/log.ts";
import { dataLayout } from "../runtime/data-layout.ts";
import { verifyBackup } from "../runtime/restore.ts";
import { backUpDataDirectory } from "../runtime/stopped-backup.ts";
import { type BackupDestination, openDestination } from "./backup-destination.ts";
import { CommandFailure, exitCodes } from "./exit-code.ts";
import { type NodeOptions, streamNode } from "./node-client.ts";
import type { Output } from "./output.ts";
import { bytesText } from "./text.ts";

export interface BackupOptions extends NodeOptions {
  /** A new file, or `-`. */
  readonly output: string;
  /** The directory of a stopped node. */
  readonly data?: string;
}

/**
 * Prints what was backed up. Throws `CommandFailure` and `OnefoldError`; nothing is left of a file then. On the standard output
 * whatever came of it is no backup, and is found out to be none.
 */
export async function backup(options: BackupOptions, output: Output): Promise<void> {
  const isStream = options.output === "-";
  if (isStream && options.json === true) {
    throw new CommandFailure(exitCodes.usage, "The backup takes the standard output; --json needs a file.");
  }
  if (options.data !== undefined) await assertData(options.data);
  const destination = await openDestination(options.output);
  const interrupted = listenForInterrupt();
  try {
    const whole = await write(options, destination, output, interrupted.signal);
    await verifyWritten(destination, whole, output);
    interrupted.signal.throwIfAborted();
    await destination.keep();
    interrupted.end();
    output.progress("");
    if (options.json === true) output.result(JSON.stringify(plainBackup(whole, options.output)));
    else (isStream ? output.note : output.result)(backupText(whole, isStream ? "the standard output" : options.output));
  } catch (error) {
    await destination.drop();
    output.progress("");
    interrupted.end();
    throw translated(error);
  }
}

async function write(
  options: BackupOptions,
  destination: BackupDestination,
  output: Output,
  signal: AbortSignal,
): Promise<WholeBackup> {
  const decoder = new BackupDecoder();
  const contents = new BackupContents();
  const progress = new ProgressText("Backing up", output);
  const pass = async (bytes: Uint8Array, bytesTotal?: number): Promise<void> => {
    signal.throwIfAborted();
    for (const blob of decoder.push(bytes)) contents.note(blob);
    await destination.write(bytes);
    progress.show(decoder.sizeBytes, bytesTotal);
  };
  if (options.data === undefined) {
    const { body, sizeBytes } = await streamNode({
      node: options,
      path: "/v1/backup",
      contentType: backupContentType,
      // The snapshot that it begins with may take a while.
      headers: [`Onefold-Deadline-Ms: ${limits.deadlineMsMax}`],
      signal,
    });
    for await (const chunk of readStream(body)) await pass(chunk, sizeBytes);
  } else {
    await backUpDataDirectory({ dataDirectory: resolve(options.data), write: pass });
  }
  const whole = decoder.end();
  contents.manifests(whole);
  return whole;
}

/** The node's bytes; a connection that breaks is told from a destination that fails. */
async function* readStream(body: AsyncIterable<Uint8Array>): AsyncIterable<Uint8Array> {
  const chunks = body[Symbol.asyncIterator]();
  try {
    for (;;) {
      const next = await chunks.next().catch((cause: unknown) => {
        throw brokenStream(cause);
      });
      if (next.done === true) return;
      yield next.value;
    }
  } finally {
    await chunks.return?.();
  }
}

function brokenStream(cause: unknown): CommandFailure {
  const reason = cause instanceof Error ? cause.message : String(cause);
  const message = `The node ended the backup in the middle (${reason}). Its log says why; nothing was kept.`;
  return new CommandFailure(exitCodes.tryLater, message, { cause });
}

/** BK1. */
async function verifyWritten(destination: BackupDestination, whole: WholeBackup, output: Output): Promise<void> {
  const written = await destination.written();
  if (written === undefined) return;
  const progress = new ProgressText("Verifying", output);
  await verifyBackup(written, (bytes) => progress.show(bytes, whole.sizeBytes));
}

interface Interrupts {
  readonly signal: AbortSignal;
  /** Ends the process as the signal would have, if there was one; else only listens no more. */
  end(): void;
}

/** What a shell reports for a program that a signal ended: 128 and the signal's number. */
const signalExitCodes = { SIGTERM: 143, SIGINT: 130 } as const;

/** Ctrl-C ends it in good order, so that nothing half-written stays. */
function listenForInterrupt(): Interrupts {
  const controller = new AbortController();
  let exitCode: number | undefined;
  const listeners = (["SIGINT", "SIGTERM"] as const).map((name) => {
    const abort = (): void => {
      exitCode ??= signalExitCodes[name];
      controller.abort(new CommandFailure(exitCodes.refused, "Interrupted; nothing was kept."));
    };
    process.on(name, abort);
    return { name, abort };
  });
  return {
    signal: controller.signal,
    end: () => {
      for (const { name, abort } of listeners) process.off(name, abort);
      if (exitCode !== undefined) process.exit(exitCode);
    },
  };
}

const noRoomCodes: ReadonlySet<string> = new Set(["ENOSPC", "EDQUOT", "EFBIG"]);

function translated(error: unknown): unknown {
  if (error instanceof Error && "code" in error && noRoomCodes.has(String(error.code))) {
    const message = "There is no room for the backup. Nothing was kept; choose another place.";
    return new CommandFailure(exitCodes.tryLater, message, { cause: error });
  }
  return error;
}

async function assertData(data: string): Promise<void> {
  try {
    await stat(join(resolve(data), dataLayout.log));
  } catch (cause) {
    const code = cause instanceof Error && "code" in cause ? String(cause.code) : String(cause);
    throw new CommandFailure(exitCodes.usage, `There is no Onefold data in ${data} (${code}).`, { cause });
  }
}

/** Shows how far it is, as often as there is something new to say. */
export class ProgressText {
  readonly #what: string;
  readonly #output: Output;
  #shown = "";

  constructor(what: string, output: Output) {
    this.#what = what;
    this.#output = output;
  }

  show(bytes: number, bytesTotal: number | undefined): void {
    const text =
      bytesTotal === undefined
        ? `${this.#what} ${bytesText(bytes)}`
        : `${this.#what} ${Math.floor((100 * bytes) / Math.max(1, bytesTotal))} % of ${bytesText(bytesTotal)}`;
    if (text === this.#shown) return;
    this.#shown = text;
    this.#output.progress(text);
  }
}

/** What a backup is, for `--json`. */
export function plainBackup(
  { header, summary, sizeBytes }: WholeBackup,
  file: string,
): Readonly<Record<string, unknown>> {
  const { systemName, blobCount, partsHash } = summary;
  return {
    file,
    system: systemName,
    takenAtMs: header.takenAtMs,
    sizeBytes,
    blobCount,
    ...(isOfCluster(summary)
      ? {
          cluster: summary.cluster.id,
          shards: summary.shards.map(({ id, from, to, position }) => ({
            shard: id,
            from,
            to,
            ...plainPosition(position),
          })),
        }
      : plainPosition(summary.position)),
    partsHash: toHex(partsHash),
  };
}

/** A position in a log, for `--json`. */
export function plainPosition({ incarnation, epoch, sequence, hash }: LogPosition): Readonly<Record<string, unknown>> {
  return { incarnation: toHex(incarnation), epoch, sequence, hash: toHex(hash) };
}

/** What is in it, in some words. */
export function extentText(summary: AnySummary): string {
  const { systemName } = summary;
  if (!isOfCluster(summary)) return `${systemName} at ${summary.position.sequence}`;
  return `${systemName}, the cluster ${summary.cluster.id} with ${summary.shards.length} shards`;
}

function backupText({ summary, sizeBytes }: WholeBackup, place: string): string {
  return [
    `Backed up ${extentText(summary)} to ${place}: ${bytesText(sizeBytes)}, verified.`,
    `  fingerprint ${toHex(summary.partsHash)}`,
  ].join("\n");
}
