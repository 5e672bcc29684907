/**
 * An engine of logs in memory, for tests of what stands on the port: it keeps all of its contract, and nothing of what the contract
 * permits ever happens. No faults, no latency: everything settles in microtasks. Any number of handles share a log.
 */
import { assert } from "../../base/assert.ts";
import { equalBytes } from "../../base/bytes.ts";
import { OnefoldError } from "../../base/errors.ts";
import type { EngineAppendOutcome, EngineLog, LogBounds, LogEngine, TailListener } from "../engine-log.ts";

interface StoredLog {
  first: number;
  readonly records: Uint8Array[];
  readonly tails: Set<MemoryTail>;
}

/** What several nodes of one test share; `connect` gives each its own engine. */
export class MemoryEngineServer {
  readonly #logs = new Map<string, StoredLog>();

  connect(): LogEngine {
    return new MemoryEngine(this.#logs);
  }
}

/** An engine of its own. */
export function memoryEngine(): LogEngine {
  return new MemoryEngineServer().connect();
}

function closedError(): OnefoldError {
  return new OnefoldError("unavailable", "The connection to the engine is closed. Open another.");
}

/** Whether an engine's connection is open, for all that was got from it. */
interface Connection {
  isOpen: boolean;
  readonly tails: Set<MemoryTail>;
}

class MemoryEngine implements LogEngine {
  readonly #logs: Map<string, StoredLog>;
  readonly #connection: Connection = { isOpen: true, tails: new Set() };

  constructor(logs: Map<string, StoredLog>) {
    this.#logs = logs;
  }

  async open(name: string): Promise<EngineLog | undefined> {
    if (!this.#connection.isOpen) throw closedError();
    const stored = this.#logs.get(name);
    return stored === undefined ? undefined : new MemoryEngineLog(name, stored, this.#connection);
  }

  async create(name: string, { firstSequence }: { readonly firstSequence: number }): Promise<EngineLog> {
    if (!this.#connection.isOpen) throw closedError();
    let stored = this.#logs.get(name);
    if (stored === undefined) {
      stored = { first: firstSequence, records: [], tails: new Set() };
      this.#logs.set(name, stored);
    }
    return new MemoryEngineLog(name, stored, this.#connection);
  }

  async laxities(): Promise<readonly string[]> {
    return [];
  }

  async close(): Promise<void> {
    this.#connection.isOpen = false;
    for (const tail of [...this.#connection.tails]) tail.close();
  }
}

class MemoryEngineLog implements EngineLog {
  readonly name: string;
  readonly #stored: StoredLog;
  readonly #connection: Connection;

  constructor(name: string, stored: StoredLog, connection: Connection) {
    this.name = name;
    this.#stored = stored;
    this.#connection = connection;
  }

  async append(sequence: number, bytes: Uint8Array): Promise<EngineAppendOutcome> {
    if (!this.#connection.isOpen) return { kind: "unknown", cause: closedError() };
    const { first, records, tails } = this.#stored;
    if (sequence !== first + records.length) {
      const standing = records[sequence - first];
      return { kind: standing !== undefined && equalBytes(standing, bytes) ? "appended" : "refused" };
    }
    records.push(bytes.slice());
    for (const tail of tails) tail.wake();
    return { kind: "appended" };
  }

  async read(sequence: number): Promise<Uint8Array | undefined> {
    this.#assertOpen();
    return this.#stored.records[sequence - this.#stored.first]?.slice();
  }

  async readMany(sequence: number, bytesMax: number): Promise<readonly Uint8Array[]> {
    this.#assertOpen();
    const { first, records } = this.#stored;
    const found: Uint8Array[] = [];
    let bytesCount = 0;
    for (let bytes = records[sequence - first]; bytes !== undefined; bytes = records[sequence + found.length - first]) {
      if (found.length > 0 && bytesCount + bytes.length > bytesMax) break;
      found.push(bytes.slice());
      bytesCount += bytes.length;
    }
    return found;
  }

  async bounds(): Promise<LogBounds> {
    this.#assertOpen();
    const { first, records } = this.#stored;
    return { first, last: first + records.length - 1 };
  }

  tail(sequence: number, listener: TailListener): { close(): void } {
    const tail = new MemoryTail(sequence, listener, { stored: this.#stored, connection: this.#connection });
    tail.wake();
    return tail;
  }

  async trim(sequence: number): Promise<void> {
    this.#assertOpen();
    const { first, records } = this.#stored;
    const count = Math.min(Math.max(0, sequence - first), records.length);
    records.splice(0, count);
    this.#stored.first += count;
  }

  #assertOpen(): void {
    if (!this.#connection.isOpen) throw closedError();
  }
}

/** Tells in a microtask of its own, never in the middle of an append. */
class MemoryTail {
  #next: number;
  #isTelling = false;
  #isClosed = false;
  readonly #listener: TailListener;
  readonly #stored: StoredLog;
  readonly #connection: Connection;

  constructor(
    sequence: number,
    listener: TailListener,
    { stored, connection }: { readonly stored: StoredLog; readonly connection: Connection },
  ) {
    assert(connection.isOpen, "a tail needs an open connection");
    this.#next = sequence;
    this.#listener = listener;
    this.#stored = stored;
    this.#connection = connection;
    stored.tails.add(this);
    connection.tails.add(this);
  }

  wake(): void {
    if (this.#isTelling) return;
    this.#isTelling = true;
    queueMicrotask(() => this.#tell());
  }

  #tell(): void {
    this.#isTelling = false;
    const { records } = this.#stored;
    this.#next = Math.max(this.#next, this.#stored.first);
    while (!this.#isClosed && this.#next < this.#stored.first + records.length) {
      const sequence = this.#next++;
      this.#listener.record(sequence, records[sequence - this.#stored.first]!.slice());
    }
  }

  close(): void {
    this.#isClosed = true;
    this.#stored.tails.delete(this);
    this.#connection.tails.delete(this);
  }
}
