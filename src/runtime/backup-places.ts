/** Bounds how many backups one node gives out at once (K3, KC3). */
import { OnefoldError } from "../base/errors.ts";

const retryAfterMs = 5000;

export class BackupPlaces {
  readonly #placesMax: number;
  #takenCount = 0;

  constructor(placesMax: number) {
    this.#placesMax = placesMax;
  }

  /** Takes a place, until the returned function is called, which is idempotent. Throws `overloaded` (retry safe) at the limit. */
  take(): () => void {
    if (this.#takenCount >= this.#placesMax) {
      throw new OnefoldError("overloaded", "As many backups are under way as may be at once. Wait for one to end.", {
        retryAfterMs,
      });
    }
    this.#takenCount++;
    let isTaken = true;
    return () => {
      if (isTaken) this.#takenCount--;
      isTaken = false;
    };
  }
}
