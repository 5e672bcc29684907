/**
 * Where a backup is written to: a new file, or the standard output.
 *
 * D1  A file has its name only once all of it is durable and was read back: what is there under the name is a backup. It is for
 *     its owner's eyes alone, since it holds the key that signs session tokens.
 * D2  Its owner's file is never overwritten.
 * D3  A reader of the standard output that goes away is a failure, unlike elsewhere: it has less than a backup.
 */
import { createReadStream } from "node:fs";
import { access, type FileHandle, open, rename, rm } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { CommandFailure, exitCodes } from "./exit-code.ts";

export interface BackupDestination {
  /** Resolves when more may be written. */
  write(bytes: Uint8Array): Promise<void>;
  /** What was written, made durable, to be read back; undefined where it can't be. */
  written(): Promise<AsyncIterable<Uint8Array> | undefined>;
  /** Gives it its name. */
  keep(): Promise<void>;
  /** Leaves nothing behind, where that is possible. Idempotent. */
  drop(): Promise<void>;
}

/** `file` as the user gave it. Throws `CommandFailure` (usage) where it can't be written to. */
export async function openDestination(file: string): Promise<BackupDestination> {
  return file === "-" ? standardOutput() : await newFile(file);
}

async function newFile(file: string): Promise<BackupDestination> {
  if (await isThere(file)) {
    throw new CommandFailure(exitCodes.usage, `${file} is there already. Choose another name, or move it away.`);
  }
  // Of this process alone: two backups to one name don't write into each other.
  const partial = `${resolve(file)}.${process.pid}.partial`;
  let handle: FileHandle | undefined = await openNew(partial, file);
  const close = async (): Promise<void> => {
    const closing = handle;
    handle = undefined;
    await closing?.close();
  };
  return {
    async write(bytes) {
      for (let at = 0; at < bytes.length; ) at += (await handle!.write(bytes, at)).bytesWritten;
    },
    async written() {
      await handle!.sync();
      await close();
      return createReadStream(partial, { highWaterMark: 1024 * 1024 });
    },
    async keep() {
      if (await isThere(file)) {
        throw new CommandFailure(exitCodes.usage, `${file} has come about meanwhile; it was left as it is.`);
      }
      await rename(partial, file);
      await syncDirectory(dirname(resolve(file)));
    },
    async drop() {
      await close();
      await rm(partial, { force: true });
    },
  };
}

async function openNew(partial: string, shown: string): Promise<FileHandle> {
  try {
    return await open(partial, "wx", 0o600);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new CommandFailure(exitCodes.usage, `${shown} can't be written: ${reason}.`, { cause });
  }
}

async function isThere(file: string): Promise<boolean> {
  try {
    await access(file);
    return true;
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return false;
    throw error;
  }
}

/** Makes the new name durable. Windows has no such thing, and needs none: NTFS journals its names. */
async function syncDirectory(directory: string): Promise<void> {
  if (process.platform === "win32") return;
  const handle = await open(directory, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

function standardOutput(): BackupDestination {
  const { stdout } = process;
  if (stdout.isTTY === true) {
    throw new CommandFailure(
      exitCodes.usage,
      "A backup is no text for a terminal. Redirect the output, or name a file.",
    );
  }
  // D3: `processOutput` ends the program in peace when a reader has seen enough. Here `write` hears of it, and rejects.
  stdout.removeAllListeners("error");
  stdout.on("error", () => undefined);
  return {
    write: (bytes) =>
      new Promise((done, fail) => {
        stdout.write(bytes, (error) => {
          if (error === null || error === undefined) return done();
          const message = `The backup's reader has gone away (${error.message}); what it has is not a backup.`;
          fail(new CommandFailure(exitCodes.refused, message, { cause: error }));
        });
      }),
    written: () => Promise.resolve(undefined),
    keep: () => Promise.resolve(),
    drop: () => Promise.resolve(),
  };
}
