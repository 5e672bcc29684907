/**
 * The part of the watcher that notes which call is under way, in files that outlive the process (`Guard.noteCalls`).
 *
 * J1  A note names the call that it was made for: the subject counts only where the same call is still under way after it was read.
 * J2  A note stands until its call is over, also where that was struck and does not end, as in a long native function.
 * J3  Only a call that ended by itself is reported as ended well.
 * J4  Files are not synced: what the page cache has outlives a process, and when the machine dies no call was to blame. A sync
 *     would keep the watcher from looking.
 * J5  What can't be written is reported, once for each file, and then left alone: the watchdog goes on without notes.
 */
import type { CallNote } from "../call-note.ts";
import type {
  phase as phases,
  watchFields as places,
  WatchedThread,
  WatchOrder,
  WatchReport,
} from "./watched-thread.ts";

export interface NoteWriter {
  /** True while a call is noted. */
  readonly isOpen: boolean;
  /** Begins or ends notes in a file. */
  take(order: Extract<WatchOrder, { readonly notes: number }>): void;
  /** Notes the call with this number, if it is still under way and to be noted. */
  note(call: Pick<CallNote, "elapsedMs" | "grownBytes"> & { readonly number: number }): void;
  /** The call that is noted, if one is, has been struck. */
  struck(): void;
  /** The last call's number, and whether that is over: ends the note of an earlier one, or of itself. */
  look(number: number, facts: { readonly isOver: boolean }): void;
}

export interface NoteWriterParts {
  /** Synchronous. They throw the platform's errors. */
  readonly files: {
    open(path: string): number;
    /** Replaces the file's whole content, and pads it. */
    write(file: number, content: string): void;
    close(file: number): void;
  };
  readonly text: (note: CallNote) => string;
  readonly report: (report: WatchReport) => void;
  readonly wallMs: () => number;
  readonly watched: WatchedThread;
  readonly places: typeof places;
  readonly phase: typeof phases;
}

/** Like `watch`, it must not use anything from outside of itself but `parts` and the language's own globals. */
export function noteWriter(parts: NoteWriterParts): NoteWriter {
  const { files, report, places, phase } = parts;
  const { fields, subject } = parts.watched;
  /** By the notes' number. A file is opened with its first note. */
  const paths = new Map<number, string>();
  const opened = new Map<number, number>();
  let noted: { notes: number; number: number; entity: string; what: string; isReported: boolean } | undefined;

  function end(): void {
    if (noted === undefined) return;
    const { notes, entity, what, isReported } = noted;
    noted = undefined;
    write(notes, "");
    if (isReported) report({ type: "ended-well", notes, entity, what });
  }

  /** False where it could not. */
  function write(notes: number, content: string): boolean {
    const path = paths.get(notes);
    if (path === undefined) return false;
    try {
      let file = opened.get(notes);
      if (file === undefined) {
        file = files.open(path);
        opened.set(notes, file);
        Atomics.add(fields, places.noteFiles, 1);
      }
      files.write(file, content);
      return true;
    } catch (error) {
      const code = (error as { readonly code?: unknown } | null)?.code;
      report({ type: "failed", notes, reason: typeof code === "string" ? code : String(error) });
      close(notes);
      return false;
    }
  }

  function close(notes: number): void {
    paths.delete(notes);
    const file = opened.get(notes);
    opened.delete(notes);
    if (file === undefined) return;
    try {
      files.close(file);
    } catch (error) {
      report({ type: "failed", notes, reason: String(error) });
    }
  }

  function text(from: number, length: number): string {
    let read = "";
    for (let i = from; i < from + length; i++) read += String.fromCharCode(subject[i]!);
    return read;
  }

  return {
    get isOpen() {
      return noted !== undefined;
    },
    take(order) {
      if (order.type === "note") {
        paths.set(order.notes, order.path);
        return;
      }
      if (noted?.notes === order.notes) {
        // Its owner closes in good order, and hears nothing any more.
        noted.isReported = false;
        end();
      }
      close(order.notes);
    },
    note({ number, elapsedMs, grownBytes }) {
      const notes = fields[places.notes]!;
      const entityLength = fields[places.entityLength]!;
      const entity = text(0, entityLength);
      const what = text(entityLength, fields[places.whatLength]!);
      // J1.
      const word = Atomics.load(fields, places.word);
      if (notes === 0 || Math.floor(word / phase.count) !== number || word % phase.count === phase.own) return;
      const content = parts.text({ entity, what, elapsedMs, grownBytes, atMs: parts.wallMs() });
      if (write(notes, content)) noted = { notes, number, entity, what, isReported: true };
    },
    struck() {
      if (noted !== undefined) noted.isReported = false;
    },
    look(number, { isOver }) {
      if (noted !== undefined && (noted.number !== number || isOver)) end();
    },
  };
}
