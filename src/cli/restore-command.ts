/** `onefold restore`: makes a data directory of a backup, or a cluster, or verifies a backup. */
import { createReadStream } from "node:fs";
import { mkdtemp, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { toHex } from "../base/bytes.ts";
import { limits } from "../base/limits.ts";
import { nodeHost } from "../host/node/host.ts";
import { type ClusterRestoreReport, restoreToCluster } from "../runtime/cluster-restore.ts";
import { connectTarget } from "../runtime/nats-cluster.ts";
import { type RestoreReport, restoreBackup, verifyBackup } from "../runtime/restore.ts";
import { extentText, ProgressText, plainBackup, plainPosition } from "./backup-command.ts";
import { type EngineTargetOptions, targetOf } from "./cluster/engine-target.ts";
import { CommandFailure, exitCodes } from "./exit-code.ts";
import type { Output } from "./output.ts";
import { bytesText, timeText } from "./text.ts";

export interface RestoreOptions extends Omit<EngineTargetOptions, "to"> {
  readonly data: string;
  /** An engine, for a cluster's backup. */
  readonly to?: string;
  readonly check?: boolean;
  readonly unsafeDurability?: boolean;
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
  const { to } = options;
  if (to !== undefined) return restoreCluster(file, { ...options, to }, { chunks, sizeBytes }, output);
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

/** `onefold verify FILE`. */
export async function verifyFile(file: string, options: { readonly json?: boolean }, output: Output): Promise<void> {
  await check(await openSource(file), file, options, output);
}

/** A file is verified as a whole before anything is written to the engine: its system's name is in its last part, too. */
async function restoreCluster(
  file: string,
  options: RestoreOptions & EngineTargetOptions,
  source: Source,
  output: Output,
): Promise<void> {
  const target = await targetOf(options);
  const name = target.engineName ?? (await systemOf(file, source, output));
  const { chunks, sizeBytes } = file === "-" || target.engineName !== undefined ? source : await openSource(file);
  const progress = { reading: new ProgressText("Restoring", output), verifying: new ProgressText("Verifying", output) };
  const engine = await connectTarget(target, name);
  // What is read of the engine's system log, for as long as this takes.
  const directory = await mkdtemp(join(tmpdir(), "onefold-restore-"));
  try {
    const report = await restoreToCluster({
      host: nodeHost({ dataDirectory: directory }),
      limits,
      engine,
      allowsLaxEngine: options.unsafeDurability === true,
      backup: chunks,
      ...(sizeBytes === undefined ? {} : { sizeBytes }),
      onProgress: ({ step, bytes, bytesTotal }) => progress[step].show(bytes, bytesTotal),
    });
    output.progress("");
    output.result(options.json === true ? JSON.stringify({ to: options.to, ...report }) : clusterText(report, options));
  } finally {
    await engine.close();
    await rm(directory, { recursive: true, force: true });
  }
}

async function systemOf(file: string, source: Source, output: Output): Promise<string> {
  if (file === "-") {
    throw new CommandFailure(exitCodes.usage, "What is read from the standard input needs --engine-name with --to.");
  }
  const progress = new ProgressText("Verifying", output);
  const { summary } = await verifyBackup(source.chunks, (bytes) => progress.show(bytes, source.sizeBytes));
  return summary.systemName;
}

function clusterText(
  { systemName, takenAtMs, sizeBytes, parent, cluster, shardCount }: ClusterRestoreReport,
  { to }: EngineTargetOptions,
): string {
  return [
    `Restored ${systemName} to ${to}, as it was at ${timeText(takenAtMs)}: ${bytesText(sizeBytes)}, verified.`,
    `  parent      the cluster ${parent}`,
    `  goes on as  the cluster ${cluster} with ${shardCount} shards`,
    `Serve it with: onefold start SYSTEM --cluster ${to}`,
  ].join("\n");
}

async function check(
  source: Source,
  file: string,
  options: { readonly json?: boolean },
  output: Output,
): Promise<void> {
  const progress = new ProgressText("Verifying", output);
  const whole = await verifyBackup(source.chunks, (bytes) => progress.show(bytes, source.sizeBytes));
  output.progress("");
  if (options.json === true) return output.result(JSON.stringify({ whole: true, ...plainBackup(whole, file) }));
  const { header, summary, sizeBytes } = whole;
  output.result(
    [
      `Whole: a backup of ${extentText(summary)}, taken at ${timeText(header.takenAtMs)}, ${bytesText(sizeBytes)}.`,
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
  const positions = { parent: plainPosition(parent), begin: plainPosition(begin) };
  return { data: options.data, system: systemName, takenAtMs, sizeBytes, ...positions };
}
