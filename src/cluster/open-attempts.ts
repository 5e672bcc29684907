/**
 * The attempts and pauses of a node's calls that are under way: what ends them before their time.
 *
 * OA1  An attempt is given up, in doubt, once the node is cut off, or its owner was replaced `ownerChangeGraceMs` ago: it may
 *      have taken the call, and its answer be under way. So it is when it should have ended by itself and did not. What bears repetition
 *      does not wait for an owner that the cluster has declared gone.
 * OA2  A pause ends when the map changes, this node owns another shard, or is cut off.
 */
import { OnefoldError } from "../base/errors.ts";
import type { Limits } from "../base/limits.ts";
import type { Clock, Timer, Timers } from "../host/host.ts";
import type { ShardMap, Standing } from "./local-shards.ts";
import type { SystemState } from "./system-state.ts";

/** Of the one who was asked: it is the owner; another one is; it is gone, and nothing is lost by asking another. */
export type OwnerStanding = "owner" | "replaced" | "gone";

interface Attempt {
  standing(state: SystemState): OwnerStanding;
  readonly deadlineMs: number;
  giveUp(error: OnefoldError): void;
  /** When it was first found to be over. */
  overMs: number | undefined;
}

export interface OpenAttemptsParts {
  readonly clock: Clock;
  readonly timers: Timers;
  readonly limits: Limits;
  readonly map: ShardMap;
  readonly standing: Standing;
}

export class OpenAttempts {
  readonly #parts: OpenAttemptsParts;
  readonly #attempts = new Set<Attempt>();
  readonly #pauses = new Set<() => void>();
  readonly #unsubscribe: () => void;
  #ticking: Timer | undefined = undefined;

  constructor(parts: OpenAttemptsParts) {
    this.#parts = parts;
    this.#unsubscribe = parts.map.onChange(() => this.#mapChanged());
  }

  /** `promise`, or `outcome-unknown` (OA1). */
  watch<T>(promise: Promise<T>, { standing, deadlineMs }: Pick<Attempt, "standing" | "deadlineMs">): Promise<T> {
    this.#tickSoon();
    return new Promise((resolve, reject) => {
      const attempt: Attempt = { standing, deadlineMs, overMs: undefined, giveUp: (error) => end(() => reject(error)) };
      const end = (settle: () => void): void => {
        this.#attempts.delete(attempt);
        settle();
      };
      this.#attempts.add(attempt);
      promise.then(
        (value) => end(() => resolve(value)),
        (error: unknown) => end(() => reject(error as Error)),
      );
    });
  }

  /** OA2. */
  pause(forMs: number): Promise<void> {
    this.#tickSoon();
    return new Promise((resolve) => {
      const end = (): void => {
        if (!this.#pauses.delete(end)) return;
        timer.cancel();
        resolve();
      };
      const timer = this.#parts.timers.after(forMs, end, { keepsAlive: true });
      this.#pauses.add(end);
    });
  }

  /** What is under way goes on to its own end. */
  close(): void {
    this.#unsubscribe();
  }

  #mapChanged(): void {
    this.#look();
    this.endPauses();
  }

  /** OA2. */
  endPauses(): void {
    for (const end of [...this.#pauses]) end();
  }

  #tickSoon(): void {
    this.#ticking ??= this.#parts.timers.after(this.#parts.limits.cutOffCheckMs, () => {
      this.#ticking = undefined;
      this.#look();
      if (this.#attempts.size > 0 || this.#pauses.size > 0) this.#tickSoon();
    });
  }

  #look(): void {
    const { standing, map, clock, limits } = this.#parts;
    const nowMs = clock.monotonicMs();
    if (standing.isCutOff) for (const end of [...this.#pauses]) end();
    for (const attempt of [...this.#attempts]) {
      if (standing.isCutOff) attempt.giveUp(new OnefoldError("outcome-unknown", "This node was cut off meanwhile."));
      else if (nowMs >= attempt.deadlineMs + 2 * limits.cutOffCheckMs) {
        // A little later than its own answer would come, which knows better what has become of it.
        attempt.giveUp(new OnefoldError("outcome-unknown", "There was no answer in time."));
      } else {
        const ownerStanding = attempt.standing(map.state);
        if (ownerStanding === "owner") continue;
        attempt.overMs ??= nowMs;
        if (ownerStanding === "gone" || nowMs - attempt.overMs >= limits.ownerChangeGraceMs) {
          attempt.giveUp(new OnefoldError("outcome-unknown", "The shard has another owner meanwhile."));
        }
      }
    }
  }
}
