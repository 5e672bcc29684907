/**
 * One direction between two addresses of a simulated network: how messages fare on it, their order, and what of them is
 * under way.
 *
 * A1  What is under way counts until it has arrived or got lost, or all of it is given up: then it may arrive still, and
 *     counts no more.
 */

/** How messages fare from one node to another. Faults are probabilities by message. */
export interface LinkBehaviour {
  /** Time on the way, uniform between the two. A message waits for the ones that were sent before it. */
  readonly delayMs: readonly [minMs: number, maxMs: number];
  readonly loss: number;
  /** A second copy arrives late, in no order. */
  readonly duplication: number;
  /** It is late, and others overtake it. */
  readonly reordering: number;
  /** It is late, and with it all that are sent after it. */
  readonly lateness: number;
  /** How much longer than `delayMs` a late one takes, at most. */
  readonly latenessMsMax: number;
}

export const reliableLink: LinkBehaviour = {
  delayMs: [0.05, 1],
  loss: 0,
  duplication: 0,
  reordering: 0,
  lateness: 0,
  latenessMsMax: 50,
};

/** One message's part of what is under way. */
export interface Passage {
  readonly countedBytes: number;
  readonly generation: number;
}

export class Link {
  #earliestMs = 0;
  #takenCount = 0;
  #newestDelivered = 0;
  #underWayBytes = 0;
  #progressMs = 0;
  /** Goes up when what is under way is given up (A1). */
  #generation = 0;

  /** What counts now; all is given up once nothing has arrived for longer than `answerMs`. */
  underWayBytes(nowMs: number, answerMs: number): number {
    if (this.#underWayBytes > 0 && nowMs - this.#progressMs > answerMs) {
      this.#underWayBytes = 0;
      this.#generation++;
    }
    return this.#underWayBytes;
  }

  /** Numbers a message that is sent, from 1. */
  nextNumber(): number {
    return ++this.#takenCount;
  }

  enter(nowMs: number, countedBytes: number): Passage {
    if (this.#underWayBytes === 0) this.#progressMs = nowMs;
    this.#underWayBytes += countedBytes;
    return { countedBytes, generation: this.#generation };
  }

  leave(nowMs: number, { countedBytes, generation }: Passage): void {
    if (generation !== this.#generation) return;
    this.#underWayBytes -= countedBytes;
    this.#progressMs = nowMs;
  }

  /** When an ordered message arrives that would take until `arrivalMs` if it were alone. */
  inOrder(arrivalMs: number): number {
    this.#earliestMs = Math.max(this.#earliestMs, arrivalMs);
    return this.#earliestMs;
  }

  /** True if one that was sent later was delivered before this one, which is delivered now. */
  wasOvertaken(number: number): boolean {
    if (number < this.#newestDelivered) return true;
    this.#newestDelivered = number;
    return false;
  }
}
