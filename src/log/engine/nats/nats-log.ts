/**
 * One log of the engine: a stream with one subject, written by compare-and-set on its last sequence.
 *
 * NL1 `appended` is said only of an acknowledgement that names this stream and the very sequence that was asked for. A server sends it once
 *     a majority has the message, synced (`sync_interval: always`, the start gate). Records are sent without a message id: the server notes
 *     ids before it has committed anything, so that `duplicate` would prove nothing, and the compare-and-set alone lets identical bytes stand once.
 * NL2 All reads are the stream's leader's (`MSG.GET`, `STREAM.INFO`): a deposed one is stale for seconds, where any replica's answer
 *     (`DIRECT.GET`) is for as long as a partition lasts.
 * NL3 Nothing beyond the end is ever purged: that would move the end.
 */
import { headers } from "@nats-io/transport-node";
import { assert } from "../../../base/assert.ts";
import { OnefoldError } from "../../../base/errors.ts";
import type { Limits } from "../../../base/limits.ts";
import type { EngineAppendOutcome, EngineLog, LogBounds, TailListener } from "../../engine-log.ts";
import { apiErrorCodes, apiUnavailable, parseAnswer } from "./api-error.ts";
import type { EngineConnection } from "./connection.ts";
import { NatsTail } from "./nats-tail.ts";
import { NobodyThere, unavailable } from "./requests.ts";
import type { StreamInfo } from "./stream-config.ts";

export type NatsLogLimits = Pick<
  Limits,
  | "engineAppendsMax"
  | "engineAppendBytesMax"
  | "engineAppendMs"
  | "engineAnswerMs"
  | "engineReadsMax"
  | "engineTailSilenceMs"
  | "engineTailRepairMs"
>;

/** What is under way to the engine, over all logs of a connection. */
export interface AppendsOpen {
  count: number;
  bytesCount: number;
}

export interface NatsLogParts {
  readonly name: string;
  readonly stream: string;
  readonly subject: string;
  readonly connection: EngineConnection;
  readonly limits: NatsLogLimits;
  readonly appendsOpen: AppendsOpen;
  readonly tails: Set<NatsTail>;
}

interface PublishAnswer {
  readonly stream: string;
  readonly seq: number;
  readonly duplicate?: boolean;
}

interface StoredMessage {
  readonly message: { readonly seq: number; readonly data?: string };
}

/** Between two sendings of which the first has reached nobody. */
const againMs = 25;
/** How the number of reads under way grows: what is behind the end is asked for in vain. */
const readsGrowth = 8;

export class NatsLog implements EngineLog {
  readonly #parts: NatsLogParts;

  constructor(parts: NatsLogParts) {
    this.#parts = parts;
  }

  get name(): string {
    return this.#parts.name;
  }

  async append(sequence: number, bytes: Uint8Array): Promise<EngineAppendOutcome> {
    assert(Number.isSafeInteger(sequence) && sequence >= 1, "sequences are whole numbers from 1");
    const { appendsOpen, limits } = this.#parts;
    if (
      appendsOpen.count >= limits.engineAppendsMax ||
      appendsOpen.bytesCount + bytes.length > limits.engineAppendBytesMax
    ) {
      return { kind: "unknown", cause: unavailable("As many appends as allowed are under way to the engine.") };
    }
    appendsOpen.count++;
    appendsOpen.bytesCount += bytes.length;
    try {
      return await this.#send(sequence, bytes);
    } catch (cause) {
      if (!(cause instanceof OnefoldError) || cause.code !== "unavailable") throw cause;
      return { kind: "unknown", cause, isSilent: true };
    } finally {
      appendsOpen.count--;
      appendsOpen.bytesCount -= bytes.length;
    }
  }

  async #send(sequence: number, bytes: Uint8Array): Promise<EngineAppendOutcome> {
    const { connection, stream, subject, limits } = this.#parts;
    const fields = headers();
    fields.set("Nats-Expected-Stream", stream);
    fields.set("Nats-Expected-Last-Sequence", String(sequence - 1));
    // The client writes it later; meanwhile the caller may change its bytes.
    const payload = bytes.slice();
    const deadlineMs = performance.now() + limits.engineAppendMs;
    for (;;) {
      const atMostMs = Math.max(1, deadlineMs - performance.now());
      try {
        return await connection.ask({ subject, payload, headers: fields, atMostMs }, ({ data }) =>
          this.#outcome(sequence, data),
        );
      } catch (error) {
        // It has reached nobody: the log was made just now and the server doesn't know it yet, or nobody leads it.
        if (!(error instanceof NobodyThere) || performance.now() + againMs >= deadlineMs) throw error;
      }
      await new Promise((resolve) => setTimeout(resolve, againMs));
    }
  }

  /** NL1. */
  #outcome(sequence: number, data: Uint8Array): EngineAppendOutcome {
    const { stream } = this.#parts;
    const answer = parseAnswer<PublishAnswer>(data);
    if ("value" in answer) {
      const { stream: at, seq, duplicate = false } = answer.value;
      if (at === stream && seq === sequence && !duplicate) return { kind: "appended" };
      return { kind: "unknown", cause: unavailable(`The engine says that it stands at ${answer.value.seq}.`) };
    }
    const { err_code } = answer.error;
    const isWrongEnd =
      err_code === apiErrorCodes.wrongLastSequence || err_code === apiErrorCodes.wrongLastSequenceConstant;
    return isWrongEnd ? { kind: "refused" } : { kind: "unknown", cause: apiUnavailable(answer) };
  }

  async read(sequence: number): Promise<Uint8Array | undefined> {
    const { connection, stream } = this.#parts;
    const answer = await connection.api<StoredMessage>(`STREAM.MSG.GET.${stream}`, { seq: sequence, no_hdr: true });
    if ("error" in answer) {
      if (answer.error.err_code === apiErrorCodes.messageNotFound) return undefined;
      throw apiUnavailable(answer);
    }
    const { seq, data = "" } = answer.value.message;
    return seq === sequence ? Buffer.from(data, "base64") : undefined;
  }

  /** Many single reads at once, in order: so a missing one ends it, and the leader answers each. */
  async readMany(sequence: number, bytesMax: number): Promise<readonly Uint8Array[]> {
    const found: Uint8Array[] = [];
    let bytesCount = 0;
    for (let count = 1; ; ) {
      const wanted = Array.from({ length: count }, (_, index) => this.read(sequence + found.length + index));
      const answers = await Promise.allSettled(wanted);
      for (const answer of answers) {
        if (answer.status === "rejected") {
          if (found.length > 0) return found;
          throw answer.reason;
        }
        const bytes = answer.value;
        if (bytes === undefined || (found.length > 0 && bytesCount + bytes.length > bytesMax)) return found;
        found.push(bytes);
        bytesCount += bytes.length;
      }
      if (bytesCount >= bytesMax) return found;
      const room = Math.ceil((bytesMax - bytesCount) / Math.max(1, bytesCount / found.length));
      count = Math.max(1, Math.min(count * readsGrowth, room, this.#parts.limits.engineReadsMax));
    }
  }

  async bounds(): Promise<LogBounds> {
    const { connection, stream } = this.#parts;
    const answer = await connection.api<StreamInfo>(`STREAM.INFO.${stream}`);
    if ("error" in answer) throw apiUnavailable(answer);
    const { state, cluster } = answer.value;
    // NL2: one that has just stepped down still answers, and knows of no leader.
    if ((cluster?.replicas ?? []).length > 0 && cluster?.leader === undefined) {
      throw unavailable("The log has no leader now.");
    }
    const { messages, first_seq, last_seq } = state;
    return { first: messages === 0 ? last_seq + 1 : first_seq, last: last_seq };
  }

  tail(sequence: number, listener: TailListener): { close(): void } {
    const { connection, stream, subject, limits, tails } = this.#parts;
    const tail = new NatsTail({
      connection,
      stream,
      subject,
      limits,
      sequence,
      listener,
      bounds: () => this.bounds(),
      closed: () => tails.delete(tail),
    });
    tails.add(tail);
    tail.begin();
    return tail;
  }

  async trim(sequence: number): Promise<void> {
    const { connection, stream } = this.#parts;
    const { first, last } = await this.bounds();
    const keepFrom = Math.min(sequence, last + 1);
    if (keepFrom <= first) return;
    const answer = await connection.api(`STREAM.PURGE.${stream}`, { seq: keepFrom });
    if ("error" in answer) throw apiUnavailable(answer);
  }
}
