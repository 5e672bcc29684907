/**
 * The guard of threads that are not the process's main one, as some test runners use them: `node:vm`'s time limit, because no
 * other thread's inspector reaches a worker.
 *
 * U1  A stop ends the user's code like any other's (W1, W2). It goes on from there as an exception, `GuardTimeout`, that what
 *     called user code lets through to the turn.
 */
import { assert } from "../../base/assert.ts";
import type { CallNotes, Guard, TurnHandlers, Turns } from "../host.ts";
import { ThrownTurns } from "../thrown-turns.ts";
import { TimeLimit } from "./time-limit.ts";

export class WorkerGuard implements Guard {
  #isInTurn = false;
  readonly #limit = new TimeLimit();

  turns(handlers: TurnHandlers): Turns {
    const later = (callback: () => void): void => void setImmediate(callback);
    const setInTurn = (isInTurn: boolean): void => {
      this.#isInTurn = isInTurn;
    };
    return new ThrownTurns(handlers, { later, setInTurn });
  }

  /** Here it may be stopped like all of the call. */
  own<R>(code: () => R): R {
    return code();
  }

  /** It makes no notes: only the watcher's thread could. */
  noteCalls(): CallNotes {
    return { end: () => false };
  }

  call<R>(limitMs: number, userCode: () => R): R {
    assert(Number.isInteger(limitMs) && limitMs >= 1, "a guard's limit is in whole milliseconds, at least 1");
    assert(this.#isInTurn, "guarded code is called in a turn");
    return this.#limit.call(limitMs, userCode);
  }
}
