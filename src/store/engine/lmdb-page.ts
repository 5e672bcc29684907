/**
 * LMDB's pages as they stand in the file (data version 2 of the LMDB 0.9.90 that lmdb-js carries; little-endian), read with
 * every offset checked before it is followed. LMDB itself follows them unchecked, which is how a flipped bit ends a process.
 *
 *     header, 24 bytes: page number (8) · transaction (8) · pad (2) · flags (2) · lower (2) · upper (2)
 *                       an overflow page has its page count (4) in place of lower and upper
 *     then node offsets (2 each, from the header's end), free space, nodes from the page's end downwards
 *     node: size or page number (4) · flags, or page number's top (2) · key size (2) · key · data
 */
import { OnefoldError } from "../../base/errors.ts";

export const pageHeaderBytes = 24;
const nodeHeaderBytes = 8;
export const pageFlags = { branch: 1, leaf: 2, overflow: 4, meta: 8 } as const;
export const nodeFlags = { overflow: 1, database: 2 } as const;

/** LMDB's 'no page', as far as a double tells it apart from any page that can exist. */
export const noPage = 2 ** 64;

/** One database's record: in a meta page, or as the data of a node in the main database. */
export interface DatabaseRecord {
  readonly flags: number;
  readonly depth: number;
  readonly entryCount: number;
  readonly branchPages: number;
  readonly leafPages: number;
  readonly overflowPages: number;
  readonly rootPage: number;
}

export const databaseRecordBytes = 48;

export interface Meta {
  readonly pageBytes: number;
  readonly free: DatabaseRecord;
  readonly main: DatabaseRecord;
  readonly lastPage: number;
  readonly transaction: number;
}

export function damagedFile(why: string): OnefoldError {
  return new OnefoldError("damaged", `The store's file is damaged: ${why}. It must be rebuilt.`);
}

const magic = 0xbeefc0de;
const dataVersion = 2;

/** Reads a meta page; `page` starts with its header and holds at least 256 bytes. */
export function readMeta(page: Buffer, expectedPage: number): Meta {
  const at = pageHeaderBytes;
  if (page.readUInt32LE(at) !== magic || (page.readUInt32LE(at + 4) & 0xffff) !== dataVersion) {
    throw damagedFile(`meta page ${expectedPage} is not one`);
  }
  if (uint64(page, 0) !== expectedPage || page.readUInt16LE(18) !== pageFlags.meta) {
    throw damagedFile(`meta page ${expectedPage} has a wrong header`);
  }
  const pageBytes = page.readUInt32LE(at + 24);
  if (pageBytes < 4096 || pageBytes > 65536 || (pageBytes & (pageBytes - 1)) !== 0) {
    throw damagedFile(`meta page ${expectedPage} tells an impossible page size`);
  }
  return {
    pageBytes,
    free: readDatabaseRecord(page, at + 24),
    main: readDatabaseRecord(page, at + 24 + databaseRecordBytes),
    lastPage: uint64(page, at + 24 + 2 * databaseRecordBytes),
    transaction: uint64(page, at + 32 + 2 * databaseRecordBytes),
  };
}

export function readDatabaseRecord(bytes: Buffer, at: number): DatabaseRecord {
  return {
    flags: bytes.readUInt16LE(at + 4),
    depth: bytes.readUInt16LE(at + 6),
    branchPages: uint64(bytes, at + 8),
    leafPages: uint64(bytes, at + 16),
    overflowPages: uint64(bytes, at + 24),
    entryCount: uint64(bytes, at + 32),
    rootPage: uint64(bytes, at + 40),
  };
}

/** Exact below 2^53; above, only good for seeing that it is too much. */
export function uint64(bytes: Buffer, at: number): number {
  return bytes.readUInt32LE(at) + bytes.readUInt32LE(at + 4) * 2 ** 32;
}

/** Where a node's parts are, within its page. One object is reused for all nodes: a file has millions. */
export class NodeCursor {
  #page: Buffer = Buffer.alloc(0);
  #pageNumber = 0;
  #isBranch = false;
  #upper = 0;
  count = 0;
  keyAt = 0;
  keyEnd = 0;
  dataEnd = 0;
  /** The child's page number, on a branch page. */
  child = 0;
  flags = 0;
  /** The data's size; for data on overflow pages that of the value, not of what stands in the node. */
  dataBytes = 0;

  /** Checks the page's header and that its nodes fill exactly the space they should. */
  enter(page: Buffer, pageNumber: number, transactionMax: number): "branch" | "leaf" {
    const flags = page.readUInt16LE(18);
    if (flags !== pageFlags.branch && flags !== pageFlags.leaf) throw damagedFile(`page ${pageNumber} is of no kind`);
    if (uint64(page, 0) !== pageNumber || uint64(page, 8) > transactionMax) {
      throw damagedFile(`page ${pageNumber} has a wrong header`);
    }
    const lower = page.readUInt16LE(20);
    const upper = page.readUInt16LE(22);
    if ((lower & 1) !== 0 || lower > upper || upper > page.length - pageHeaderBytes) {
      throw damagedFile(`page ${pageNumber} has wrong bounds`);
    }
    this.#page = page;
    this.#pageNumber = pageNumber;
    this.#isBranch = flags === pageFlags.branch;
    this.#upper = upper;
    this.count = lower >> 1;
    let bytes = 0;
    for (let index = 0; index < this.count; index++) {
      this.node(index);
      // Nodes are padded to an even size.
      bytes += (this.dataEnd - this.keyAt + nodeHeaderBytes + 1) & ~1;
    }
    if (bytes !== page.length - pageHeaderBytes - upper) throw damagedFile(`page ${pageNumber} has nodes that overlap`);
    return this.#isBranch ? "branch" : "leaf";
  }

  /** Moves to a node of the page. */
  node(index: number): void {
    const page = this.#page;
    const offset = page.readUInt16LE(pageHeaderBytes + 2 * index);
    const at = pageHeaderBytes + offset;
    if (offset < this.#upper || at + nodeHeaderBytes > page.length) this.#fail(index);
    const low = page.readUInt32LE(at);
    const flags = page.readUInt16LE(at + 4);
    this.keyAt = at + nodeHeaderBytes;
    this.keyEnd = this.keyAt + page.readUInt16LE(at + 6);
    if (this.#isBranch) {
      this.child = low + flags * 2 ** 32;
      this.flags = 0;
      this.dataBytes = 0;
      this.dataEnd = this.keyEnd;
    } else {
      this.flags = flags;
      this.dataBytes = low;
      this.dataEnd = this.keyEnd + (flags === nodeFlags.overflow ? 24 : low);
    }
    if (this.dataEnd > page.length) this.#fail(index);
  }

  #fail(index: number): never {
    throw damagedFile(`node ${index} of page ${this.#pageNumber} is out of bounds`);
  }
}
