/**
 * The verified part of the system log, as a node holds it: the fold of all records that it took, and where they end. Pure but for the
 * records it is given.
 *
 * SC1 What is taken follows what was taken before: sequence, hash, incarnation, epoch and time (`chain.ts`). A valid record that does not is
 *     a fork. One of another incarnation is no damage of this log: it is another cluster's, and the node must not go on.
 * SC2 A log begins with its genesis, or, where it was trimmed, with the first record that is there; nothing is folded then before a
 *     checkpoint. A record vouches for all before it by its hash, so the last one taken vouches for where it began.
 * SC3 A successor's genesis holds the state that it goes on from, and cites the position of it. That is not before what was taken here, or
 *     the node does not go on: something acknowledged would be lost silently (G8).
 * SC4 A checkpoint holds the state that was folded here, or the node does not go on: two nodes would go on with two states.
 */
import { equalBytes, toHex } from "../base/bytes.ts";
import { OnefoldError } from "../base/errors.ts";
import { type ChainLink, chainFault } from "../log/chain.ts";
import { type LogRecord, positionOf } from "../log/record.ts";
import { LogFault } from "./log-fault.ts";
import { checkpointOf, fold } from "./system-fold.ts";
import { indexOfSequence, systemLogName } from "./system-names.ts";
import { decodeSystemRecords, encodeSystemRecords, type SystemRecord } from "./system-records.ts";
import { emptySystemState, type SystemState } from "./system-state.ts";

/** A record that may be taken, and what there is when it is. */
export interface ChainStep {
  readonly record: LogRecord;
  readonly state: SystemState;
  readonly isBehindGap: boolean;
  /** It doesn't stand right behind what was taken before: a copy begins anew with it. */
  readonly isBeginning: boolean;
}

type Checkpoint = Extract<SystemRecord, { readonly type: "checkpoint" }>;

export class SystemChain {
  #state = emptySystemState;
  #link: ChainLink | null = null;
  /** What was taken begins behind something that is not there any more, and no checkpoint has come since (SC2). */
  #isBehindGap = false;

  get state(): SystemState {
    return this.#state;
  }

  /** The last record that was taken; null for none. */
  get link(): ChainLink | null {
    return this.#link;
  }

  /** Whether the state is that of `link`. */
  get isWhole(): boolean {
    return !this.#isBehindGap;
  }

  /**
   * What taking the next record would do; undefined for one that was taken already. `isFirst`: the log was trimmed up to it, so there is
   * nothing that it could follow. Throws `LogFault`; `damaged`, `unsupported-version` (retry never).
   */
  examine(record: LogRecord, { isFirst = false } = {}): ChainStep | undefined {
    const { sequence, kind } = record;
    if (sequence <= (this.#link?.sequence ?? 0)) return undefined;
    if (kind !== "genesis" && kind !== "batch") throw unusable(sequence, `a ${kind} does not belong in it`);
    const isGenesis = kind === "genesis";
    const isBeginning = isFirst || (isGenesis && sequence > 1);
    this.#checkIncarnation(record);
    if (!isBeginning) {
      const fault = chainFault(this.#link, record);
      if (fault !== undefined) throw new LogFault("fork", systemLogName(indexOfSequence(sequence)), sequence, fault);
    }
    const records = decodeSystemRecords(record.payload);
    const continued = records.find((each) => each.type === "continued");
    if (isGenesis && sequence > 1 && continued === undefined) throw unusable(sequence, "it continues nothing");
    if (continued !== undefined) return this.#examineSuccessor(record, records, continued.parent);
    return this.#examineNext(record, records, { isFirst, isBeginning });
  }

  /** Takes what was examined last. */
  accept({ record, state, isBehindGap }: ChainStep): void {
    this.#state = state;
    this.#isBehindGap = isBehindGap;
    this.#link = { ...positionOf(record), timeMs: record.timeMs };
  }

  #checkIncarnation({ sequence, incarnation }: LogRecord): void {
    const link = this.#link;
    if (link === null || indexOfSequence(link.sequence) !== indexOfSequence(sequence)) return;
    if (equalBytes(link.incarnation, incarnation)) return;
    throw unusable(sequence, "its record belongs to another incarnation of the log");
  }

  #examineNext(
    record: LogRecord,
    records: readonly SystemRecord[],
    { isFirst, isBeginning }: { readonly isFirst: boolean; readonly isBeginning: boolean },
  ): ChainStep {
    const { sequence } = record;
    const wasBehindGap = isFirst ? record.kind !== "genesis" : this.#isBehindGap;
    const checkpoint = records.find((each) => each.type === "checkpoint");
    if (checkpoint !== undefined && checkpoint.state.sequence !== sequence - 1) {
      throw unusable(sequence, "its checkpoint is of another place");
    }
    if (checkpoint !== undefined && !wasBehindGap) this.#checkCheckpoint(checkpoint, sequence);
    const isBehindGap = wasBehindGap && checkpoint === undefined;
    const before = wasBehindGap ? emptySystemState : this.#state;
    const state = isBehindGap ? this.#state : fold(before, records, sequence);
    return { record, state, isBehindGap, isBeginning };
  }

  /** SC3. */
  #examineSuccessor(
    record: LogRecord,
    records: readonly SystemRecord[],
    parent: { readonly sequence: number; readonly hash: string },
  ): ChainStep {
    const { sequence } = record;
    const checkpoint = records.find((each) => each.type === "checkpoint");
    if (checkpoint?.state.sequence !== parent.sequence)
      throw unusable(sequence, "it lacks the state that it goes on from");
    const link = this.#link;
    if (link !== null && parent.sequence < link.sequence) {
      throw unusable(
        sequence,
        `it goes on from record ${parent.sequence}, while this node has verified ${link.sequence}`,
      );
    }
    const isSame = parent.sequence === link?.sequence && parent.hash === toHex(link.hash);
    if (isSame && !this.#isBehindGap) this.#checkCheckpoint(checkpoint, sequence);
    return { record, state: fold(emptySystemState, records, sequence), isBehindGap: false, isBeginning: true };
  }

  #checkCheckpoint(checkpoint: Checkpoint, sequence: number): void {
    // Decoded once more, it has its properties in the order in which the log's has them.
    const own = encodeSystemRecords(decodeSystemRecords(encodeSystemRecords([checkpointOf(this.#state)])));
    if (equalBytes(own, encodeSystemRecords([checkpoint]))) return;
    throw unusable(sequence, "its checkpoint is not the state that its records make");
  }
}

/** `damaged` (retry never): not a matter of repairing the log. */
function unusable(sequence: number, reason: string): OnefoldError {
  const log = systemLogName(indexOfSequence(sequence));
  return new OnefoldError(
    "damaged",
    `The system log can't be followed at ${sequence}: ${reason}. This node does not go on; look at the other nodes and the engine first.`,
    { details: { log, sequence, reason } },
  );
}
