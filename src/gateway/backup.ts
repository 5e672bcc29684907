/**
 * `GET /v1/backup`: all that the node holds, or its cluster, as one stream (`docs/backup.md`), while it goes on working.
 *
 * B1  The answer's length is known when it begins: a stream that was cut is shorter, for every client to see.
 * B2  Nothing is read ahead of the client, whatever its pace; one that takes nothing is destroyed (`connections.ts`, N3).
 * B3  However it ends, what was kept for it is let go, once.
 */
import { OnefoldError } from "../base/errors.ts";
import { backupContentType } from "../backup/format.ts";
import type { Timers } from "../host/host.ts";
import { authorize } from "./access.ts";
import type { OperationHandler } from "./operations.ts";
import { parseQueryString } from "./query-string.ts";

/** A backup that can be read, once. */
export interface OpenBackup {
  /** Up to where in the log it holds everything; undefined where there are many logs. */
  readonly sequence: number | undefined;
  readonly sizeBytes: number;
  /** Exactly `sizeBytes` bytes, or it throws. Reads on only when asked to. */
  chunks(): AsyncIterable<Uint8Array>;
  /** Lets go of what was kept for it. Idempotent. */
  close(): void;
}

/** What can be backed up. */
export interface BackupSource {
  /**
   * Opens a backup that holds everything that was acknowledged before the call. Throws `overloaded`, `disk-full` and
   * `not-ready` (retry safe), `damaged` (never), `stopped` (unknown).
   */
  openBackup(): Promise<OpenBackup>;
}

/** Scope `admin`, and the system's `authorize` with the action `backup`: it holds all tenants, and the key of session tokens. */
export const readBackup: OperationHandler = async (context, call) => {
  parseQueryString(call.queryText, []);
  const { system, timers, backup } = context;
  await authorize(system.options, call.principal, { action: "backup" }, timers, call.remainingMs);
  if (backup === undefined) throw new OnefoldError("not-ready", "This node has nothing that could be backed up.");
  const opened = await openWithin(backup, timers, call.remainingMs());
  const { sequence, sizeBytes } = opened;
  return {
    status: 200,
    contentType: backupContentType,
    ...(sequence === undefined ? {} : { sequence }),
    stream: { sizeBytes, chunks: () => opened.chunks(), close: () => opened.close() },
  };
};

/** A large snapshot takes its time: the caller's deadline bounds the wait for it, not the stream. */
function openWithin(source: BackupSource, timers: Timers, remainingMs: number): Promise<OpenBackup> {
  return new Promise((resolve, reject) => {
    let isLate = false;
    const timer = timers.after(Math.max(0, remainingMs), () => {
      isLate = true;
      const message = "The deadline passed before the backup's snapshot was taken. Try again; much of it is there now.";
      reject(new OnefoldError("deadline-passed", message, { retry: "safe" }));
    });
    source.openBackup().then(
      (opened) => {
        timer.cancel();
        // Nobody waits for it any more.
        if (isLate) opened.close();
        else resolve(opened);
      },
      (error: unknown) => {
        timer.cancel();
        reject(error as Error);
      },
    );
  });
}
