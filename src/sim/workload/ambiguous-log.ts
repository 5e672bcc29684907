/**
 * A log whose appends sometimes have an outcome that proves nothing, as those of a log in a cluster do: what an engine on this
 * machine's disk never answers, the owner has to cope with all the same (design 6, hazards 3 and 4).
 *
 * A1  What it answers is never false: an append that it calls unknown has taken hold, or has not, or will in the course of a
 *     later operation.
 * A2  A `conflict` is answered where the append has not taken hold, or where its own record stands there already.
 */
import type { SeededRandom } from "../../base/random.ts";
import { ForwardingLog } from "../../log/forwarding-log.ts";
import type { AppendOutcome, Log } from "../../log/log.ts";
import type { LogRecord } from "../../log/record.ts";

export interface AmbiguityOptions {
  readonly random: SeededRandom;
  /** The probability that an append is ambiguous, asked anew for each. */
  readonly rate: () => number;
  /** Told of each that was. */
  readonly onAmbiguous: () => void;
  /** Told of every record that is to be appended. */
  readonly onAppend: (bytes: Uint8Array) => void;
}

interface LateAppend {
  readonly bytes: Uint8Array;
  readonly hash: Uint8Array | undefined;
}

export class AmbiguousLog extends ForwardingLog {
  readonly #options: AmbiguityOptions;
  /** On its way, as far as anybody can tell. */
  #late: LateAppend | undefined;

  constructor(log: Log, options: AmbiguityOptions) {
    super(log);
    this.#options = options;
  }

  override async append(bytes: Uint8Array, hash?: Uint8Array): Promise<AppendOutcome> {
    this.#options.onAppend(bytes);
    if (this.#late !== undefined) {
      // The owner sends the same bytes again, and they stand there already, unless the log could not take them.
      const outcome = await this.#settle();
      return outcome.kind === "appended" ? { kind: "conflict" } : outcome;
    }
    const { random, rate, onAmbiguous } = this.#options;
    if (!random.chance(rate())) return this.log.append(bytes, hash);
    onAmbiguous();
    switch (random.pick(["committed", "lost", "late", "conflict"] as const)) {
      case "committed": {
        const outcome = await this.log.append(bytes, hash);
        return outcome.kind === "appended" ? unknown() : outcome;
      }
      case "late":
        this.#late = { bytes, hash };
        return unknown();
      case "lost":
        return unknown();
      case "conflict":
        return { kind: "conflict" };
    }
  }

  async #settle(): Promise<AppendOutcome> {
    const { bytes, hash } = this.#late!;
    this.#late = undefined;
    return this.log.append(bytes, hash);
  }

  override async read(sequence: number): Promise<LogRecord | undefined> {
    if (this.#late !== undefined && this.#options.random.chance(0.5)) await this.#settle();
    return this.log.read(sequence);
  }
}

function unknown(): AppendOutcome {
  return { kind: "unknown", cause: new Error("as told") };
}
