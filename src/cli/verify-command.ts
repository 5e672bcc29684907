/** `onefold verify`: checks every byte of a data directory and names the first bad one. */
import { stat } from "node:fs/promises";
import { join, resolve } from "node:path";
import { toHex } from "../base/bytes.ts";
import { nodeHost } from "../host/node/host.ts";
import type { LogPosition } from "../log/log.ts";
import { dataLayout } from "../runtime/data-layout.ts";
import { type DataReport, verifyDataDirectory } from "../runtime/verify.ts";
import { CommandFailure, exitCodes } from "./exit-code.ts";
import type { Output } from "./output.ts";

export interface VerifyOptions {
  readonly data: string;
  readonly json?: boolean;
}

/** Prints a report. Throws `CommandFailure`: `refused` where there is damage, `usage` where there is no data. */
export async function verify(options: VerifyOptions, output: Output): Promise<void> {
  const dataDirectory = resolve(options.data);
  await assertData(dataDirectory, options.data);
  const report = await verifyDataDirectory({
    host: nodeHost({ dataDirectory }),
    onProgress: ({ bytes, bytesTotal, records }) => {
      const percent = bytesTotal === 0 ? 100 : Math.floor((100 * bytes) / bytesTotal);
      output.progress(`Verifying ${percent} %, ${records} records`);
    },
  });
  output.progress("");
  if (options.json === true) output.result(JSON.stringify(plainReport(report)));
  else output.result(reportText(report, options.data));
  const [first] = report.damages;
  if (first === undefined) return;
  throw new CommandFailure(
    exitCodes.refused,
    `Damaged: ${join(options.data, first.file)} at byte ${first.offset}. Nothing was changed. Restore this directory from a backup.`,
    { isReported: true },
  );
}

async function assertData(dataDirectory: string, shown: string): Promise<void> {
  try {
    await stat(join(dataDirectory, dataLayout.log));
  } catch (cause) {
    const code = cause instanceof Error && "code" in cause ? String(cause.code) : String(cause);
    throw new CommandFailure(exitCodes.usage, `There is no Onefold data in ${shown} (${code}). Name it with --data.`, {
      cause,
    });
  }
}

function reportText(report: DataReport, shown: string): string {
  const { log } = report;
  const lines = [
    `${shown}: ${log.recordCount} records in ${log.segmentCount} segments, ${log.recordBytes} bytes`,
    `  log        ${log.end === null ? "empty" : `${log.firstSequence} to ${log.end.sequence}, chain ends at ${toHex(log.end.hash)}`}`,
    `  anchor     ${log.anchor === null ? "none" : `at ${log.anchor.sequence}, held`}`,
    `  snapshots  ${report.snapshotSequences.length === 0 ? "none" : `at ${report.snapshotSequences.join(" and ")}`}`,
  ];
  if (log.unfinished !== null) {
    lines.push(
      `  unfinished ${log.unfinished.bytes} bytes of an append that was never acknowledged; the next start removes them`,
    );
  }
  for (const { file, offset, reason } of log.warnings) lines.push(`  harmless   ${file} at byte ${offset}: ${reason}`);
  for (const { file, offset, sequence, reason } of report.damages) {
    const record = sequence === undefined ? "" : `, record ${sequence}`;
    lines.push(`  DAMAGED    ${file} at byte ${offset}${record}: ${reason}`);
  }
  if (report.move !== undefined) lines.push(`  ${moveText(report.move)}`);
  if (report.damages.length === 0) lines.push("Whole: every record, the chain, the anchor and the snapshots hold.");
  return lines.join("\n");
}

function moveText({ to, isDone, nodes }: NonNullable<DataReport["move"]>): string {
  if (!isDone) return `sealed     for a move to the cluster on ${to}; the next start asks there what came of it`;
  return `moved      to the cluster on ${to}${nodes.length === 0 ? "" : `, whose nodes are at ${nodes.join(", ")}`}; served no more here`;
}

function plainReport(report: DataReport): unknown {
  const { log } = report;
  return {
    whole: report.damages.length === 0,
    damages: report.damages,
    log: { ...log, end: plainPosition(log.end), anchor: plainPosition(log.anchor) },
    snapshotSequences: report.snapshotSequences,
    ...(report.move === undefined ? {} : { move: report.move }),
  };
}

function plainPosition(position: LogPosition | null): unknown {
  if (position === null) return null;
  const { incarnation, epoch, sequence, hash } = position;
  return { incarnation: toHex(incarnation), epoch, sequence, hash: toHex(hash) };
}
