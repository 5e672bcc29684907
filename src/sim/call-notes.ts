/**
 * The notes of a simulated guard (`Guard.noteCalls`). A call that takes half of its time is noted; since nobody sees a note but the
 * life after a death in that very call, it is written then, by `die`.
 */
import { callNoteText } from "../host/call-note.ts";
import type { CallNotes, CallNotesListener, CallSubject, Timers } from "../host/host.ts";

/** What a death leaves on the disk. */
export interface LeftFile {
  readonly path: string;
  readonly text: string;
}

export interface NotedCall {
  readonly subject: CallSubject | undefined;
  isNoted: boolean;
  readonly spentMs: number;
}

export class SimulatedCallNotes {
  readonly #timers: Timers;
  readonly #die: (left: LeftFile | undefined) => void;
  #present: { readonly path: string; readonly listener: CallNotesListener } | undefined;
  #hasNoted = false;

  /** `die` ends the node's life, and leaves the file. */
  constructor(parts: { readonly timers: Timers; readonly die: (left: LeftFile | undefined) => void }) {
    this.#timers = parts.timers;
    this.#die = parts.die;
  }

  begin(path: string, listener: CallNotesListener): CallNotes {
    const notes = { path, listener };
    this.#present = notes;
    this.#hasNoted = false;
    return {
      end: () => {
        if (this.#present === notes) this.#present = undefined;
        return this.#hasNoted;
      },
    };
  }

  note(call: NotedCall): void {
    if (this.#present === undefined || call.subject === undefined) return;
    call.isNoted = true;
    this.#hasNoted = true;
  }

  endedWell({ subject, isNoted }: NotedCall): void {
    const notes = this.#present;
    if (!isNoted || notes === undefined) return;
    this.#timers.soon(() => {
      if (this.#present === notes) notes.listener.endedWell(subject!);
    });
  }

  /** The process dies in the call, of what makes a note. From here on its code has no effect. */
  die(call: NotedCall, atMs: number): void {
    this.note(call);
    const { subject, spentMs } = call;
    const left = call.isNoted
      ? { path: this.#present!.path, text: callNoteText({ ...subject!, elapsedMs: spentMs, grownBytes: 0, atMs }) }
      : undefined;
    this.#die(left);
  }
}
