/**
 * A tail of a log: an ephemeral push consumer, which verifies that nothing is missing, and is made anew where something is.
 *
 * NT1 What is told is contiguous from where the log begins or the tail was asked to. A consumer hangs on any replica, and passes over what that
 *     one lacks; so at a gap, or a heartbeat that tells of more than has come, another consumer begins at the sequence that is due.
 *     So does one where a consumer goes back: its server was restarted, or the log was rolled back, and then it is shorter than what was told.
 * NT2 A sequence that consumers fail to deliver `skipsMax` times, and a consumer that can't be made for `engineTailRepairMs`, end the tail.
 * NT3 Nothing is told after `close` or `ended`.
 */
import { createInbox, type Msg, type Subscription } from "@nats-io/transport-node";
import { OnefoldError } from "../../../base/errors.ts";
import type { Limits } from "../../../base/limits.ts";
import type { LogBounds, TailListener } from "../../engine-log.ts";
import { apiUnavailable } from "./api-error.ts";
import type { EngineConnection } from "./connection.ts";
import { unavailable } from "./requests.ts";

export interface NatsTailOptions {
  readonly connection: EngineConnection;
  readonly stream: string;
  readonly subject: string;
  readonly limits: Pick<Limits, "engineTailSilenceMs" | "engineTailRepairMs">;
  readonly sequence: number;
  readonly listener: TailListener;
  readonly bounds: () => Promise<LogBounds>;
  /** It has ended, or was closed. */
  readonly closed: () => void;
}

const skipsMax = 3;
const retryMs = 200;
const nsPerMs = 1_000_000;
/** Heartbeats in the time after which silence counts. */
const heartbeats = 3;
/** The server forgets a consumer that nobody listens to. */
const inactiveMs = 5_000;
const controlStatus = 100;

/** Why a consumer is of no use any more. */
type Break = "skipped" | "rewound" | "silent" | "closed";

export class NatsTail {
  readonly #options: NatsTailOptions;
  #next: number;
  #isClosed = false;
  #subscription: Subscription | undefined;
  #consumer: string | undefined;
  #break: ((reason: Break) => void) | undefined;
  #heardAtMs = 0;
  #hasTold = false;
  /** Of the consumer that there is now. */
  #hasDelivered = false;

  constructor(options: NatsTailOptions) {
    this.#options = options;
    this.#next = options.sequence;
  }

  /** Once, after whoever asked for it has it. */
  begin(): void {
    void this.#run();
  }

  /** Idempotent. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#drop();
    this.#break?.("closed");
    this.#options.closed();
  }

  async #run(): Promise<void> {
    const { engineTailRepairMs } = this.#options.limits;
    let skips = 0;
    let brokenSinceMs: number | undefined;
    let cause: unknown;
    while (!this.#isClosed) {
      const due = this.#next;
      try {
        const broken = await this.#follow();
        brokenSinceMs = undefined;
        cause = unavailable(`The tail of ${this.#options.stream} has a gap before or at ${this.#next}.`);
        if (broken === "skipped" || broken === "rewound") skips = this.#next === due ? skips + 1 : 1;
      } catch (error) {
        if (!(error instanceof OnefoldError) || error.code !== "unavailable") return this.#end(error);
        cause = error;
        brokenSinceMs ??= performance.now();
      }
      const isHopeless = brokenSinceMs !== undefined && performance.now() - brokenSinceMs >= engineTailRepairMs;
      if (skips >= skipsMax || isHopeless) return this.#end(cause);
      if (!this.#isClosed) await new Promise((resolve) => setTimeout(resolve, retryMs));
    }
  }

  /** Makes a consumer, and tells what it delivers until it is of no use. Throws `unavailable` where it can't be made. */
  async #follow(): Promise<Break> {
    const { bounds, connection } = this.#options;
    const { first, last } = await bounds();
    if (this.#isClosed) return "closed";
    if (this.#hasTold && last < this.#next - 1) throw unavailable("The log is shorter than what was told of it.");
    this.#next = Math.max(this.#next, first);
    const broken = new Promise<Break>((resolve) => {
      this.#break = resolve;
    });
    const inbox = createInbox();
    this.#hasDelivered = false;
    this.#heardAtMs = performance.now();
    this.#subscription = connection.subscribe(inbox, {
      callback: (error, message) => (error === null ? this.#heard(message) : this.#break?.("silent")),
    });
    const watch = setInterval(() => this.#checkSilence(), this.#options.limits.engineTailSilenceMs / heartbeats);
    try {
      await this.#makeConsumer(inbox);
      return await broken;
    } finally {
      clearInterval(watch);
      this.#break = undefined;
      this.#drop();
    }
  }

  async #makeConsumer(inbox: string): Promise<void> {
    const { connection, stream, limits } = this.#options;
    const name = inbox.slice(inbox.lastIndexOf(".") + 1);
    const answer = await connection.api(`CONSUMER.CREATE.${stream}.${name}`, {
      stream_name: stream,
      action: "create",
      config: {
        name,
        deliver_subject: inbox,
        deliver_policy: "by_start_sequence",
        opt_start_seq: this.#next,
        ack_policy: "none",
        replay_policy: "instant",
        flow_control: true,
        idle_heartbeat: Math.round((limits.engineTailSilenceMs / heartbeats) * nsPerMs),
        inactive_threshold: inactiveMs * nsPerMs,
        mem_storage: true,
        num_replicas: 1,
      },
    });
    if ("error" in answer) throw apiUnavailable(answer);
    this.#consumer = name;
    // It was closed meanwhile.
    if (this.#isClosed) this.#drop();
  }

  #heard(message: Msg): void {
    this.#heardAtMs = performance.now();
    if (message.headers?.code === controlStatus && message.data.length === 0) return this.#control(message);
    const sequence = sequenceOf(message.reply ?? "");
    if (sequence === undefined || this.#break === undefined || this.#isClosed) return;
    if (sequence > this.#next) return this.#break("skipped");
    if (sequence < this.#next) {
      // Where it begins beyond the end, it is told of what comes before that as well.
      if (this.#hasDelivered) this.#break("rewound");
      return;
    }
    this.#next = sequence + 1;
    this.#hasTold = true;
    this.#hasDelivered = true;
    this.#options.listener.record(sequence, message.data.slice());
  }

  /** Flow control, which is to be answered, or a heartbeat, which tells what was delivered. */
  #control(message: Msg): void {
    const { connection } = this.#options;
    const stalled = message.headers?.get("Nats-Consumer-Stalled") ?? "";
    if (message.reply !== undefined && message.reply !== "") connection.tell(message.reply);
    else if (stalled !== "") connection.tell(stalled);
    const delivered = message.headers?.get("Nats-Last-Stream") ?? "";
    if (delivered === "") return;
    if (Number(delivered) >= this.#next) this.#break?.("skipped");
    else if (this.#hasDelivered && Number(delivered) < this.#next - 1) this.#break?.("rewound");
  }

  #checkSilence(): void {
    if (performance.now() - this.#heardAtMs >= this.#options.limits.engineTailSilenceMs) this.#break?.("silent");
  }

  #drop(): void {
    const { connection, stream } = this.#options;
    this.#subscription?.unsubscribe();
    this.#subscription = undefined;
    if (this.#consumer !== undefined) connection.tell(`$JS.API.CONSUMER.DELETE.${stream}.${this.#consumer}`);
    this.#consumer = undefined;
  }

  #end(cause: unknown): void {
    if (this.#isClosed) return;
    this.close();
    this.#options.listener.ended(cause);
  }
}

/** The stream's sequence in the subject that a delivered message is acknowledged by; undefined for any other. */
export function sequenceOf(reply: string): number | undefined {
  const tokens = reply.split(".");
  if (tokens[0] !== "$JS" || tokens[1] !== "ACK") return undefined;
  // `$JS.ACK.<stream>.<consumer>.<tries>.<sequence>.…`, or with domain and account before the stream.
  const text = tokens.length === 9 ? tokens[5] : tokens[7];
  const sequence = Number(text);
  return Number.isSafeInteger(sequence) && sequence > 0 ? sequence : undefined;
}
