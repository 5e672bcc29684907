/**
 * A simulated disk as one life of its node has it: the `Disk` port. Turns every call into an operation of `disk.ts`, and
 * dies with its life.
 */
import { assert } from "../base/assert.ts";
import { type Disk, DiskError, type DiskFile } from "../host/host.ts";
import { splitPath } from "../host/path.ts";
import type { DiskOperation, SimulatedDisk } from "./disk.ts";
import { type Inode, pageBytes, sectorBytes } from "./inode.ts";
import type { NodeLife } from "./life.ts";

class LiveFile implements DiskFile {
  readonly path: string;
  readonly #disk: SimulatedDisk;
  readonly #life: NodeLife;
  readonly #inode: Inode;
  #isOpen = true;

  constructor(disk: SimulatedDisk, life: NodeLife, path: string, inode: Inode) {
    this.#disk = disk;
    this.#life = life;
    this.path = path;
    this.#inode = inode;
  }

  size(): Promise<number> {
    return this.#operate("read", "size", () => this.#inode.sizeBytes);
  }

  read(position: number, length: number): Promise<Uint8Array> {
    assertRange(position, length);
    return this.#operate("read", "read", () => this.#inode.read(position, length));
  }

  write(position: number, bytes: Uint8Array): Promise<void> {
    assertRange(position, bytes.length);
    return this.#operate("write", "write", () => void this.#write(position, bytes), {
      onFailure: () => this.#writePart(position, bytes),
      onCrash: () => this.#writeAtCrash(position, bytes),
    });
  }

  writeDurable(position: number, bytes: Uint8Array): Promise<void> {
    assertRange(position, bytes.length);
    const effect = () => {
      const place = this.#write(position, bytes);
      this.#inode.completeRange(place, bytes.length);
    };
    return this.#operate("sync", "writeDurable", effect, {
      onFailure: () => {
        this.#writePart(position, bytes);
        this.#inode.failSync(this.#inode.now, this.#disk.random);
      },
      onCrash: () => this.#writeAtCrash(position, bytes),
    });
  }

  /** Returns where the bytes are now. */
  #write(position: number, bytes: Uint8Array): number {
    if (!this.#hasSpace(position, bytes.length)) {
      this.#writePart(position, bytes);
      this.#disk.counts.add("full-disk");
      throw new DiskError("full", `no space for ${bytes.length} bytes at ${position} of ${this.path}`);
    }
    if (bytes.length === 0) return position;
    const sizeBytes = Math.max(this.#inode.sizeBytes, position + bytes.length);
    const place = this.#disk.placeOf(position, sizeBytes);
    this.#inode.write(place, bytes, this.#disk.random);
    // The file is as long as its writer thinks, wherever the bytes went.
    if (this.#inode.sizeBytes < sizeBytes) this.#inode.truncate(sizeBytes, this.#disk.random);
    return place;
  }

  #hasSpace(position: number, length: number): boolean {
    if (length === 0 || this.#disk.isBoundless) return true;
    return this.#inode.bytesToAllocate(position, length) <= this.#disk.freeBytes;
  }

  /** Some of its first sectors reach the cache, as when the device refuses in the middle. */
  #writePart(position: number, bytes: Uint8Array): void {
    const sectors = Math.floor((position + bytes.length) / sectorBytes) - Math.floor(position / sectorBytes);
    const end = (Math.floor(position / sectorBytes) + this.#disk.random.integer(sectors + 1)) * sectorBytes;
    const part = bytes.subarray(0, Math.max(0, end - position));
    if (this.#hasSpace(position, part.length)) this.#inode.write(position, part, this.#disk.random);
  }

  /** Puts all of it into the cache, or nothing; what reaches the platter is then chosen by sectors. */
  #writeAtCrash(position: number, bytes: Uint8Array): void {
    if (this.#disk.random.chance(0.75) && this.#hasSpace(position, bytes.length)) {
      this.#inode.write(position, bytes, this.#disk.random);
    }
  }

  sync(): Promise<void> {
    const mark = this.#inode.now;
    const sizeBytes = this.#inode.sizeBytes;
    return this.#operate("sync", "sync", () => this.#inode.completeSync(mark, sizeBytes), {
      onFailure: () => this.#inode.failSync(mark, this.#disk.random),
    });
  }

  truncate(sizeBytes: number): Promise<void> {
    assertRange(sizeBytes, 0);
    const effect = () => this.#inode.truncate(sizeBytes, this.#disk.random);
    return this.#operate("write", "truncate", effect, {
      onCrash: () => {
        if (this.#disk.random.chance(0.5)) effect();
      },
    });
  }

  close(): Promise<void> {
    if (!this.#isOpen) return Promise.resolve();
    const letGo = () => this.#disk.countHandle(this.#inode, -1);
    const closed = this.#operate("name", "close", letGo, { onFailure: letGo });
    this.#isOpen = false;
    return closed;
  }

  #operate<T>(
    operation: DiskOperation,
    verb: string,
    effect: () => T,
    options: { readonly onFailure?: () => void; readonly onCrash?: () => void } = {},
  ): Promise<T> {
    if (!this.#isOpen) return Promise.reject(new DiskError("failed", `${verb} ${this.path}: the file is closed`));
    return this.#disk.operate(this.#life, { operation, label: `${verb} ${this.path}`, effect, ...options });
  }
}

function assertRange(position: number, length: number): void {
  assert(Number.isSafeInteger(position) && position >= 0, "a position is a whole number from 0");
  assert(Number.isSafeInteger(length) && length >= 0, "a length is a whole number from 0");
}

export class LiveDisk implements Disk {
  readonly #disk: SimulatedDisk;
  readonly #life: NodeLife;

  constructor(disk: SimulatedDisk, life: NodeLife) {
    this.#disk = disk;
    this.#life = life;
  }

  open(path: string, options: { readonly create?: "always" | "new" } = {}): Promise<DiskFile> {
    return this.#change(`open ${path}`, [path], () => {
      let inode = this.#disk.tree.file(path);
      if (inode !== undefined && options.create === "new") throw new DiskError("exists", `${path} exists`);
      if (inode === undefined && options.create === undefined) {
        throw new DiskError("not-found", `${path} does not exist`);
      }
      if (inode === undefined) {
        this.#needBlock(path);
        inode = this.#disk.tree.create(path);
      }
      this.#disk.countHandle(inode, 1);
      return new LiveFile(this.#disk, this.#life, path, inode);
    });
  }

  /** A new name needs a block on a full disk; renames and removals must do without, or no space could ever be freed. */
  #needBlock(path: string): void {
    if (this.#disk.isBoundless || this.#disk.freeBytes >= pageBytes) return;
    this.#disk.counts.add("full-disk");
    throw new DiskError("full", `no space to create ${path}`);
  }

  list(directory: string): Promise<readonly string[]> {
    return this.#look(`list ${directory}`, [directory], () => this.#disk.tree.list(directory));
  }

  makeDirectory(path: string): Promise<void> {
    return this.#change(`makeDirectory ${path}`, [path], () => {
      this.#needBlock(path);
      this.#disk.tree.makeDirectory(path);
    });
  }

  remove(path: string): Promise<void> {
    return this.#change(`remove ${path}`, [path], () => this.#disk.tree.remove(path));
  }

  rename(from: string, to: string): Promise<void> {
    return this.#change(`rename ${from} ${to}`, [from, to], () => this.#disk.tree.rename(from, to));
  }

  syncDirectory(path: string): Promise<void> {
    splitPath(path);
    let complete: () => void;
    try {
      complete = this.#disk.tree.beginSync(path);
    } catch (error) {
      return Promise.reject(error);
    }
    return this.#disk.operate(this.#life, { operation: "sync", label: `syncDirectory ${path}`, effect: complete });
  }

  freeBytes(): Promise<number> {
    return this.#look("freeBytes", [], () => this.#disk.freeBytes);
  }

  async lock(path: string): Promise<{ release(): Promise<void> }> {
    const lockPath = await this.#change(`lock ${path}`, [path], () => {
      if (this.#disk.locks.has(path)) throw new DiskError("busy", `${path} is locked`);
      if (this.#disk.tree.file(path) === undefined) this.#disk.tree.create(path);
      this.#disk.locks.add(path);
      return path;
    });
    const release = () => this.#look(`unlock ${path}`, [], () => void this.#disk.locks.delete(lockPath));
    return { release };
  }

  #look<T>(label: string, paths: readonly string[], effect: () => T): Promise<T> {
    for (const path of paths) splitPath(path);
    return this.#disk.operate(this.#life, { operation: "name", label, effect });
  }

  /** A crash in the middle may leave its whole effect, which is then still unsynced, or nothing of it. */
  #change<T>(label: string, paths: readonly string[], effect: () => T): Promise<T> {
    for (const path of paths) splitPath(path);
    const onCrash = () => {
      if (!this.#disk.random.chance(0.5)) return;
      try {
        effect();
      } catch (error) {
        // It would have been refused: then there is nothing that the crash could leave.
        if (!(error instanceof DiskError)) throw error;
      }
    };
    return this.#disk.operate(this.#life, { operation: "name", label, effect, onCrash });
  }
}
