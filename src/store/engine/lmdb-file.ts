/**
 * Checks a whole LMDB data file of a store with plain reads, without LMDB: every page that the newest meta page reaches,
 * every key's order, every entry's checksum, the list of free pages, and that all of it adds up to the state record. What
 * passes cannot lead LMDB out of the file, and holds exactly the entries that were last committed.
 *
 * P1  A page is reached at most once, lies within the file, and is not free as well.
 * P2  Keys ascend strictly within a page and stay between the keys of their parent's nodes.
 * P3  Depth, page counts and entry count of each database are what its record says.
 *
 * Branch pages are read one by one, level by level (about one in a hundred); leaf and overflow pages in order of their place.
 * Reads are asynchronous; between two of them the event loop is held for a few milliseconds at most.
 */
import { closeSync, openSync, readSync } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { crc32 } from "../../base/digest.ts";
import { checkedValueOverheadBytes, readChecksum } from "../checked-value.ts";
import { entriesName, stateName } from "./lmdb-environment.ts";
import {
  type DatabaseRecord,
  damagedFile,
  databaseRecordBytes,
  type Meta,
  NodeCursor,
  nodeFlags,
  noPage,
  pageFlags,
  pageHeaderBytes,
  readDatabaseRecord,
  readMeta,
  uint64,
} from "./lmdb-page.ts";
import { addChecksum, decodeState, emptyState, type StoreState } from "./lmdb-state.ts";

const readBytes = 512 * 1024;
/** More than the part of a meta page that means something. */
const metaBytes = 256;
const depthMax = 24;

/** Throws `damaged`; other errors are the file system's own. */
export async function checkLmdbFile(path: string): Promise<StoreState> {
  const file = await open(path, "r");
  try {
    return await new FileCheck(file, (await file.stat()).size).run();
  } finally {
    await file.close();
  }
}

/** Throws `damaged` where the meta pages are not those of such a file; other errors are the file system's own. */
export function checkLmdbMetas(path: string): void {
  const file = openSync(path, "r");
  try {
    const metaAt = (position: number): Buffer => {
      const bytes = Buffer.alloc(metaBytes);
      if (readSync(file, bytes, 0, metaBytes, position) < metaBytes) throw damagedFile("it ends before its meta pages");
      return bytes;
    };
    const first = readMeta(metaAt(0), 0);
    const second = readMeta(metaAt(first.pageBytes), 1);
    if (first.pageBytes !== second.pageBytes) throw damagedFile("the meta pages disagree about the page size");
  } finally {
    closeSync(file);
  }
}

/** A page to visit, and the keys between which its own must stay (P2). */
interface Visit {
  readonly page: number;
  readonly low: Buffer | undefined;
  readonly high: Buffer | undefined;
}

/** A value on overflow pages that is still to be read. `value` gets it all where it is wanted; `checksum` covers the key. */
interface Overflow {
  readonly page: number;
  readonly bytes: number;
  readonly keyChecksum: number;
}

/** What is done with the leaf entries of one database; `data` is valid during the call only. */
interface Tree {
  readonly record: DatabaseRecord;
  /** Integer keys of the free list are ordered by LMDB in its own way; all others by bytes. */
  readonly ordered: boolean;
  entry(key: Buffer, data: Buffer): void;
}

class FileCheck {
  readonly #file: FileHandle;
  readonly #fileBytes: number;
  readonly #nodes = new NodeCursor();
  #pageBytes = 4096;
  #pageCount = 0;
  #transaction = 0;
  /** One byte per page: 1 reached, 2 free. */
  #seen = new Uint8Array(0);

  constructor(file: FileHandle, fileBytes: number) {
    this.#file = file;
    this.#fileBytes = fileBytes;
  }

  async run(): Promise<StoreState> {
    const meta = await this.#readMetas();
    const free: Buffer[] = [];
    await this.#walk({
      record: meta.free,
      ordered: false,
      entry: (key, data) => {
        if (key.length !== 8) throw damagedFile("the list of free pages has a key that is no transaction");
        free.push(Buffer.from(data));
      },
    });
    const databases = new Map<string, DatabaseRecord>();
    await this.#walk({
      record: meta.main,
      ordered: true,
      entry: (key, data) => {
        if (data.length !== databaseRecordBytes) throw damagedFile("the main database holds more than databases");
        // lmdb-js ends names with a zero byte.
        databases.set(key.toString("latin1").replace(/\0$/, ""), readDatabaseRecord(data, 0));
      },
    });
    const state = await this.#checkStore(databases);
    for (const data of free) this.#checkFree(data);
    return state;
  }

  async #readMetas(): Promise<Meta> {
    const first = readMeta(await this.#readAt(0, metaBytes), 0);
    const second = readMeta(await this.#readAt(first.pageBytes, metaBytes), 1);
    const meta = second.transaction > first.transaction ? second : first;
    if (first.pageBytes !== second.pageBytes) throw damagedFile("the meta pages disagree about the page size");
    // Integer keys for the free list, where LMDB also keeps that the path is a file's; nothing else is ever asked for.
    if (meta.free.flags !== 0x4008 || meta.main.flags !== 0) throw damagedFile("the meta page has unknown flags");
    this.#pageBytes = meta.pageBytes;
    this.#transaction = meta.transaction;
    this.#pageCount = meta.lastPage + 1;
    // The file is never longer in pages than the last one used, but may be a little shorter: its last pages may be free.
    if (meta.lastPage < 1 || meta.lastPage * meta.pageBytes > 2 * this.#fileBytes + 2 ** 20) {
      throw damagedFile("it has fewer pages than its meta page says");
    }
    this.#seen = new Uint8Array(this.#pageCount);
    this.#seen[0] = 1;
    this.#seen[1] = 1;
    return meta;
  }

  async #checkStore(databases: ReadonlyMap<string, DatabaseRecord>): Promise<StoreState> {
    let state: StoreState = emptyState;
    let checksumSum = 0;
    let entryCount = 0;
    for (const [name, record] of databases) {
      if (record.flags !== 0) throw damagedFile("a database has unknown flags");
      if (name === stateName) {
        await this.#walk({
          record,
          ordered: true,
          entry: (_key, data) => {
            state = decodeState(data);
          },
        });
      } else if (name === entriesName) {
        await this.#walk(
          {
            record,
            ordered: true,
            entry: () => undefined,
          },
          (checksum) => {
            checksumSum = addChecksum(checksumSum, checksum);
            entryCount++;
          },
        );
      } else throw damagedFile("it has a database that is not the store's");
    }
    if (state.entryCount !== entryCount || state.checksumSum !== checksumSum) {
      throw damagedFile("its entries do not add up to what was last written");
    }
    return state;
  }

  /** Walks one database. With `sealed`, all data are sealed values, whose checksums are verified and handed over. */
  async #walk(tree: Tree, sealed?: (checksum: number) => void): Promise<void> {
    const { record } = tree;
    if (record.rootPage >= noPage) {
      if (record.entryCount !== 0 || record.depth !== 0) throw damagedFile("a database has entries but no page");
      return;
    }
    if (record.depth < 1 || record.depth > depthMax) throw damagedFile("a database has an impossible depth");
    let level: Visit[] = [{ page: record.rootPage, low: undefined, high: undefined }];
    let branchPages = 0;
    for (let depth = 1; depth < record.depth; depth++) {
      branchPages += level.length;
      level = await this.#descend(level, tree.ordered);
    }
    for (const { page } of level) this.#reach(page, 1);
    level.sort((a, b) => a.page - b.page);
    const overflows: Overflow[] = [];
    let entryCount = 0;
    for await (const [visit, page] of this.#pages(level)) {
      entryCount += this.#checkLeaf(visit, page, tree, sealed, overflows);
    }
    let overflowPages = 0;
    overflows.sort((a, b) => a.page - b.page);
    for (const overflow of overflows) overflowPages += await this.#checkOverflow(overflow, sealed);
    if (
      branchPages !== record.branchPages ||
      level.length !== record.leafPages ||
      entryCount !== record.entryCount ||
      overflowPages !== record.overflowPages
    ) {
      throw damagedFile("a database has not the pages or entries that its record says");
    }
  }

  async #descend(level: readonly Visit[], ordered: boolean): Promise<Visit[]> {
    const next: Visit[] = [];
    for (const visit of level) {
      this.#reach(visit.page, 1);
      const page = await this.#readAt(visit.page * this.#pageBytes, this.#pageBytes);
      const nodes = this.#nodes;
      if (nodes.enter(page, visit.page, this.#transaction) !== "branch" || nodes.count < 2) {
        throw damagedFile(`page ${visit.page} should be a branch`);
      }
      const children: number[] = [];
      const keys: Buffer[] = [];
      for (let index = 0; index < nodes.count; index++) {
        nodes.node(index);
        children.push(nodes.child);
        keys.push(page.subarray(nodes.keyAt, nodes.keyEnd));
        // The first node stands for everything below the second one's key; LMDB never looks at its key.
        if (ordered && index > 1 && Buffer.compare(keys[index - 1]!, keys[index]!) >= 0) {
          throw damagedFile(`page ${visit.page} has keys out of order`);
        }
      }
      if (ordered && visit.low && Buffer.compare(keys[1]!, visit.low) <= 0) this.#outside(visit);
      if (ordered && visit.high && Buffer.compare(keys.at(-1)!, visit.high) >= 0) this.#outside(visit);
      for (let index = 0; index < children.length; index++) {
        next.push({
          page: children[index]!,
          low: index === 0 ? visit.low : keys[index],
          high: index + 1 < children.length ? keys[index + 1] : visit.high,
        });
      }
    }
    return next;
  }

  #checkLeaf(
    visit: Visit,
    page: Buffer,
    tree: Tree,
    sealed: ((checksum: number) => void) | undefined,
    overflows: Overflow[],
  ): number {
    const nodes = this.#nodes;
    if (nodes.enter(page, visit.page, this.#transaction) !== "leaf" || nodes.count < 1) {
      throw damagedFile(`page ${visit.page} should be a leaf with entries`);
    }
    let previousAt = 0;
    let previousEnd = 0;
    for (let index = 0; index < nodes.count; index++) {
      nodes.node(index);
      const { keyAt, keyEnd, dataEnd } = nodes;
      if (tree.ordered) {
        if (index > 0 && compareWithin(page, previousAt, previousEnd, keyAt, keyEnd) >= 0) {
          throw damagedFile(`page ${visit.page} has keys out of order`);
        }
        if (index === 0 && visit.low && Buffer.compare(page.subarray(keyAt, keyEnd), visit.low) < 0)
          this.#outside(visit);
        previousAt = keyAt;
        previousEnd = keyEnd;
      }
      if (nodes.flags === nodeFlags.overflow) {
        if (nodes.dataBytes < checkedValueOverheadBytes) throw damagedFile(`page ${visit.page} has an impossible size`);
        overflows.push({
          page: uint64(page, keyEnd),
          bytes: nodes.dataBytes,
          keyChecksum: crc32(page.subarray(keyAt, keyEnd)),
        });
        // Of the free list's long records only the pages are checked here; see `#checkFree`.
        continue;
      }
      if (nodes.flags !== 0 && nodes.flags !== nodeFlags.database) {
        throw damagedFile(`page ${visit.page} has a node of no kind`);
      }
      if (sealed !== undefined) {
        const valueEnd = dataEnd - checkedValueOverheadBytes;
        if (valueEnd < keyEnd) throw damagedFile(`page ${visit.page} has an entry without a checksum`);
        const checksum = crc32(page.subarray(keyAt, valueEnd));
        if (checksum !== page.readUInt32LE(valueEnd))
          throw damagedFile(`page ${visit.page} has an entry that is damaged`);
        sealed(checksum);
      } else tree.entry(page.subarray(keyAt, keyEnd), page.subarray(keyEnd, dataEnd));
    }
    if (tree.ordered && visit.high && Buffer.compare(page.subarray(previousAt, previousEnd), visit.high) >= 0) {
      this.#outside(visit);
    }
    return nodes.count;
  }

  /** Returns its number of pages. */
  async #checkOverflow(overflow: Overflow, sealed: ((checksum: number) => void) | undefined): Promise<number> {
    const pages = Math.ceil((pageHeaderBytes + overflow.bytes) / this.#pageBytes);
    for (let index = 0; index < pages; index++) this.#reach(overflow.page + index, 1);
    const whole = await this.#readAt(overflow.page * this.#pageBytes, pageHeaderBytes + overflow.bytes);
    if (
      uint64(whole, 0) !== overflow.page ||
      whole.readUInt16LE(18) !== pageFlags.overflow ||
      whole.readUInt32LE(20) !== pages
    ) {
      throw damagedFile(`overflow page ${overflow.page} has a wrong header`);
    }
    const data = whole.subarray(pageHeaderBytes);
    if (sealed === undefined) this.#checkFree(data);
    else {
      const checksum = crc32(data.subarray(0, data.length - checkedValueOverheadBytes), overflow.keyChecksum);
      if (checksum !== readChecksum(data)) throw damagedFile(`overflow page ${overflow.page} holds a damaged entry`);
      sealed(checksum);
    }
    return pages;
  }

  /**
   * One record of the free list: a count, then page numbers; a negative number before one says how many pages in a row it
   * stands for; zeros are gaps. A page that is free and in use would be overwritten.
   */
  #checkFree(data: Buffer): void {
    if (data.length < 8 || data.length % 8 !== 0)
      throw damagedFile("the list of free pages has a record of a wrong size");
    const count = data.readBigInt64LE(0);
    if (count < 0n || count * 8n + 8n > BigInt(data.length))
      throw damagedFile("the list of free pages has a wrong count");
    let run = 1;
    for (let index = 1; index <= Number(count); index++) {
      const value = Number(data.readBigInt64LE(8 * index));
      if (value < 0) run = -value;
      else if (value > 0) {
        if (value + run > this.#pageCount) throw damagedFile("the list of free pages names one beyond the last");
        for (let page = value; page < value + run; page++) this.#reach(page, 2);
        run = 1;
      }
    }
  }

  /** P1. */
  #reach(page: number, as: 1 | 2): void {
    if (!(page >= 2 && page < this.#pageCount)) throw damagedFile(`page ${page} is beyond the last one`);
    if (as === 1 && (page + 1) * this.#pageBytes > this.#fileBytes) throw damagedFile(`it ends before page ${page}`);
    if (this.#seen[page] !== 0) throw damagedFile(`page ${page} is used twice`);
    this.#seen[page] = as;
  }

  #outside(visit: Visit): never {
    throw damagedFile(`page ${visit.page} has keys outside of its place in the tree`);
  }

  /** The pages of `visits`, which are in ascending order, with few large reads. A page is valid until the next one. */
  async *#pages(visits: readonly Visit[]): AsyncIterable<[Visit, Buffer]> {
    const pageBytes = this.#pageBytes;
    // One for all reads: else a large file leaves as much garbage as it is large.
    const buffer = Buffer.allocUnsafe(Math.min(readBytes, this.#fileBytes));
    let index = 0;
    while (index < visits.length) {
      const begin = visits[index]!.page * pageBytes;
      const bytes = await this.#readInto(buffer.subarray(0, this.#fileBytes - begin), begin);
      for (; index < visits.length; index++) {
        const visit = visits[index]!;
        const at = visit.page * pageBytes - begin;
        if (at + pageBytes > bytes.length) break;
        yield [visit, bytes.subarray(at, at + pageBytes)];
      }
    }
  }

  #readAt(position: number, length: number): Promise<Buffer> {
    return this.#readInto(Buffer.allocUnsafe(length), position);
  }

  async #readInto(bytes: Buffer, position: number): Promise<Buffer> {
    let filled = 0;
    while (filled < bytes.length) {
      const { bytesRead } = await this.#file.read(bytes, filled, bytes.length - filled, position + filled);
      if (bytesRead === 0) throw damagedFile("it is shorter than it should be");
      filled += bytesRead;
    }
    return bytes;
  }
}

/** Orders two keys of one page by their bytes. */
function compareWithin(page: Buffer, aAt: number, aEnd: number, bAt: number, bEnd: number): number {
  const length = Math.min(aEnd - aAt, bEnd - bAt);
  for (let index = 0; index < length; index++) {
    const difference = page[aAt + index]! - page[bAt + index]!;
    if (difference !== 0) return difference;
  }
  return aEnd - aAt - (bEnd - bAt);
}
