/**
 * The content of one simulated file, twice: as programs see it (the cache), and as it stands on the platter (durable).
 *
 * I1  A sector (512 bytes) is written whole or not at all; sectors of one write are independent of each other.
 * I2  What a completed sync covered is durable: everything written before that sync began.
 * I3  After a failed sync its sectors are clean for the cache, yet each may be missing on the platter: a later sync that
 *     succeeds does not bring them back (Rebello et al., "Can Applications Recover from fsync Failures?", ATC 2020).
 * I4  Bytes past the end read as zeros once the file grows again.
 *
 * Content is kept in pages of 4 KiB. A page that was never written with anything but zeros is not kept at all, so a
 * preallocated file costs nothing; and only pages with unsynced sectors are kept twice.
 */
import type { SeededRandom } from "../base/random.ts";

export const sectorBytes = 512;
export const pageBytes = 4096;
const sectorsPerPage = pageBytes / sectorBytes;

const sparePagesMax = 16;

const zeroPage = new Uint8Array(pageBytes);

class Page {
  readonly current = new Uint8Array(pageBytes);
  /** The platter's content; kept only while it may differ. */
  durable: Uint8Array | undefined;
  /** Bit per sector: written since it was last synced. */
  dirty = 0;
  /** Bit per sector: a sync failed for it, and it did not reach the platter. */
  lost = 0;
  /** For each dirty sector, the write (counted per file) since which the platter has lacked something of it. */
  readonly dirtySince: number[] = new Array(sectorsPerPage).fill(0);
}

/** What a crash did to one file. */
export interface CrashDamage {
  readonly sectorsKept: number;
  readonly sectorsLost: number;
}

function isZero(bytes: Uint8Array): boolean {
  return Buffer.compare(bytes, bytes.length === pageBytes ? zeroPage : zeroPage.subarray(0, bytes.length)) === 0;
}

function copySector(from: Uint8Array, to: Uint8Array, sector: number): void {
  const start = sector * sectorBytes;
  to.set(from.subarray(start, start + sectorBytes), start);
}

export class Inode {
  #sizeBytes = 0;
  #durableSizeBytes = 0;
  #sizeChangedAt = 0;
  #sizeLost = false;
  #writeCount = 0;
  readonly #pages = new Map<number, Page>();
  readonly #unsettled = new Map<number, Page>();
  /** Buffers that held platter content and will do so again: making them is most of what a small write costs. */
  readonly #spare: Uint8Array[] = [];
  /** A byte per page: 1 where the file system has given it a block. Holes have none. */
  #allocated = new Uint8Array(16);
  #allocatedCount = 0;

  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  get allocatedBytes(): number {
    return this.#allocatedCount * pageBytes;
  }

  /** Marks the present, for `completeSync`: what is written later is not covered. */
  get now(): number {
    return this.#writeCount;
  }

  /** A copy; shorter than `length` only at the end of the file. */
  read(position: number, length: number): Uint8Array {
    const end = Math.min(position + length, this.#sizeBytes);
    const bytes = new Uint8Array(Math.max(0, end - position));
    for (let at = position; at < end; ) {
      const index = Math.floor(at / pageBytes);
      const pageEnd = Math.min(end, (index + 1) * pageBytes);
      const page = this.#pages.get(index);
      if (page !== undefined) {
        const pageStart = index * pageBytes;
        bytes.set(page.current.subarray(at - pageStart, pageEnd - pageStart), at - position);
      }
      at = pageEnd;
    }
    return bytes;
  }

  /** Bytes that the file system must find for this write. */
  bytesToAllocate(position: number, length: number): number {
    let count = 0;
    const last = Math.floor((position + length - 1) / pageBytes);
    for (let index = Math.floor(position / pageBytes); index <= last; index++) {
      if (this.#allocated[index] !== 1) count++;
    }
    return count * pageBytes;
  }

  /** Writes into the cache. Where it writes over an unsynced sector, `random` says whether that one reached the platter. */
  write(position: number, bytes: Uint8Array, random: SeededRandom): void {
    this.#writeCount++;
    const end = position + bytes.length;
    for (let at = position; at < end; ) {
      const index = Math.floor(at / pageBytes);
      const pageEnd = Math.min(end, (index + 1) * pageBytes);
      this.#allocate(index);
      this.#writePage(index, at - index * pageBytes, bytes.subarray(at - position, pageEnd - position), random);
      at = pageEnd;
    }
    if (end > this.#sizeBytes && bytes.length > 0) this.#resize(end);
  }

  #allocate(index: number): void {
    if (index >= this.#allocated.length) {
      const grown = new Uint8Array(Math.max(index + 1, 2 * this.#allocated.length));
      grown.set(this.#allocated);
      this.#allocated = grown;
    }
    if (this.#allocated[index] === 1) return;
    this.#allocated[index] = 1;
    this.#allocatedCount++;
  }

  #resize(sizeBytes: number): void {
    this.#sizeBytes = sizeBytes;
    this.#sizeChangedAt = this.#writeCount;
    this.#sizeLost = false;
  }

  #writePage(index: number, offset: number, bytes: Uint8Array, random: SeededRandom): void {
    let page = this.#pages.get(index);
    if (page === undefined) {
      if (isZero(bytes)) return;
      page = new Page();
      this.#pages.set(index, page);
    }
    const firstSector = Math.floor(offset / sectorBytes);
    const lastSector = Math.floor((offset + bytes.length - 1) / sectorBytes);
    if (page.durable === undefined) {
      page.durable = this.#spare.pop() ?? new Uint8Array(pageBytes);
      page.durable.set(page.current);
      this.#unsettled.set(index, page);
    }
    for (let sector = firstSector; sector <= lastSector; sector++) {
      const bit = 1 << sector;
      const isDirty = (page.dirty & bit) !== 0;
      const reachedPlatter = isDirty && random.chance(0.5);
      if (reachedPlatter) copySector(page.current, page.durable, sector);
      // A sync that is under way covers what was dirty when it began: it must not end with an older version than that.
      if (!isDirty || reachedPlatter) page.dirtySince[sector] = this.#writeCount;
      page.dirty |= bit;
      page.lost &= ~bit;
    }
    page.current.set(bytes, offset);
  }

  /** Cuts or grows the file in the cache; growing allocates nothing. */
  truncate(sizeBytes: number, random: SeededRandom): void {
    this.#writeCount++;
    if (sizeBytes < this.#sizeBytes) {
      for (const index of [...this.#pages.keys()]) {
        const start = Math.max(sizeBytes - index * pageBytes, 0);
        if (start < pageBytes) this.#writePage(index, start, zeroPage.subarray(start), random);
      }
      this.#freeFrom(sizeBytes);
    }
    this.#resize(sizeBytes);
  }

  #freeFrom(sizeBytes: number): void {
    for (let index = Math.ceil(sizeBytes / pageBytes); index < this.#allocated.length; index++) {
      this.#allocatedCount -= this.#allocated[index]!;
      this.#allocated[index] = 0;
    }
  }

  /** Everything written up to `mark` (a former `now`) is on the platter, and the file is as long there as it was then. */
  completeSync(mark: number, sizeBytesAtMark: number): void {
    for (const [index, page] of this.#unsettled) {
      this.#completePage(index, page, (sector) => page.dirtySince[sector]! <= mark);
    }
    if (this.#sizeLost) return;
    this.#durableSizeBytes =
      this.#sizeChangedAt <= mark ? this.#sizeBytes : Math.max(this.#durableSizeBytes, sizeBytesAtMark);
  }

  /** The sectors of these bytes are on the platter, and the file reaches at least to their end there. */
  completeRange(position: number, length: number): void {
    if (length === 0) return;
    const last = Math.floor((position + length - 1) / pageBytes);
    for (let index = Math.floor(position / pageBytes); index <= last; index++) {
      const page = this.#unsettled.get(index);
      if (page === undefined) continue;
      const from = Math.floor((position - index * pageBytes) / sectorBytes);
      const to = Math.floor((position + length - 1 - index * pageBytes) / sectorBytes);
      this.#completePage(index, page, (sector) => sector >= from && sector <= to);
    }
    this.#durableSizeBytes = Math.max(this.#durableSizeBytes, Math.min(this.#sizeBytes, position + length));
  }

  #completePage(index: number, page: Page, isCovered: (sector: number) => boolean): void {
    for (let sector = 0; sector < sectorsPerPage; sector++) {
      const bit = 1 << sector;
      if ((page.dirty & bit) === 0 || !isCovered(sector)) continue;
      copySector(page.current, page.durable!, sector);
      page.dirty &= ~bit;
    }
    if (page.dirty === 0 && page.lost === 0) this.#settle(index, page);
  }

  #settle(index: number, page: Page): void {
    if (this.#spare.length < sparePagesMax) this.#spare.push(page.durable!);
    page.durable = undefined;
    this.#unsettled.delete(index);
  }

  /** A sync of what was written up to `mark` failed (I3). */
  failSync(mark: number, random: SeededRandom): void {
    for (const [index, page] of this.#unsettled) {
      for (let sector = 0; sector < sectorsPerPage; sector++) {
        const bit = 1 << sector;
        if ((page.dirty & bit) === 0 || page.dirtySince[sector]! > mark) continue;
        page.dirty &= ~bit;
        if (random.chance(0.5)) copySector(page.current, page.durable!, sector);
        else page.lost |= bit;
      }
      if (page.dirty === 0 && page.lost === 0) this.#settle(index, page);
    }
    if (this.#sizeChangedAt > mark || this.#durableSizeBytes === this.#sizeBytes) return;
    if (random.chance(0.5)) this.#durableSizeBytes = this.#sizeBytes;
    else this.#sizeLost = true;
  }

  /** The power fails: the platter's content becomes the only one. Each unsynced sector is there or not (I1). */
  crash(random: SeededRandom): CrashDamage {
    // Most real crashes lose nearly all or nearly nothing; an even mixture would hardly ever show those.
    const survival = random.pick([0, 0.5, 1, random.next()]);
    let sectorsKept = 0;
    let sectorsLost = 0;
    for (const [index, page] of this.#unsettled) {
      for (let sector = 0; sector < sectorsPerPage; sector++) {
        const bit = 1 << sector;
        if (((page.dirty | page.lost) & bit) === 0) continue;
        if ((page.dirty & bit) !== 0 && random.chance(survival)) sectorsKept++;
        else {
          copySector(page.durable!, page.current, sector);
          sectorsLost++;
        }
      }
      page.dirty = 0;
      page.lost = 0;
      this.#settle(index, page);
    }
    this.#crashSize(random, survival);
    return { sectorsKept, sectorsLost };
  }

  #crashSize(random: SeededRandom, survival: number): void {
    const from = Math.min(this.#durableSizeBytes, this.#sizeBytes);
    const to = Math.max(this.#durableSizeBytes, this.#sizeBytes);
    let sizeBytes = this.#durableSizeBytes;
    if (from !== to && !this.#sizeLost && random.chance(survival)) {
      // It had reached its last size, or one on the way there.
      const sectors = Math.floor((to - from) / sectorBytes);
      sizeBytes = random.chance(0.5) ? this.#sizeBytes : from + sectorBytes * random.integer(sectors + 1);
    }
    this.#setImage(sizeBytes);
  }

  /** Makes `sizeBytes` the size in both images, of which no page differs; what lies beyond is gone. */
  #setImage(sizeBytes: number): void {
    if (sizeBytes < this.#sizeBytes) {
      for (const [index, page] of this.#pages) {
        const start = Math.max(sizeBytes - index * pageBytes, 0);
        if (start < pageBytes) page.current.fill(0, start);
      }
      this.#freeFrom(sizeBytes);
    }
    this.#sizeBytes = sizeBytes;
    this.#durableSizeBytes = sizeBytes;
    this.#sizeLost = false;
  }

  /** Damage: inverts one bit, in the cache and on the platter. Bit 0 is the lowest of the first byte. */
  flip(bitOffset: number): void {
    const at = Math.floor(bitOffset / 8);
    const index = Math.floor(at / pageBytes);
    let page = this.#pages.get(index);
    if (page === undefined) {
      page = new Page();
      this.#pages.set(index, page);
    }
    const mask = 1 << (bitOffset % 8);
    page.current[at % pageBytes]! ^= mask;
    if (page.durable !== undefined) page.durable[at % pageBytes]! ^= mask;
  }

  /** Damage: cuts or grows the file, in the cache and on the platter; all else in the cache becomes durable. */
  cut(sizeBytes: number): void {
    for (const [index, page] of this.#unsettled) {
      page.dirty = 0;
      page.lost = 0;
      this.#settle(index, page);
    }
    this.#setImage(sizeBytes);
  }

  /** A file with the content that this one has in the cache, all of it durable. */
  clone(): Inode {
    const clone = new Inode();
    for (const [index, page] of this.#pages) {
      const copy = new Page();
      copy.current.set(page.current);
      clone.#pages.set(index, copy);
    }
    clone.#allocated = this.#allocated.slice();
    clone.#allocatedCount = this.#allocatedCount;
    clone.#setImage(this.#sizeBytes);
    return clone;
  }
}
