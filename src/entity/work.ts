/** One thing that a shard has been asked to do: a call, a message's delivery, a timer, a step of a transaction. */
import type { OnefoldError } from "../base/errors.ts";
import type { StopReason } from "../host/host.ts";

export interface Work {
  /** Monotonic time after which nobody waits for it any more; Infinity for the shard's own work. */
  readonly deadlineMs: number;
  /** Its share of the queue's bytes. */
  readonly sizeBytes: number;
  /** True once whoever asked has been answered, whatever happens to it afterwards. */
  readonly isSettled: boolean;
  /**
   * Does it: speculatively, inside a slice. It ends by settling itself, by being held for a batch (`Executor.hold`), or by
   * having arranged to be submitted again (a lock that must be waited for).
   */
  execute(): void;
  /** The batch that it was held for is durable: answer. */
  release(): void;
  /** It won't be done, or not be known to have been done: answer with the error. */
  fail(error: OnefoldError): void;
  /** User code in `execute` was stopped by the watchdog, and `execute` with it. Nothing of it has been kept. */
  stopped(reason: StopReason): void;
}

/** What a queued call takes in memory besides its input. */
export const callOverheadBytes = 512;
