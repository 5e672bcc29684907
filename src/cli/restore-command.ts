/** `onefold restore`: makes a data directory of a backup, or verifies a backup. */
import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { resolve } from "node:path";
import { toHex } from "../base/bytes.ts";
import { nodeHost } from "../host/node/host.ts";
import { type RestoreReport, restoreBackup, verifyBackup } from "../runtime/restore.ts";
import { plainBackup, ProgressText } from "./backup-command.ts";
import { CommandFailure, exitCodes } from "./exit-code.ts";
import type { Output } from "./output.ts";
import { bytesText, timeText } from "./text.ts";

export interface RestoreOptions {
  readonly data: string;
  readonly check?: boolean;
  readonly json?: boolean;
}

interface Source {
  readonly chunks: AsyncIterable<Uint8Array>;
  readonly sizeBytes: number | undefined;
}

/** Prints what was restored. Throws `CommandFailure` (usage) for what can't be read, and as `restoreBackup` does. */
export async function restore(file: string, options: RestoreOptions, output: Output): Promise<void> {
  const { chunks, sizeBytes } = await openSource(file);
  if (options.check === true) return check({ chunks, sizeBytes }, file, options, output);
  const dataDirectory = resolve(options.data);
  const progress = { reading: new ProgressText("Restoring", output), verifying: new ProgressText("Verifying", output) };
  const report = await restoreBackup({
    host: nodeHost({ dataDirectory }),
    backup: chunks,
    ...(sizeBytes === undefined ? {} : { sizeBytes }),
    onProgress: ({ step, bytes, bytesTotal }) => progress[step].show(bytes, bytesTotal),
  });
  output.progress("");
  output.result(options.json === true ? JSON.stringify(plainReport(report, options)) : reportText(report, options));
}

async function check(source: Source, file: string, options: RestoreOptions, output: Output): Promise<void> {
  const progress = new ProgressText("Verifying", output);
  const whole = await verifyBackup(source.chunks, (bytes) => progress.show(bytes, source.sizeBytes));
  output.progress("");
  if (options.json === true) return output.result(JSON.stringify({ whole: true, ...plainBackup(whole, file) }));
  const { header, summary, sizeBytes } = whole;
  output.result(
    [
      `Whole: a backup of ${summary.systemName} at ${summary.position.sequence}, taken at ${timeText(header.takenAtMs)}, ${bytesText(sizeBytes)}.`,
      `  fingerprint ${toHex(summary.partsHash)}`,
    ].join("\n"),
  );
}

async function openSource(file: string): Promise<Source> {
  if (file === "-") return { chunks: process.stdin, sizeBytes: undefined };
  try {
    const { size } = await stat(file);
    return { chunks: createReadStream(file, { highWaterMark: 1024 * 1024 }), sizeBytes: size };
  } catch (cause) {
    const code = cause instanceof Error && "code" in cause ? String(cause.code) : String(cause);
    throw new CommandFailure(exitCodes.usage, `${file} can't be read (${code}).`, { cause });
  }
}

function reportText(
  { systemName, takenAtMs, sizeBytes, parent, begin }: RestoreReport,
  options: RestoreOptions,
): string {
  return [
    `Restored ${systemName} to ${options.data}, as it was at ${timeText(takenAtMs)}: ${bytesText(sizeBytes)}, verified.`,
    `  parent      ${parent.sequence} of ${toHex(parent.incarnation)}`,
    `  goes on at  ${begin.sequence} of ${toHex(begin.incarnation)}`,
    `Serve it with: onefold start SYSTEM --data ${options.data}`,
  ].join("\n");
}

function plainReport(report: RestoreReport, options: RestoreOptions): Readonly<Record<string, unknown>> {
  const { systemName, takenAtMs, sizeBytes, parent, begin } = report;
  const plain = (position: RestoreReport["begin"]) => ({
    incarnation: toHex(position.incarnation),
    epoch: position.epoch,
    sequence: position.sequence,
    hash: toHex(position.hash),
  });
  return { data: options.data, system: systemName, takenAtMs, sizeBytes, parent: plain(parent), begin: plain(begin) };
}
