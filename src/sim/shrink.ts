/**
 * Makes a failing list of events small: delta debugging (ddmin; Zeller and Hildebrandt, "Simplifying and Isolating Failure-Inducing
 * Input", IEEE TSE 2002), then simpler events in place of those that are left, until neither gives anything more.
 *
 * X1  What is returned as `events` has failed when it was tried, unless nothing did.
 * X2  `fails` is asked `attemptsMax` times at most; the order of the events stays.
 */
import { assert } from "../base/assert.ts";

export interface ShrinkOptions<Event> {
  /** True if these events still show the failure. Should be a function of them alone. */
  readonly fails: (events: readonly Event[]) => Promise<boolean>;
  readonly attemptsMax: number;
  /** Events to try in place of one, simplest first. Each must be simpler by some measure that has an end. Default: none. */
  readonly simpler?: (event: Event) => readonly Event[];
}

export interface ShrinkReport<Event> {
  readonly events: readonly Event[];
  /** False if not even all events failed: then they are returned as they are. */
  readonly isReproduced: boolean;
  /** True if no event can be left out or made simpler; false if attempts ran out before that was known. */
  readonly isMinimal: boolean;
  readonly attemptCount: number;
}

/** Shrinks `events`, which are known to fail. Throws what `fails` throws. */
export async function shrink<Event>(
  events: readonly Event[],
  options: ShrinkOptions<Event>,
): Promise<ShrinkReport<Event>> {
  assert(options.attemptsMax >= 1, "shrinking needs an attempt");
  const search = new Search(events, options);
  const isReproduced = await search.attempt(events);
  if (isReproduced) {
    do await search.leaveOut();
    while (await search.simplify());
  }
  return {
    events: search.events,
    isReproduced,
    isMinimal: isReproduced && !search.isExhausted,
    attemptCount: search.attemptCount,
  };
}

class Search<Event> {
  events: readonly Event[];
  attemptCount = 0;
  /** An attempt was due and there was none left. */
  isExhausted = false;
  readonly #options: ShrinkOptions<Event>;

  constructor(events: readonly Event[], options: ShrinkOptions<Event>) {
    this.events = events;
    this.#options = options;
  }

  /** Takes `events` if they fail. */
  async attempt(events: readonly Event[]): Promise<boolean> {
    if (this.attemptCount >= this.#options.attemptsMax) {
      this.isExhausted = true;
      return false;
    }
    this.attemptCount++;
    if (!(await this.#options.fails(events))) return false;
    this.events = events;
    return true;
  }

  /** ddmin: ever smaller parts, alone and left out, until no single event can go. */
  async leaveOut(): Promise<void> {
    if (this.events.length > 0 && (await this.attempt([]))) return;
    let partCount = 2;
    while (this.events.length >= 2 && !this.isExhausted) {
      const parts = split(this.events, partCount);
      if (await this.#attemptAny(parts)) partCount = 2;
      // Of two parts, each is what is left without the other.
      else if (parts.length > 2 && (await this.#attemptAny(parts.map((_, index) => without(parts, index))))) {
        partCount = Math.max(2, Math.min(partCount - 1, this.events.length));
      } else if (partCount >= this.events.length) return;
      else partCount = Math.min(this.events.length, 2 * partCount);
    }
  }

  async #attemptAny(choices: readonly (readonly Event[])[]): Promise<boolean> {
    for (const choice of choices) if (await this.attempt(choice)) return true;
    return false;
  }

  /** Says whether some event was made simpler. */
  async simplify(): Promise<boolean> {
    let isSimpler = false;
    for (let index = 0; index < this.events.length; index++) {
      while (await this.#simplifyAt(index)) isSimpler = true;
    }
    return isSimpler;
  }

  #simplifyAt(index: number): Promise<boolean> {
    const choices = this.#options.simpler?.(this.events[index]!) ?? [];
    return this.#attemptAny(choices.map((choice) => this.events.with(index, choice)));
  }
}

/** Parts of nearly equal length, none of them empty. */
function split<Event>(events: readonly Event[], partCount: number): readonly (readonly Event[])[] {
  const parts: (readonly Event[])[] = [];
  for (let index = 0; index < partCount; index++) {
    const from = Math.floor((index * events.length) / partCount);
    const to = Math.floor(((index + 1) * events.length) / partCount);
    if (from < to) parts.push(events.slice(from, to));
  }
  return parts;
}

function without<Event>(parts: readonly (readonly Event[])[], index: number): readonly Event[] {
  return parts.filter((_, each) => each !== index).flat();
}
