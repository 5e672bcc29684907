/**
 * A simulated disk: its content outlives the lives of the node that uses it, and a crash leaves of what was not synced
 * whatever the seed says. `inode.ts` and `directory-tree.ts` define what may survive.
 *
 * K1  An operation takes effect when it completes, some virtual time after it was begun: operations that are under way
 *     together take effect in an order that the seed chooses, and bytes that a caller changes meanwhile are written changed.
 * K2  At a crash no operation of that life settles any more. Writes under way may have taken effect, by sectors.
 * K3  A disk has at most one life at a time; `attach` after a crash begins the next.
 *
 * Every operation is counted and can be made the place of a crash (`crashAt`), so that a test can crash at each of them.
 */
import { assert } from "../base/assert.ts";
import type { SeededRandom } from "../base/random.ts";
import { type Disk, DiskError } from "../host/host.ts";
import { DirectoryTree } from "./directory-tree.ts";
import { FaultCounts, type FaultKind } from "./faults.ts";
import { type Inode, sectorBytes } from "./inode.ts";
import { type CrashMoment, NodeLife } from "./life.ts";
import type { Scheduler } from "./scheduler.ts";
import { LiveDisk } from "./live-disk.ts";

/** What an operation is, as far as latency and injected failures go. `name` operations change or list directories. */
export type DiskOperation = "read" | "write" | "sync" | "name";

/** The probability that an operation fails with `failed`, by kind; absent is 0. A failed sync loses writes (I3). */
export type DiskFaultRates = { readonly [operation in DiskOperation]?: number };

/** Milliseconds, uniform between the two. */
export type DiskLatency = { readonly [operation in DiskOperation]: readonly [minMs: number, maxMs: number] };

const latencyDefault: DiskLatency = { read: [0.01, 0.2], write: [0.01, 0.1], sync: [0.1, 2], name: [0.01, 0.2] };
const capacityBytesDefault = 2 ** 40;

export interface SimulatedDiskOptions {
  readonly scheduler: Scheduler;
  readonly random: SeededRandom;
  /** 1 TiB unless given; may be changed later. */
  readonly capacityBytes?: number;
  readonly latency?: DiskLatency;
  /** Where faults that took effect are counted. */
  readonly counts?: FaultCounts;
}

export interface CrashOptions {
  readonly moment: CrashMoment;
  /** Called at the crash, once. The disk is then ready for `attach`. */
  readonly onCrash?: () => void;
}

/** What the disk held at some moment, for `restoreImage`. */
export interface DiskImage {
  readonly tree: DirectoryTree;
}

/** One operation under way. */
export interface OperationPlan<T> {
  readonly operation: DiskOperation;
  /** For the trace: what is done to which path. */
  readonly label: string;
  /** What it does when it completes. */
  readonly effect: () => T;
  /** What a failed one does before it is refused; by default nothing. */
  readonly onFailure?: () => void;
  /** What a crash may leave of it; by default nothing. */
  readonly onCrash?: () => void;
}

const failureKinds: Readonly<Record<DiskOperation, FaultKind>> = {
  read: "failed-read",
  write: "failed-write",
  sync: "failed-sync",
  name: "failed-name",
};

export class SimulatedDisk {
  /** Free space follows from it; lowering it below what is used makes every allocation fail until space is freed. */
  capacityBytes: number;
  /** Failures by chance, from now on. Operations that are forced to fail by `failNext` fail besides. */
  faultRates: DiskFaultRates = {};
  readonly counts: FaultCounts;
  readonly random: SeededRandom;
  readonly #scheduler: Scheduler;
  readonly #latency: DiskLatency;
  #tree = new DirectoryTree();
  #life: NodeLife | undefined;
  /** Files that the present life has open, with the number of its handles. */
  #openFiles = new Map<Inode, number>();
  #locks = new Set<string>();
  #underWay = new Set<OperationPlan<unknown>>();
  readonly #forcedFailures = new Map<DiskOperation, Set<number>>();
  readonly #misdirected = new Set<number>();
  #writeCount = 0;
  readonly #operationCounts: Record<DiskOperation, number> = { read: 0, write: 0, sync: 0, name: 0 };

  constructor(options: SimulatedDiskOptions) {
    this.#scheduler = options.scheduler;
    this.random = options.random;
    this.capacityBytes = options.capacityBytes ?? capacityBytesDefault;
    this.#latency = options.latency ?? latencyDefault;
    this.counts = options.counts ?? new FaultCounts();
  }

  // ------------------------------------------------------------------------------------------------------- lives

  /** The disk as a (re)started node has it. Its life is `life`, which a host shares with its timers, or one of its own. */
  attach(life: NodeLife = new NodeLife()): Disk {
    assert(this.#life?.alive !== true, "the disk is attached; crash its node first");
    this.#life = life;
    life.onEnd(() => this.#settleCrash());
    return new LiveDisk(this, life);
  }

  /** Ends the present life as a power failure does. Without one, nothing happens. */
  crash(): void {
    this.#life?.end();
  }

  /**
   * Crashes at the `operation`-th operation from now of the present life: 1 is the next. Timers of a host that shares the
   * life count too. Where the life ends earlier, nothing more happens.
   */
  crashAt(operation: number, options: CrashOptions = { moment: "before" }): void {
    const life = this.#life;
    assert(life?.alive === true, "the disk is not attached");
    life.crashAt(operation, options.moment);
    if (options.onCrash !== undefined) life.onEnd(options.onCrash);
  }

  /** Operations begun in the present life, timers of its host included: the places where `crashAt` can crash. */
  get operationCount(): number {
    return this.#life?.operationCount ?? 0;
  }

  #settleCrash(): void {
    this.counts.add("crash");
    this.#scheduler.note("crash");
    for (const plan of this.#underWay) plan.onCrash?.();
    this.#underWay = new Set();
    this.#openFiles = new Map();
    this.#locks = new Set();
    const lostNames = this.#tree.crash(this.random);
    if (lostNames > 0) this.counts.add("lost-entry", lostNames);
    for (const inode of this.#tree.inodes()) {
      const { sectorsKept, sectorsLost } = inode.crash(this.random);
      if (sectorsLost > 0) this.counts.add(sectorsKept > 0 ? "torn-write" : "lost-write");
    }
  }

  // -------------------------------------------------------------------------------------------------- explicit faults

  /** Makes the `nth` operation of this kind from now (1 is the next) fail with `failed`. */
  failNext(operation: DiskOperation, nth = 1): void {
    assert(Number.isInteger(nth) && nth >= 1, "operations are counted from 1");
    const numbers = this.#forcedFailures.get(operation) ?? new Set();
    this.#forcedFailures.set(operation, numbers.add(this.#operationCounts[operation] + nth));
  }

  /** Makes the `nth` write to a file from now (1 is the next) land at another place of that file. Nobody is told. */
  misdirectNext(nth = 1): void {
    assert(Number.isInteger(nth) && nth >= 1, "writes are counted from 1");
    this.#misdirected.add(this.#writeCount + nth);
  }

  /** Takes back `failNext` and `misdirectNext` where they have not come about. */
  cancelFailures(): void {
    this.#forcedFailures.clear();
    this.#misdirected.clear();
  }

  /** Inverts one bit of a file; bit 0 is the lowest of its first byte. */
  flip(path: string, bitOffset: number): void {
    const inode = this.#existing(path);
    assert(bitOffset >= 0 && bitOffset < 8 * inode.sizeBytes, "the bit lies outside of the file");
    inode.flip(bitOffset);
    this.counts.add("bit-flip");
  }

  /** Cuts a file to `sizeBytes` or grows it with zeros, durably. */
  cutFile(path: string, sizeBytes: number): void {
    this.#existing(path).cut(sizeBytes);
    this.counts.add("truncated-file");
  }

  /** The file is gone, durably. */
  loseFile(path: string): void {
    this.#existing(path);
    this.#tree.lose(path);
    this.counts.add("lost-file");
  }

  /** Puts a file there, durably, in place of any that is: what somebody else than the node's code has written. */
  leaveFile(path: string, bytes: Uint8Array): void {
    assert(this.#life?.alive !== true, "the node is down");
    const inode = this.#tree.file(path) ?? this.#tree.create(path);
    inode.cut(0);
    inode.write(0, bytes, this.random);
    // Of a tree that is copied, all is durable.
    this.#tree = this.#tree.clone();
  }

  /** What programs see now, unsynced changes included. */
  snapshotImage(): DiskImage {
    return { tree: this.#tree.clone() };
  }

  /** Puts the disk back to an earlier image: a rollback. Crashes the node first. An image can be restored many times. */
  restoreImage(image: DiskImage): void {
    this.crash();
    this.#tree = image.tree.clone();
    this.counts.add("rollback");
  }

  /** Paths of all files that programs see, sorted by names. */
  paths(): readonly string[] {
    return this.#tree.files().map(([path]) => path);
  }

  /** A file's content as programs see it. Takes no time, and no fault befalls it. */
  content(path: string): Uint8Array {
    const inode = this.#existing(path);
    return inode.read(0, inode.sizeBytes);
  }

  /** A file's size in bytes, likewise. */
  fileSizeBytes(path: string): number {
    return this.#existing(path).sizeBytes;
  }

  #existing(path: string): Inode {
    const inode = this.#tree.file(path);
    assert(inode !== undefined, `there is no file ${path}`);
    return inode;
  }

  // ------------------------------------------------------------------------------------------- for `live-disk.ts` only

  /** The names. */
  get tree(): DirectoryTree {
    return this.#tree;
  }

  /** Paths that the present life has locked. */
  get locks(): Set<string> {
    return this.#locks;
  }

  get usedBytes(): number {
    const inodes = new Set([...this.#tree.inodes(), ...this.#openFiles.keys()]);
    let usedBytes = 0;
    for (const inode of inodes) usedBytes += inode.allocatedBytes;
    return usedBytes;
  }

  /** Bytes that can still be allocated. */
  get freeBytes(): number {
    return Math.max(0, this.capacityBytes - this.usedBytes);
  }

  /** True where there is no need to look: no file system of a test comes near it. */
  get isBoundless(): boolean {
    return this.capacityBytes >= capacityBytesDefault;
  }

  /** A removed file keeps its space while it is open. */
  countHandle(inode: Inode, by: 1 | -1): void {
    const count = (this.#openFiles.get(inode) ?? 0) + by;
    if (count === 0) this.#openFiles.delete(inode);
    else this.#openFiles.set(inode, count);
  }

  /** Where a write to `position` of a file goes that will have at least `sizeBytes`: there, or to another of its sectors. */
  placeOf(position: number, sizeBytes: number): number {
    if (!this.#misdirected.delete(++this.#writeCount)) return position;
    const sector = Math.floor(position / sectorBytes);
    const sectorCount = Math.max(2, Math.ceil(sizeBytes / sectorBytes));
    const other = (sector + 1 + this.random.integer(sectorCount - 1)) % sectorCount;
    this.counts.add("misdirected-write");
    return position + (other - sector) * sectorBytes;
  }

  /** Begins an operation of `life`. Never settles if the life has ended or ends meanwhile. */
  operate<T>(life: NodeLife, plan: OperationPlan<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      if (!life.alive) return;
      const moment = life.count();
      if (moment === "before") {
        life.end();
        return;
      }
      this.#underWay.add(plan);
      if (moment === "during") {
        life.end();
        return;
      }
      const mustFail = this.#mustFail(plan.operation);
      const [minMs, maxMs] = this.#latency[plan.operation];
      this.#scheduler.at(minMs + this.random.next() * (maxMs - minMs), () => {
        if (!life.alive) return;
        this.#underWay.delete(plan);
        this.#scheduler.note(plan.label);
        let settle: () => void;
        try {
          const result = mustFail ? this.#fail(plan) : plan.effect();
          settle = () => resolve(result);
        } catch (error) {
          // Only the disk's own refusals are results; anything else is a bug of the simulation (V3).
          if (!(error instanceof DiskError)) throw error;
          settle = () => reject(error);
        }
        if (moment === "after") life.end();
        else life.whenAwake(settle);
      });
    });
  }

  #mustFail(operation: DiskOperation): boolean {
    const number = ++this.#operationCounts[operation];
    if (this.#forcedFailures.get(operation)?.delete(number)) return true;
    const rate = this.faultRates[operation];
    return rate !== undefined && this.random.chance(rate);
  }

  #fail(plan: OperationPlan<unknown>): never {
    plan.onFailure?.();
    this.counts.add(failureKinds[plan.operation]);
    throw new DiskError("failed", `${plan.label}: simulated failure`);
  }
}
