/** A log in front of another: everything goes on to it. What stands between the two overrides what it is there for. */
import type { AppendOutcome, Log, LogPosition } from "./log.ts";
import type { LogRecord } from "./record.ts";

export class ForwardingLog implements Log {
  protected readonly log: Log;

  constructor(log: Log) {
    this.log = log;
  }

  get end(): LogPosition | null {
    return this.log.end;
  }

  get firstSequence(): number {
    return this.log.firstSequence;
  }

  append(bytes: Uint8Array, hash?: Uint8Array): Promise<AppendOutcome> {
    return this.log.append(bytes, hash);
  }

  read(sequence: number): Promise<LogRecord | undefined> {
    return this.log.read(sequence);
  }

  scan(fromSequence: number): AsyncIterable<LogRecord> {
    return this.log.scan(fromSequence);
  }

  anchor(): Promise<void> {
    return this.log.anchor();
  }

  trim(sequence: number): Promise<void> {
    return this.log.trim(sequence);
  }

  close(): Promise<void> {
    return this.log.close();
  }
}
