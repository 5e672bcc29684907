/** Turns for guards that end user code by an exception, `GuardTimeout`, which everything between lets through to here. */
import { GuardTimeout, type TurnHandlers, type Turns } from "./host.ts";

export class ThrownTurns implements Turns {
  readonly #handlers: TurnHandlers;
  readonly #later: (callback: () => void) => void;
  /** Told when a turn begins and when it is over, whichever way. */
  readonly #setInTurn: (isInTurn: boolean) => void;
  #isDue = false;
  #isStopped = false;

  constructor(
    handlers: TurnHandlers,
    parts: {
      readonly later: (callback: () => void) => void;
      readonly setInTurn: (isInTurn: boolean) => void;
    },
  ) {
    this.#handlers = handlers;
    this.#later = parts.later;
    this.#setInTurn = parts.setInTurn;
  }

  soon(): void {
    if (this.#isDue) return;
    this.#isDue = true;
    this.#later(this.#run);
  }

  readonly #run = (): void => {
    this.#isDue = false;
    this.#tellStopped();
    this.#setInTurn(true);
    try {
      this.#handlers.run();
    } catch (error) {
      if (!(error instanceof GuardTimeout)) throw error;
      this.#isStopped = true;
      this.#later(this.#tellStopped);
    } finally {
      this.#setInTurn(false);
    }
  };

  readonly #tellStopped = (): void => {
    if (!this.#isStopped) return;
    this.#isStopped = false;
    this.#handlers.stopped("time");
  };
}
