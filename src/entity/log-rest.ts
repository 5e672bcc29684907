/** A shard's log that rests for a moment, for a cut over several shards: see `Committer`, M6. */
import { OnefoldError } from "../base/errors.ts";
import type { LogPosition } from "../log/log.ts";
import { Barrier } from "./barrier.ts";
import type { Committer } from "./committer.ts";

export class LogRest {
  readonly #committer: Committer;
  readonly #isReady: () => boolean;

  /** `isReady`: the shard serves, and is not about to end. */
  constructor(committer: Committer, isReady: () => boolean) {
    this.#committer = committer;
    this.#isReady = isReady;
  }

  /** Log time: of nothing that the shard has said so far is it later. */
  get timeMs(): number {
    return this.#committer.timeMs;
  }

  /** See `Committer.pause`. Throws `not-ready` where the shard is ending. */
  async begin(): Promise<LogPosition> {
    if (!this.#isReady()) throw new OnefoldError("not-ready", "The shard is ending.", { retryAfterMs: 1000 });
    return this.#committer.pause();
  }

  /** Idempotent. */
  end(): void {
    this.#committer.resume();
  }

  /** Ends it; resolves when it is proven that nobody has appended meanwhile. Throws `not-owner`, `stopped`. */
  prove(): Promise<void> {
    return new Promise((resolve, reject) => this.#committer.resume(new Barrier(Infinity, { resolve, reject })));
  }
}
