/**
 * Appending to the system log: proposals are decided on the state that the log ends with, and appended right behind it; where another's
 * record stands there first, they are decided again on the state with that.
 *
 *     waiting ──decided──▶ sent ──ours stands there──▶ committed
 *        ▲  │ nothing to do        │ another's does
 *        │  └──▶ declined          │
 *        └─────────────────────────┘      deadline passed, anywhere ──▶ unknown
 *
 * SW1 The identical bytes are sent until some record is known to stand at their sequence; its hash decides (hazards 3 and 4). They are
 *     given up only when nobody waits for them any more: they may come to stand there all the same.
 * SW2 `committed`: the proposal's records stand in the log, once, behind the very state that they were decided on.
 * SW3 Proposals that wait together are appended together, in the order in which they came; each is decided on the state that those before
 *     it make. A checkpoint goes alone.
 */
import { assert } from "../base/assert.ts";
import { equalBytes } from "../base/bytes.ts";
import { OnefoldError } from "../base/errors.ts";
import type { Limits } from "../base/limits.ts";
import type { Host } from "../host/host.ts";
import type { ChainLink } from "../log/chain.ts";
import type { EngineLog } from "../log/engine-log.ts";
import {
  type EncodedRecord,
  encodeRecord,
  formatVersion,
  incarnationBytes,
  type LogRecord,
  noHash,
} from "../log/record.ts";
import { readValid } from "./sending.ts";
import { foldOne } from "./system-fold.ts";
import { encodeSystemRecords, type SystemRecord } from "./system-records.ts";
import type { SystemState } from "./system-state.ts";

/** What to append behind this state; undefined or nothing: decline. Pure: it may be asked several times. */
export type Decide = (state: SystemState) => readonly SystemRecord[] | undefined;

/**
 * - `committed`: see SW2. `sentAtMs`: monotonic time at which its bytes were made; they were first sent right after.
 * - `declined`: `decide` had nothing to append. What it looked at may be behind the log's end.
 * - `unknown`: the deadline passed. It may stand in the log, come to stand there, or never.
 */
export type ProposalOutcome =
  | { readonly kind: "committed"; readonly sequence: number; readonly sentAtMs: number }
  | { readonly kind: "declined" }
  | { readonly kind: "unknown" };

export interface SystemWriterParts {
  readonly host: Pick<Host, "clock" | "timers" | "random">;
  readonly limits: Pick<Limits, "proposalsMax" | "systemSendsMax" | "batchBytesMax">;
  /** The log that is followed now. */
  readonly log: () => EngineLog | undefined;
  /** What the log ends with, verified; undefined while that is not known. */
  readonly end: () => { readonly state: SystemState; readonly link: ChainLink | null } | undefined;
  /** A valid record that stands in this log; leads to `stands` if it is news. */
  readonly onRecord: (log: EngineLog, record: { readonly sequence: number; readonly bytes: Uint8Array }) => void;
  /** Something was found that the node can't go on from. */
  readonly onFailed: (error: unknown) => void;
}

interface Proposal {
  readonly decide: Decide;
  isSettled: boolean;
  settle(outcome: ProposalOutcome): void;
  fail(error: unknown): void;
}

interface Attempt extends EncodedRecord {
  readonly log: EngineLog;
  readonly sequence: number;
  readonly madeAtMs: number;
  readonly proposals: readonly Proposal[];
  fate: "ours" | "other" | "lost" | undefined;
  sendCount: number;
  lastSentAtMs: number;
}

const resendDelayMs = 50;
/** The engine may take seconds to say that it doesn't know: long before, the same bytes go another way. */
const overlapMs = 500;
/** The system log has one owner for ever: the cluster. */
export const systemEpoch = 1;

export class SystemWriter {
  readonly #parts: SystemWriterParts;
  #waiting: Proposal[] = [];
  #attempt: Attempt | undefined;
  #running: Promise<void> | undefined;
  readonly #sendings = new Set<Promise<void>>();
  #wake: (() => void) | undefined;
  #isStopped = false;

  constructor(parts: SystemWriterParts) {
    this.#parts = parts;
  }

  /** Rejects with what `decide` throws; `too-large`, `invalid-value` for what can't be encoded; `overloaded` (retry safe). */
  propose(decide: Decide, { deadlineMs }: { readonly deadlineMs: number }): Promise<ProposalOutcome> {
    const { limits, host } = this.#parts;
    if (this.#isStopped) return Promise.resolve({ kind: "unknown" });
    if (this.#waiting.length >= limits.proposalsMax) {
      const message = "Too many changes of the cluster's state wait to be written. Try again later.";
      return Promise.reject(new OnefoldError("overloaded", message, { retryAfterMs: 1000 }));
    }
    return new Promise((resolve, reject) => {
      const end = (settle: () => void): void => {
        if (proposal.isSettled) return;
        proposal.isSettled = true;
        timer.cancel();
        this.#waiting = this.#waiting.filter((each) => each !== proposal);
        settle();
        this.wake();
      };
      const proposal: Proposal = {
        decide,
        isSettled: false,
        settle: (outcome) => end(() => resolve(outcome)),
        fail: (error) => end(() => reject(error)),
      };
      const timer = host.timers.after(deadlineMs, () => proposal.settle({ kind: "unknown" }), { keepsAlive: true });
      this.#waiting.push(proposal);
      this.wake();
      this.#running ??= this.#run();
    });
  }

  /** A record was taken into the state: it may be, or may have thwarted, what is being sent. */
  stands(record: Pick<LogRecord, "sequence" | "hash">): void {
    const attempt = this.#attempt;
    if (attempt === undefined || attempt.fate !== undefined || record.sequence < attempt.sequence) return;
    if (record.sequence > attempt.sequence) attempt.fate = "lost";
    else attempt.fate = equalBytes(record.hash, attempt.hash) ? "ours" : "other";
    this.wake();
  }

  /** Something has changed that the writer may be waiting for. */
  wake(): void {
    this.#wake?.();
  }

  /** Nothing is to be appended to the log any more: what was sent is `unknown`, what waits goes to the next one. */
  interrupt(): void {
    const attempt = this.#attempt;
    if (attempt !== undefined) attempt.fate ??= "lost";
    this.wake();
  }

  /** Sends nothing more; what waits is `unknown`. Idempotent. */
  abandon(): void {
    this.#isStopped = true;
    for (const proposal of [...this.#waiting]) proposal.settle({ kind: "unknown" });
    this.wake();
  }

  /** The same, and resolves when no sending is under way. Idempotent. */
  async stop(): Promise<void> {
    this.abandon();
    await this.#running;
    await Promise.all(this.#sendings);
  }

  async #run(): Promise<void> {
    try {
      while (this.#waiting.length > 0 && !this.#isStopped) {
        // What is proposed in one turn goes together.
        await Promise.resolve();
        const end = this.#parts.end();
        const log = this.#parts.log();
        if (end === undefined || log === undefined) await this.#pause(undefined);
        else await this.#attemptBehind(log, end);
      }
    } catch (error) {
      this.#parts.onFailed(error);
    } finally {
      this.#running = undefined;
    }
  }

  async #attemptBehind(
    log: EngineLog,
    end: { readonly state: SystemState; readonly link: ChainLink | null },
  ): Promise<void> {
    const attempt = this.#compose(log, end);
    if (attempt === undefined) return;
    this.#attempt = attempt;
    try {
      await this.#sendUntilKnown(attempt);
    } finally {
      this.#attempt = undefined;
    }
    const { fate, sequence, madeAtMs } = attempt;
    if (fate === undefined || fate === "other") return;
    for (const proposal of attempt.proposals) {
      proposal.settle(fate === "ours" ? { kind: "committed", sequence, sentAtMs: madeAtMs } : { kind: "unknown" });
    }
  }

  /** SW3. Undefined where nothing that waits has anything to append. */
  #compose(
    log: EngineLog,
    { state, link }: { readonly state: SystemState; readonly link: ChainLink | null },
  ): Attempt | undefined {
    const sequence = (link?.sequence ?? 0) + 1;
    const records: SystemRecord[] = [];
    const proposals: Proposal[] = [];
    let after = state;
    let sizeBytes = 16;
    for (const proposal of [...this.#waiting]) {
      const wanted = this.#decide(proposal, after);
      if (wanted === undefined) continue;
      const isAlone = wanted.records.some((record) => record.type === "checkpoint");
      const isFirst = records.length === 0;
      if (!isFirst && (isAlone || sizeBytes + wanted.sizeBytes > this.#parts.limits.batchBytesMax / 2)) continue;
      sizeBytes += wanted.sizeBytes;
      proposals.push(proposal);
      for (const record of wanted.records) {
        records.push(record);
        after = foldOne(after, record, sequence);
      }
      if (isAlone) break;
    }
    return records.length === 0 ? undefined : this.#encode({ log, link, sequence, records, proposals });
  }

  #decide(
    proposal: Proposal,
    state: SystemState,
  ): { readonly records: readonly SystemRecord[]; readonly sizeBytes: number } | undefined {
    try {
      const records = proposal.decide(state) ?? [];
      if (records.length > 0) return { records, sizeBytes: encodeSystemRecords(records).length };
      proposal.settle({ kind: "declined" });
    } catch (error) {
      proposal.fail(error);
    }
    return undefined;
  }

  #encode(parts: {
    readonly log: EngineLog;
    readonly link: ChainLink | null;
    readonly sequence: number;
    readonly records: readonly SystemRecord[];
    readonly proposals: readonly Proposal[];
  }): Attempt {
    const { log, link, sequence, records, proposals } = parts;
    const { clock, random } = this.#parts.host;
    const first = records[0]?.type;
    const isFounding = first === "founded" || first === "restored" || (link === null && first === "promotion-begun");
    assert((link === null) === isFounding, "the system log begins with its founding, and no other");
    const { bytes, hash } = encodeRecord(
      {
        kind: link === null ? "genesis" : "batch",
        readerVersion: formatVersion,
        incarnation: link?.incarnation ?? random.bytes(incarnationBytes),
        epoch: systemEpoch,
        sequence,
        timeMs: Math.max(link?.timeMs ?? 0, clock.wallMs()),
        previousHash: link?.hash ?? noHash,
      },
      encodeSystemRecords(records),
    );
    const madeAtMs = clock.monotonicMs();
    return { log, bytes, hash, sequence, madeAtMs, proposals, fate: undefined, sendCount: 0, lastSentAtMs: madeAtMs };
  }

  /** SW1. */
  async #sendUntilKnown(attempt: Attempt): Promise<void> {
    const { host, limits } = this.#parts;
    while (attempt.fate === undefined && !this.#isStopped && attempt.proposals.some((each) => !each.isSettled)) {
      const isOverdue = host.clock.monotonicMs() - attempt.lastSentAtMs >= overlapMs;
      if (attempt.sendCount === 0 || (isOverdue && attempt.sendCount < limits.systemSendsMax))
        this.#startSending(attempt);
      await this.#pause(resendDelayMs);
    }
  }

  #startSending(attempt: Attempt): void {
    attempt.sendCount++;
    attempt.lastSentAtMs = this.#parts.host.clock.monotonicMs();
    const sending = this.#send(attempt)
      .catch((error: unknown) => this.#parts.onFailed(error))
      .finally(() => {
        attempt.sendCount--;
        this.#sendings.delete(sending);
      });
    this.#sendings.add(sending);
  }

  async #send({ log, sequence, bytes }: Attempt): Promise<void> {
    const outcome = await log.append(sequence, bytes);
    const found = outcome.kind === "appended" ? { sequence, bytes } : await readValid(log, sequence);
    if (found !== undefined && !this.#isStopped) this.#parts.onRecord(log, found);
  }

  async #pause(atMostMs: number | undefined): Promise<void> {
    await new Promise<void>((resolve) => {
      const timer =
        atMostMs === undefined
          ? undefined
          : this.#parts.host.timers.after(atMostMs, () => resolve(), { keepsAlive: true });
      this.#wake = () => {
        timer?.cancel();
        resolve();
      };
    });
    this.#wake = undefined;
  }
}
