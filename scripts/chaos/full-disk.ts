/**
 * A disk of its own, small, for one server's store, so that it can be filled: a file system in memory, which only root may mount.
 *
 * FD1 `release` leaves nothing mounted.
 */
import { execFile } from "node:child_process";
import { mkdir, open, rm } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);
const sizeBytes = 256 * 1024 * 1024;
const pieceBytes = 1024 * 1024;

export class SmallDisk {
  readonly #directory: string;
  readonly #filler: string;

  private constructor(directory: string) {
    this.#directory = directory;
    this.#filler = join(directory, "filler");
  }

  /** Undefined, with the reason told to `explain`, where this machine does not let us. */
  static async mount(directory: string, explain: (why: string) => void): Promise<SmallDisk | undefined> {
    await mkdir(directory, { recursive: true });
    try {
      await run("mount", ["-t", "tmpfs", "-o", `size=${sizeBytes}`, "onefold-chaos", directory]);
      return new SmallDisk(directory);
    } catch (error) {
      explain(error instanceof Error ? error.message.trim().split("\n").at(-1)! : String(error));
      return undefined;
    }
  }

  async fill(): Promise<void> {
    const file = await open(this.#filler, "w");
    try {
      for (let size = pieceBytes; ; ) {
        try {
          const { bytesWritten } = await file.write(Buffer.alloc(size));
          if (bytesWritten < size) size = Math.max(1, size >> 1);
        } catch (error) {
          if (!(error instanceof Error && "code" in error && error.code === "ENOSPC")) throw error;
          if (size === 1) return;
          size = Math.max(1, size >> 1);
        }
      }
    } finally {
      await file.close();
    }
  }

  async free(): Promise<void> {
    await rm(this.#filler, { force: true });
  }

  async release(): Promise<void> {
    await run("umount", ["-l", this.#directory]);
  }
}
