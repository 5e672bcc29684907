/**
 * Bounds how often one event is written: a command that throws a hundred thousand times a second must not fill the disk with
 * its log. Messages are constant sentences, so they tell events apart.
 */
import type { LogLevel } from "../host.ts";

/** Lines of one message in one window; enough to see what it is about. */
const linesMax = 20;
const windowMs = 1000;
/** Messages that are told apart at once; far more than there are in the sources. */
const messagesMax = 1000;

interface Window {
  readonly level: LogLevel;
  lineCount: number;
  suppressedCount: number;
}

export class Repeats {
  readonly #report: (level: LogLevel, message: string, fields: { readonly suppressedCount: number }) => void;
  #windows = new Map<string, Window>();
  #timer: NodeJS.Timeout | undefined;

  /** `report` is told, at the end of a second, of each message that was suppressed in it, and how often. */
  constructor(report: (level: LogLevel, message: string, fields: { readonly suppressedCount: number }) => void) {
    this.#report = report;
  }

  /** Whether another line of this message may be written; one that may not is counted. */
  mayPass(level: LogLevel, message: string): boolean {
    // One timer for all windows: they begin and end together, which bounds a message just as well.
    this.#timer ??= setTimeout(() => this.#end(), windowMs).unref();
    let window = this.#windows.get(message);
    if (window === undefined) {
      if (this.#windows.size >= messagesMax) return true;
      window = { level, lineCount: 0, suppressedCount: 0 };
      this.#windows.set(message, window);
    }
    if (window.lineCount < linesMax) {
      window.lineCount++;
      return true;
    }
    window.suppressedCount++;
    return false;
  }

  #end(): void {
    this.#timer = undefined;
    const ended = this.#windows;
    this.#windows = new Map();
    for (const [message, { level, suppressedCount }] of ended) {
      if (suppressedCount > 0) this.#report(level, message, { suppressedCount });
    }
  }
}
