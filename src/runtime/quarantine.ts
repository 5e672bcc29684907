/**
 * The quarantine of a data directory: which entities' commands have ended the process so often that they are not run any more
 * (hazard 18, G10).
 *
 * J1  While a call looks dangerous, the host's guard notes it in the file `suspect`. A process that finds a note there follows one that
 *     died in that call: the entity's deaths, in the file `suspects`, are one more, durably, before the note is removed and before
 *     anything runs. A death is counted once.
 * J2  After `suspectDeathsMax` deaths, none farther than `suspectMs` from the next, the entity is in quarantine for as long as this
 *     process lives, and until an operator lifts it. All others are served.
 * J3  A count below that is forgotten when a call of the entity that looked dangerous ends by itself: then it was not to blame.
 * J4  None of it keeps a node from serving: what can't be read or written is traced, and counts as nothing.
 */
import type { Limits } from "../base/limits.ts";
import {
  isInQuarantine,
  quarantineProblem,
  type Suspect,
  type Suspects,
  withDeath,
  without,
} from "../entity/suspects.ts";
import { parseCallNote } from "../host/call-note.ts";
import { type CallNotes, type CallSubject, type Disk, DiskError, type Host } from "../host/host.ts";
import { dataLayout } from "./data-layout.ts";
import { readFile, readSuspects, writeSuspects } from "./suspects-file.ts";

/** Each has a line of its own in the log. */
const tracedMax = 16;

export interface QuarantineParts {
  readonly host: Host;
  readonly limits: Limits;
  /** A call of the entity of this name that looked dangerous has ended by itself. */
  readonly onEndedWell?: (entity: string) => void;
}

export class Quarantine {
  readonly #host: Host;
  readonly #limits: Limits;
  #suspects: Suspects;
  readonly #notes: CallNotes;
  readonly #onEndedWell: (entity: string) => void;
  #saving: Promise<void> | undefined;
  #isChanged = false;

  private constructor(parts: QuarantineParts & { readonly suspects: Suspects }) {
    this.#host = parts.host;
    this.#limits = parts.limits;
    this.#suspects = parts.suspects;
    this.#onEndedWell = parts.onEndedWell ?? (() => undefined);
    const { guard, trace } = parts.host;
    this.#notes = guard.noteCalls(dataLayout.suspect, {
      endedWell: (subject) => this.#endedWell(subject),
      failed: (reason) => {
        const message =
          "Calls can't be noted in the data directory: what ends the process will not be found out. Check its disk.";
        trace("warn", message, { reason });
      },
    });
  }

  /** Counts the death of the process before this one, if a call was to blame, and begins to note calls. Throws nothing (J4). */
  static async open(parts: QuarantineParts): Promise<Quarantine> {
    const suspects = await unlessRefused(parts.host, new Map(), () => countLastDeath(parts));
    const quarantine = new Quarantine({ ...parts, suspects });
    quarantine.#tell();
    return quarantine;
  }

  /** Those in quarantine, and those that are only suspects. */
  get suspects(): readonly Suspect[] {
    return [...this.#suspects.values()];
  }

  /** Somebody else counts this one's deaths. It is soon durable; else they are told once more after the next start. */
  forget({ tenant, kind, id }: Suspect): void {
    this.#suspects = without(this.#suspects, (each) => each.tenant === tenant && each.kind === kind && each.id === id);
    this.#saveSoon();
  }

  /** Their names, as `entityName` makes them. The same for all of this process's life. */
  get names(): ReadonlySet<string> {
    return new Set([...this.#suspects].filter(([, suspect]) => this.#holds(suspect)).map(([name]) => name));
  }

  /** See `quarantineProblem`. */
  get problem(): string | undefined {
    return quarantineProblem(this.#held, { ended: "the process", command: "onefold quarantine ls" });
  }

  /** Ends in good order: no call is under way any more. */
  async close(): Promise<void> {
    const mayHaveNoted = this.#notes.end();
    await this.#saving;
    if (mayHaveNoted) await unlessRefused(this.#host, undefined, () => removeNote(this.#host.disk));
  }

  get #held(): readonly Suspect[] {
    return [...this.#suspects.values()].filter((suspect) => this.#holds(suspect));
  }

  #holds(suspect: Suspect): boolean {
    return isInQuarantine(suspect, this.#limits);
  }

  #tell(): void {
    for (const { tenant, kind, id, what, deaths, lastDeathMs } of this.#held.slice(0, tracedMax)) {
      const message =
        "An entity is in quarantine, because the process died again and again while it ran. Mend its code, stop the node, and lift the quarantine with 'onefold quarantine lift'.";
      this.#host.trace("error", message, { tenant, kind, id, what, deaths, lastDeathMs });
    }
  }

  /** J3. */
  #endedWell({ entity }: CallSubject): void {
    this.#onEndedWell(entity);
    const suspect = this.#suspects.get(entity);
    if (suspect === undefined || this.#holds(suspect)) return;
    this.forget(suspect);
  }

  #saveSoon(): void {
    this.#isChanged = true;
    this.#saving ??= this.#save();
  }

  async #save(): Promise<void> {
    while (this.#isChanged) {
      this.#isChanged = false;
      await unlessRefused(this.#host, undefined, () => writeSuspects(this.#host.disk, this.#suspects));
    }
    this.#saving = undefined;
  }
}

/** J4. */
async function unlessRefused<T>({ trace }: Host, otherwise: T, use: () => Promise<T>): Promise<T> {
  try {
    return await use();
  } catch (error) {
    if (!(error instanceof DiskError)) throw error;
    const message =
      "The record of what ended earlier processes can't be kept; the node serves without it. Check the disk of the data directory.";
    trace("warn", message, { error });
    return otherwise;
  }
}

/** J1. */
async function countLastDeath({ host, limits }: { readonly host: Host; readonly limits: Limits }): Promise<Suspects> {
  const { disk, trace } = host;
  // One look for both: most data directories have neither.
  const names = await disk.list("");
  const suspects: Suspects = names.includes(dataLayout.suspects)
    ? await readSuspects({ disk, trace }, limits)
    : new Map();
  if (!names.includes(dataLayout.suspect)) return suspects;
  const note = parseCallNote(await readFile(disk, dataLayout.suspect));
  const counted = note === undefined ? suspects : withDeath(suspects, note, limits);
  if (note !== undefined && counted !== suspects) {
    const { tenant, kind, id, what, deaths } = counted.get(note.entity)!;
    const { elapsedMs, grownBytes } = note;
    const message =
      "The process before this one died while this entity ran, perhaps of it. Look at its code; after some such deaths it is put in quarantine.";
    trace("warn", message, { tenant, kind, id, what, deaths, elapsedMs, grownBytes });
  }
  await unlessRefused(host, undefined, async () => {
    if (counted !== suspects) await writeSuspects(disk, counted);
    await removeNote(disk);
  });
  return counted;
}

async function removeNote(disk: Disk): Promise<void> {
  await disk.remove(dataLayout.suspect);
  await disk.syncDirectory("");
}
