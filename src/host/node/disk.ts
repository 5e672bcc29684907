/**
 * The real disk: files below one directory, through `node:fs`.
 *
 * F4  Nothing outside of the root is opened, created, renamed or removed by a path (symbolic links that an operator puts
 *     below the root are followed).
 * F5  A directory's sync is an fsync of the directory. Windows has none, and needs none: NTFS journals its names.
 * F6  A lock belongs to the open file, not to the process or the name: it ends with the process, however that ends.
 */
import fs from "node:fs";
import path from "node:path";
import { tryLock, unlock } from "fs-native-extensions";
import { compareUtf8, encodeUtf8 } from "../../base/bytes.ts";
import { type Disk, DiskError, type DiskFile } from "../host.ts";
import { splitPath } from "../path.ts";
import { NodeFile } from "./file.ts";
import { perform, platformCode, readAll, translate, writeAll } from "./files.ts";

const isWindows = process.platform === "win32";

/** Where in the lock file the lock is: on Windows, locked bytes can't be read, and the holder's number should be. */
const lockRange: readonly [offset: number, length: number] = isWindows ? [2 ** 30, 1] : [0, 0];
/** What the platforms say of a lock that another holds; some as an error of their own. */
const busyCodes = new Set(["EAGAIN", "EBUSY", "EACCES", "EWOULDBLOCK"]);
const holderBytesMax = 32;

export class NodeDisk implements Disk {
  readonly #root: string;

  /** Makes the directory if need be. Throws `DiskError`. */
  constructor(root: string) {
    this.#root = path.resolve(root);
    try {
      const firstMade = fs.mkdirSync(this.#root, { recursive: true });
      if (firstMade !== undefined && !isWindows) syncParents(this.#root, firstMade);
    } catch (error) {
      throw translate(`make ${this.#root}`, error);
    }
  }

  /** The whole path of a path below the root. */
  #resolve(diskPath: string): string {
    return path.join(this.#root, ...splitPath(diskPath));
  }

  async open(diskPath: string, options: { readonly create?: "always" | "new" } = {}): Promise<DiskFile> {
    const { O_RDWR, O_CREAT, O_EXCL } = fs.constants;
    const create = options.create === undefined ? 0 : options.create === "new" ? O_CREAT | O_EXCL : O_CREAT;
    return new NodeFile(diskPath, await this.#open(diskPath, O_RDWR | create));
  }

  #open(diskPath: string, flags: number): Promise<number> {
    const name = this.#resolve(diskPath);
    return perform<number>(`open ${diskPath}`, (done) => fs.open(name, flags, 0o600, done));
  }

  async list(directory: string): Promise<readonly string[]> {
    const name = this.#resolve(directory);
    try {
      const names = await perform<string[]>(`list ${directory}`, (done) => fs.readdir(name, done));
      return names.sort(compareUtf8);
    } catch (error) {
      if (error instanceof DiskError && error.code === "not-found") return [];
      throw error;
    }
  }

  async makeDirectory(diskPath: string): Promise<void> {
    const name = this.#resolve(diskPath);
    await perform(`makeDirectory ${diskPath}`, (done) => fs.mkdir(name, { recursive: true }, done));
  }

  async remove(diskPath: string): Promise<void> {
    const name = this.#resolve(diskPath);
    const what = `remove ${diskPath}`;
    try {
      await perform<void>(what, (done) => fs.unlink(name, (error) => done(error)));
    } catch (error) {
      if (!(error instanceof DiskError)) throw error;
      if (error.code === "not-found") return;
      // Linux refuses to unlink a directory with EISDIR, the others with EPERM.
      if (!["EISDIR", "EPERM"].includes(platformCode(error.cause))) throw error;
      await perform<void>(what, (done) => fs.rmdir(name, (failure) => done(failure)));
    }
  }

  async rename(from: string, to: string): Promise<void> {
    const [fromName, toName] = [this.#resolve(from), this.#resolve(to)];
    await perform<void>(`rename ${from} ${to}`, (done) => fs.rename(fromName, toName, (error) => done(error)));
  }

  async syncDirectory(diskPath: string): Promise<void> {
    const name = this.#resolve(diskPath);
    if (isWindows) return;
    const what = `syncDirectory ${diskPath}`;
    const descriptor = await perform<number>(what, (done) => fs.open(name, fs.constants.O_RDONLY, done));
    try {
      await perform<void>(what, (done) => fs.fsync(descriptor, (error) => done(error)));
    } finally {
      await perform<void>(what, (done) => fs.close(descriptor, (error) => done(error ?? null)));
    }
  }

  async freeBytes(): Promise<number> {
    const stat = await perform<fs.StatsFs>("freeBytes", (done) => fs.statfs(this.#root, done));
    return stat.bavail * stat.bsize;
  }

  /** The lock file holds the process number of its holder, for the error's text only. */
  async lock(diskPath: string): Promise<{ release(): Promise<void> }> {
    const what = `lock ${diskPath}`;
    const descriptor = await this.#open(diskPath, fs.constants.O_RDWR | fs.constants.O_CREAT);
    const close = () => perform<void>(what, (done) => fs.close(descriptor, (error) => done(error ?? null)));
    try {
      if (!takeLock(what, descriptor)) {
        const holder = new TextDecoder().decode(await readAll(what, descriptor, 0, holderBytesMax)).trim();
        const by = /^\d+$/.test(holder) ? `process ${holder}` : "another process";
        throw new DiskError("busy", `${this.#resolve(diskPath)} is locked by ${by}`);
      }
      await perform<void>(what, (done) => fs.ftruncate(descriptor, 0, (error) => done(error)));
      await writeAll(what, descriptor, 0, encodeUtf8(`${process.pid}\n`));
    } catch (error) {
      await close();
      throw error;
    }
    let isHeld = true;
    return {
      release: async () => {
        if (!isHeld) return;
        isHeld = false;
        unlock(descriptor, ...lockRange);
        await close();
      },
    };
  }
}

function takeLock(what: string, descriptor: number): boolean {
  try {
    return tryLock(descriptor, ...lockRange);
  } catch (error) {
    if (busyCodes.has(platformCode(error))) return false;
    throw translate(what, error);
  }
}

/** Makes the names of `directory`, of `firstMade` above it, and of all between them durable. */
function syncParents(directory: string, firstMade: string): void {
  const end = path.dirname(firstMade);
  for (let parent = path.dirname(directory); ; parent = path.dirname(parent)) {
    const descriptor = fs.openSync(parent, fs.constants.O_RDONLY);
    try {
      fs.fsyncSync(descriptor);
    } finally {
      fs.closeSync(descriptor);
    }
    if (parent.length <= end.length) return;
  }
}
