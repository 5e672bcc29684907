/** What a node finds wrong with a shard's log in the engine: never served, always told (G8). */

/**
 * - `fork`: a valid record does not follow the one before it, or differs from what this node has acknowledged.
 * - `hole`: a record is missing though later ones are there.
 * - `damaged`: bytes that are no record.
 * - `short`: the log ends before what this node has verified. May be an isolated replica that merely looks so.
 * - `trimmed`: what is needed was given up, and no snapshot reaches there.
 */
export type LogFaultKind = "fork" | "hole" | "damaged" | "short" | "trimmed";

export class LogFault extends Error {
  override readonly name = "LogFault";
  readonly kind: LogFaultKind;
  readonly log: string;
  /** Where. */
  readonly sequence: number;

  /** What was found can't be a stale answer: this node's own record was acknowledged there. */
  readonly isProven: boolean;

  constructor(kind: LogFaultKind, log: string, sequence: number, reason: string, { isProven = false } = {}) {
    super(`The log ${log} is not whole at ${sequence}: ${reason}.`);
    this.isProven = isProven;
    this.kind = kind;
    this.log = log;
    this.sequence = sequence;
  }
}
