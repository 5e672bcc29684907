/**
 * Notices changed source files under a folder, its subfolders included.
 *
 * W1  A change is reported once things have been quiet for a moment, so that an editor's several writes are one change.
 * W2  Only what differs in size or time of change counts; the system's events are hints, and each hinted folder is read again.
 * W3  Folders with what isn't source (dependencies, builds, data, anything hidden) are never entered.
 */
import { type FSWatcher, watch } from "node:fs";
import { readdir, stat } from "node:fs/promises";
import { basename, join } from "node:path";

export interface WatchOptions {
  /** Absolute. */
  readonly folder: string;
  /** Absolute paths of folders that are not entered, besides the usual ones. */
  readonly ignored: readonly string[];
  readonly onChange: (paths: readonly string[]) => void;
  /** Watching goes on without what the problem is about. */
  readonly onProblem: (message: string) => void;
  readonly quietMs?: number;
}

const ignoredNames = new Set(["node_modules", "dist", "build", "coverage"]);
const foldersMax = 2048;
const sourceFile = /\.([cm]?[jt]sx?|json)$/;

interface WatchedFolder {
  readonly watcher: FSWatcher;
  /** Name of each source file to its size and time of change. */
  readonly stamps: Map<string, string>;
}

export class SourceWatcher {
  readonly #options: WatchOptions;
  readonly #folders = new Map<string, WatchedFolder>();
  readonly #hinted = new Set<string>();
  #timer: ReturnType<typeof setTimeout> | undefined;
  #closed = false;

  private constructor(options: WatchOptions) {
    this.#options = options;
  }

  /** Resolves once every folder is watched. */
  static async start(options: WatchOptions): Promise<SourceWatcher> {
    const watcher = new SourceWatcher(options);
    await watcher.#enter(options.folder);
    return watcher;
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
    for (const { watcher } of this.#folders.values()) watcher.close();
    this.#folders.clear();
  }

  /** Watches a folder and those in it. Returns the source files found. */
  async #enter(folder: string): Promise<string[]> {
    if (this.#closed || this.#folders.has(folder) || !this.#isEntered(folder)) return [];
    if (this.#folders.size >= foldersMax) {
      this.#options.onProblem(
        `Only the first ${foldersMax} folders are watched; changes in ${folder} are not noticed.`,
      );
      return [];
    }
    try {
      // Watch before reading: what changes in between is then hinted, not missed.
      const watcher = watch(folder, () => this.#hint(folder));
      watcher.on("error", () => this.#leave(folder));
      this.#folders.set(folder, { watcher, stamps: new Map() });
    } catch (error) {
      if (!isAbsence(error)) this.#options.onProblem(`${folder} can't be watched: ${String(error)}`);
      return [];
    }
    return await this.#read(folder);
  }

  #isEntered(folder: string): boolean {
    if (folder === this.#options.folder) return true;
    const name = basename(folder);
    return !name.startsWith(".") && !ignoredNames.has(name) && !this.#options.ignored.includes(folder);
  }

  #leave(folder: string): void {
    this.#folders.get(folder)?.watcher.close();
    this.#folders.delete(folder);
  }

  #hint(folder: string): void {
    if (this.#closed) return;
    this.#hinted.add(folder);
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.#readHinted().catch((error: unknown) => this.#options.onProblem(`Watching failed: ${String(error)}`));
    }, this.#options.quietMs ?? 30);
  }

  async #readHinted(): Promise<void> {
    const folders = [...this.#hinted];
    this.#hinted.clear();
    const changed: string[] = [];
    for (const folder of folders) changed.push(...(await this.#read(folder)));
    if (changed.length > 0 && !this.#closed) this.#options.onChange(changed);
  }

  /** Compares the folder with what it was when it was last read. Returns the files that were added, changed or removed. */
  async #read(folder: string): Promise<string[]> {
    const watched = this.#folders.get(folder);
    if (watched === undefined) return [];
    const changed: string[] = [];
    const present = new Set<string>();
    for (const entry of await entriesOf(folder)) {
      const path = join(folder, entry.name);
      if (entry.isDirectory()) changed.push(...(await this.#enter(path)));
      else if (sourceFile.test(entry.name)) {
        const stamp = await stampOf(path);
        if (stamp === undefined) continue;
        present.add(entry.name);
        if (watched.stamps.get(entry.name) !== stamp) changed.push(path);
        watched.stamps.set(entry.name, stamp);
      }
    }
    for (const name of [...watched.stamps.keys()]) {
      if (present.has(name)) continue;
      watched.stamps.delete(name);
      changed.push(join(folder, name));
    }
    return changed;
  }
}

async function entriesOf(folder: string) {
  try {
    return await readdir(folder, { withFileTypes: true });
  } catch (error) {
    if (isAbsence(error)) return [];
    throw error;
  }
}

async function stampOf(path: string): Promise<string | undefined> {
  try {
    const { size, mtimeMs } = await stat(path);
    return `${size} ${mtimeMs}`;
  } catch (error) {
    if (isAbsence(error)) return undefined;
    throw error;
  }
}

function isAbsence(error: unknown): boolean {
  return error instanceof Error && "code" in error && (error.code === "ENOENT" || error.code === "ENOTDIR");
}
