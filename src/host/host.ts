/**
 * The ports between Onefold and the world. Everything above takes time, timers, randomness, files and the
 * network from here and from nowhere else; that is what makes a whole system simulable. `host/node` has the real ones, `sim`
 * the simulated ones.
 */
import type { Network } from "./network.ts";

export interface Clock {
  /** Milliseconds since the Unix epoch, whole. May jump, also back: only for log time and for people. */
  wallMs(): number;
  /** Milliseconds from an arbitrary start, fractional. Never goes back: for all durations and deadlines. */
  monotonicMs(): number;
}

export interface Timer {
  /** After it the callback does not run. Idempotent. */
  cancel(): void;
}

export interface Timers {
  /**
   * Runs `callback` once, `delayMs` from now or a little later; never synchronously. Does not keep a process alive, unless it
   * says so: what somebody waits for must.
   */
  after(delayMs: number, callback: () => void, options?: { readonly keepsAlive?: boolean }): Timer;
  /** Runs `callback` in a turn of its own soon, after I/O that is already due had its chance. In order of the calls. */
  soon(callback: () => void): void;
}

export interface Random {
  bytes(count: number): Uint8Array;
  /** Uniform in [0, 1). */
  next(): number;
}

/**
 * How a simulated guard leaves user code that it stops; a real one ends it without any exception. It never reaches the caller
 * of a turn, and nobody between here and there may take it for an error of the user's.
 */
export class GuardTimeout extends Error {
  override readonly name = "GuardTimeout";
}

/** Why user code was stopped: it took longer than its limit, or the process grew by some hundred megabytes while it ran. */
export type StopReason = "time" | "memory";

/** What a turn does. None of them may throw. */
export interface TurnHandlers {
  /** The turn itself: synchronous. */
  run(): void;
  /** The turn was cut short in user code: what called that code did not go on. Called soon, before the next `run`. */
  stopped(reason: StopReason): void;
}

export interface Turns {
  /** Has `run` called in a turn of its own, after I/O that is already due had its chance. Idempotent until then. */
  soon(): void;
}

/**
 * The watchdog: stops synchronous user code wherever it is, even in `while (true)`, and nothing but user code. What calls that
 * code is never stopped in the middle, only in its `call`.
 */
export interface Guard {
  turns(handlers: TurnHandlers): Turns;
  /**
   * Calls user code; only from inside a turn, and not from inside another `call`. Once it has run for longer than `limitMs`,
   * whole milliseconds, the whole turn ends where it is: no `catch` or `finally` sees it, nor does `call` return. What
   * `userCode` throws passes through. With a subject, it may be noted (`noteCalls`).
   */
  call<R>(limitMs: number, userCode: () => R, subject?: CallSubject): R;
  /** For what user code calls back: is not stopped in `code`, but right after it. Outside of a `call` it only calls `code`. */
  own<R>(code: () => R): R;
  /**
   * From now on a call that takes long, or during which the process grows, is noted in the disk's file `path` for as long as it
   * is under way, so that the next process can read what this one died of: see `call-note.ts`. Ordinary calls are not. A note
   * survives the death of the process at once, that of the machine perhaps not at all: then no call was to blame.
   */
  noteCalls(path: string, listener: CallNotesListener): CallNotes;
}

/** What a call of user code is about: whom to suspect if the process dies of it. */
export interface CallSubject {
  /** The entity's name, of code units below 256 only. Longer ones than `callSubjectMax` are not noted. */
  readonly entity: string;
  /** The command's name, or what else runs; ASCII. For people. */
  readonly what: string;
}

export interface CallNotesListener {
  /** A call that had been noted has ended by itself: the process did not die of it. Soon after its end. */
  endedWell(subject: CallSubject): void;
  /** Calls can't be noted, from now on. `reason` is the platform's code. */
  failed(reason: string): void;
}

export interface CallNotes {
  /**
   * Notes nothing any more, and calls no listener. True if there may be a file: who ends in good order removes it.
   * Idempotent.
   */
  end(): boolean;
}

/** Values that follow an asynchronous call tree; used for one purpose: to notice a client called inside a transaction. */
export interface Scope<T> {
  run<R>(value: T, body: () => R): R;
  current(): T | undefined;
}

export type LogLevel = "debug" | "info" | "warn" | "error";

/** Structured log. `message` is a constant sentence that says what to do if anything is to be done; facts go in `fields`. */
export type Trace = (level: LogLevel, message: string, fields?: Readonly<Record<string, unknown>>) => void;

// ------------------------------------------------------------------------------------------------------------- disk

export type DiskErrorCode = "not-found" | "exists" | "full" | "busy" | "failed";

/** The disk's refusal, translated once from the platform's codes. `full`: no space; nothing can be assumed written. */
export class DiskError extends Error {
  override readonly name = "DiskError";
  readonly code: DiskErrorCode;
  constructor(code: DiskErrorCode, message: string, options?: { readonly cause?: unknown }) {
    super(message, options);
    this.code = code;
  }
}

/**
 * One open file. What is written is visible to later reads at once, and durable only after `sync` (or `writeDurable`) has
 * resolved. After a crash an unsynced write may be there in whole, in part (by 512-byte sectors), or not at all. A sync
 * that fails may have lost any unsynced write: it must not be tried again as if it had not failed.
 */
export interface DiskFile {
  readonly path: string;
  size(): Promise<number>;
  /** Reads up to `length` bytes; fewer only at the end of the file. */
  read(position: number, length: number): Promise<Uint8Array>;
  write(position: number, bytes: Uint8Array): Promise<void>;
  /** Writes and makes durable these bytes (and the file's size), in one operation where the platform can. */
  writeDurable(position: number, bytes: Uint8Array): Promise<void>;
  sync(): Promise<void>;
  truncate(sizeBytes: number): Promise<void>;
  close(): Promise<void>;
}

/** Paths use `/`, are relative to the disk's root, and never contain `..`. All operations throw `DiskError`. */
export interface Disk {
  /** `create: "always"` makes or keeps the file, `"new"` fails with `exists`, absent fails with `not-found`. */
  open(path: string, options?: { readonly create?: "always" | "new" }): Promise<DiskFile>;
  /** Names (not paths) in a directory, sorted by bytes; an absent directory is empty. */
  list(directory: string): Promise<readonly string[]>;
  makeDirectory(path: string): Promise<void>;
  /** Absent is fine. Durable after `syncDirectory` of its directory. */
  remove(path: string): Promise<void>;
  /** Replaces the target atomically. Durable after `syncDirectory`. */
  rename(from: string, to: string): Promise<void>;
  /** Makes creations, removals and renames in this directory durable. */
  syncDirectory(path: string): Promise<void>;
  freeBytes(): Promise<number>;
  /** Takes an exclusive lock that ends with the process; throws `busy` where another holds it. */
  lock(path: string): Promise<{ release(): Promise<void> }>;
}

export interface Host {
  readonly clock: Clock;
  readonly timers: Timers;
  readonly random: Random;
  readonly guard: Guard;
  readonly trace: Trace;
  readonly disk: Disk;
  readonly network: Network;
  newScope<T>(): Scope<T>;
}
