/**
 * The verified part of the system log, as a node holds it: the fold of all records that it took, and where they end. Pure but for the
 * records it is given.
 *
 * SC1 What is taken follows what was taken before: sequence, hash, incarnation, epoch and time (`chain.ts`). Anything else is `damaged`.
 * SC2 It begins with the genesis, or, where the log was trimmed, with the first record that is there; nothing is folded then before a
 *     checkpoint. A record vouches for all before it by its hash, so the last one taken vouches for where it began.
 * SC3 The record at the anchor's sequence is the anchor's, or the log is `damaged`. Where it was trimmed, the incarnation must be the
 *     anchor's, and the next record must follow it.
 * SC4 A checkpoint holds the state that was folded here, or the log is `damaged`: two nodes would go on with two states.
 */
import { equalBytes } from "../base/bytes.ts";
import { OnefoldError } from "../base/errors.ts";
import { type ChainLink, chainFault } from "../log/chain.ts";
import type { LogPosition } from "../log/log.ts";
import { type LogRecord, positionOf } from "../log/record.ts";
import { checkpointOf, fold } from "./system-fold.ts";
import { decodeSystemRecords, encodeSystemRecords, type SystemRecord } from "./system-records.ts";
import { emptySystemState, type SystemState } from "./system-state.ts";

export class SystemChain {
  readonly #name: string;
  readonly #anchor: LogPosition | null;
  #state = emptySystemState;
  #link: ChainLink | null = null;
  /** What was taken begins behind something that is not there any more, and no checkpoint has come since (SC2). */
  #isBehindGap = false;

  constructor(name: string, anchor: LogPosition | null) {
    this.#name = name;
    this.#anchor = anchor;
  }

  get state(): SystemState {
    return this.#state;
  }

  /** The last record that was taken; null for none. */
  get link(): ChainLink | null {
    return this.#link;
  }

  /** Whether the state is that of `link`, and all that this node had verified in an earlier life is verified in this one. */
  get isWhole(): boolean {
    return !this.#isBehindGap && (this.#anchor === null || (this.#link?.sequence ?? 0) >= this.#anchor.sequence);
  }

  /** The lowest sequence at which the log may end, as far as this node knows. */
  get knownSequence(): number {
    return Math.max(this.#anchor?.sequence ?? 0, this.#link?.sequence ?? 0);
  }

  /**
   * Takes the next record; one that was taken already is passed over (false). `isFirst`: the log was trimmed up to it, so there is
   * nothing that it could follow. Throws `damaged`, `unsupported-version` (retry never).
   */
  take(record: LogRecord, { isFirst = false } = {}): boolean {
    if (record.sequence <= (this.#link?.sequence ?? 0)) return false;
    const fault = isFirst ? this.#faultOfFirst(record) : chainFault(this.#link, record);
    if (fault !== undefined) throw this.#damaged(record.sequence, fault);
    this.#checkAnchor(record);
    if (isFirst) this.#isBehindGap = record.kind !== "genesis";
    this.#fold(record);
    this.#link = { ...positionOf(record), timeMs: record.timeMs };
    return true;
  }

  #faultOfFirst(record: LogRecord): string | undefined {
    const incarnation = this.#link?.incarnation ?? this.#anchor?.incarnation;
    if (incarnation === undefined || equalBytes(incarnation, record.incarnation)) return undefined;
    return "the record belongs to another incarnation of the log";
  }

  #checkAnchor(record: LogRecord): void {
    const anchor = this.#anchor;
    if (anchor === null) return;
    const isSame =
      record.sequence === anchor.sequence
        ? equalBytes(record.hash, anchor.hash)
        : record.sequence !== anchor.sequence + 1 || equalBytes(record.previousHash, anchor.hash);
    if (!isSame) throw this.#damaged(record.sequence, "it is not what this node had verified there");
  }

  #fold(record: LogRecord): void {
    if (record.kind !== "genesis" && record.kind !== "batch") {
      throw this.#damaged(record.sequence, `a ${record.kind} does not belong in it`);
    }
    const records = decodeSystemRecords(record.payload);
    const checkpoint = records.find((each) => each.type === "checkpoint");
    if (checkpoint !== undefined) this.#checkCheckpoint(checkpoint, record.sequence);
    if (this.#isBehindGap) {
      if (checkpoint === undefined) return;
      this.#isBehindGap = false;
      this.#state = emptySystemState;
    }
    this.#state = fold(this.#state, records, record.sequence);
  }

  #checkCheckpoint(checkpoint: Extract<SystemRecord, { readonly type: "checkpoint" }>, sequence: number): void {
    if (checkpoint.state.sequence !== sequence - 1) throw this.#damaged(sequence, "its checkpoint is of another place");
    if (this.#isBehindGap) return;
    // Decoded once more, it has its properties in the order in which the log's has them.
    const own = encodeSystemRecords(decodeSystemRecords(encodeSystemRecords([checkpointOf(this.#state)])));
    if (equalBytes(own, encodeSystemRecords([checkpoint]))) return;
    throw this.#damaged(sequence, "its checkpoint is not the state that its records make");
  }

  #damaged(sequence: number, reason: string): OnefoldError {
    return damagedSystemLog(this.#name, sequence, reason);
  }
}

/** `damaged` (retry never): the node must not go on. */
export function damagedSystemLog(log: string, sequence: number, reason: string): OnefoldError {
  return new OnefoldError(
    "damaged",
    `The system log is damaged at ${sequence}: ${reason}. This node does not go on; look at the other nodes and the engine first.`,
    { details: { log, sequence, reason } },
  );
}
