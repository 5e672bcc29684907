/**
 * The files of one LMDB store in its directory: `store.mdb` (data), `store.mdb-lock` (LMDB's readers; worthless after the
 * process), `opening` (the marker of B3). The caller holds the data directory's lock.
 */
import { mkdir, open, rm, stat, statfs } from "node:fs/promises";
import { join } from "node:path";
import { OnefoldError } from "../../base/errors.ts";
import { DiskError } from "../../host/host.ts";
import { checkLmdbFile, checkLmdbMetas } from "./lmdb-file.ts";
import type { StoreState } from "./lmdb-state.ts";

export class LmdbFiles {
  readonly dataPath: string;
  readonly #directory: string;
  readonly #lockPath: string;
  readonly #markerPath: string;

  constructor(directory: string) {
    this.#directory = directory;
    this.dataPath = join(directory, "store.mdb");
    this.#lockPath = join(directory, "store.mdb-lock");
    this.#markerPath = join(directory, "opening");
  }

  /** What the data file holds; undefined if there is none. Throws `damaged`. */
  async check(): Promise<StoreState | undefined> {
    return translating(async () => {
      await mkdir(this.#directory, { recursive: true });
      // Nobody else has the file open; what is in it is of a dead process, and LMDB would trust it.
      await rm(this.#lockPath, { force: true });
      if (await exists(this.#markerPath)) {
        throw new OnefoldError(
          "damaged",
          "The process ended while it was opening the store's file, perhaps because of it. It must be rebuilt.",
        );
      }
      return (await exists(this.dataPath)) ? await checkLmdbFile(this.dataPath) : undefined;
    });
  }

  /**
   * Looks at the meta pages alone, at once: enough for a file that this process has checked before and LMDB has written since.
   * Throws `damaged`: what is no store's file any more must not reach LMDB, which a wrong meta page can crash.
   */
  checkAgain(): void {
    try {
      checkLmdbMetas(this.dataPath);
    } catch (error) {
      throw translated(error);
    }
  }

  /** Durable when it returns. */
  async markOpening(): Promise<void> {
    return translating(async () => {
      const marker = await open(this.#markerPath, "w");
      try {
        await marker.sync();
      } finally {
        await marker.close();
      }
      await this.#syncDirectory();
    });
  }

  /** The data file's own entry in the directory is durable as well when it returns. */
  async unmarkOpening(): Promise<void> {
    return translating(async () => {
      await rm(this.#markerPath);
      await this.#syncDirectory();
    });
  }

  async freeBytes(): Promise<number> {
    return translating(async () => {
      const { bavail, bsize } = await statfs(this.#directory);
      return bavail * bsize;
    });
  }

  async remove(): Promise<void> {
    return translating(async () => {
      await mkdir(this.#directory, { recursive: true });
      // The marker goes last: a crash before leaves a store that still says `damaged`.
      await rm(this.dataPath, { force: true });
      await rm(this.#lockPath, { force: true });
      await this.#syncDirectory();
      await rm(this.#markerPath, { force: true });
      await this.#syncDirectory();
    });
  }

  async #syncDirectory(): Promise<void> {
    // Windows opens no directories; its file system journals their changes.
    if (process.platform === "win32") return;
    const directory = await open(this.#directory, "r");
    try {
      await directory.sync();
    } finally {
      await directory.close();
    }
  }
}

async function exists(path: string): Promise<boolean> {
  try {
    await stat(path);
    return true;
  } catch (error) {
    if (codeOf(error) === "ENOENT") return false;
    throw error;
  }
}

function codeOf(error: unknown): unknown {
  return error instanceof Error && "code" in error ? error.code : undefined;
}

async function translating<T>(body: () => Promise<T>): Promise<T> {
  try {
    return await body();
  } catch (error) {
    throw translated(error);
  }
}

function translated(error: unknown): Error {
  const code = codeOf(error);
  if (error instanceof OnefoldError || error instanceof DiskError) return error;
  if (code === "ENOSPC" || code === "EDQUOT") {
    return new DiskError("full", "There is no room to open the store.", { cause: error });
  }
  return new DiskError("failed", "The store's directory could not be read or written.", { cause: error });
}
