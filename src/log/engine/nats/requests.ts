/**
 * Questions to the engine's servers over one connection, each with its deadline.
 *
 * RQ1 Each question is settled once: by its answer, at its deadline, or when the connection goes. Nothing is kept of it then.
 * RQ2 A question that is asked while there is no connection is not kept for later; it fails at once.
 */
import { createInbox, type Msg, type MsgHdrs, type NatsConnection } from "@nats-io/transport-node";
import { OnefoldError } from "../../../base/errors.ts";

export interface Question {
  readonly subject: string;
  readonly payload: Uint8Array | string;
  readonly headers?: MsgHdrs;
  readonly atMostMs: number;
}

interface Waiting {
  readonly resolve: (answer: Msg) => void;
  readonly reject: (error: OnefoldError) => void;
  readonly timer: NodeJS.Timeout;
}

export function unavailable(message: string, cause?: unknown): OnefoldError {
  return new OnefoldError("unavailable", message, { cause });
}

/** The status that servers answer with where nobody listens on a subject. */
const noResponders = 503;

export class Requests {
  readonly #connection: NatsConnection;
  readonly #inbox = createInbox();
  readonly #waiting = new Map<string, Waiting>();
  #isConnected = true;
  #count = 0;

  constructor(connection: NatsConnection) {
    this.#connection = connection;
    connection.subscribe(`${this.#inbox}.*`, { callback: (error, message) => this.#answered(error, message) });
  }

  /** Whether what is sent now goes to a server. */
  get isConnected(): boolean {
    return this.#isConnected;
  }

  /** Throws `unavailable`. The answer's bytes are valid only until the caller's next turn; the payload is not copied. */
  ask<T>(question: Question, take: (answer: Msg) => T): Promise<T> {
    if (!this.#isConnected) return Promise.reject(unavailable("There is no connection to the engine now."));
    const key = (++this.#count).toString(36);
    return new Promise<T>((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#waiting.delete(key);
        reject(unavailable("The engine did not answer in time."));
      }, question.atMostMs);
      this.#waiting.set(key, {
        timer,
        reject,
        resolve: (answer) => {
          try {
            resolve(take(answer));
          } catch (error) {
            reject(error);
          }
        },
      });
      try {
        const { headers } = question;
        const reply = `${this.#inbox}.${key}`;
        this.#connection.publish(
          question.subject,
          question.payload,
          headers === undefined ? { reply } : { reply, headers },
        );
      } catch (cause) {
        // Closed, or larger than the server takes.
        this.#settle(key)?.reject(unavailable("The question could not be sent to the engine.", cause));
      }
    });
  }

  connected(): void {
    this.#isConnected = true;
  }

  /** RQ1. */
  disconnected(): void {
    this.#isConnected = false;
    for (const key of [...this.#waiting.keys()]) {
      this.#settle(key)?.reject(unavailable("The connection to the engine was lost before it answered."));
    }
  }

  #answered(error: Error | null, message: Msg): void {
    if (error !== null) return this.disconnected();
    const waiting = this.#settle(message.subject.slice(this.#inbox.length + 1));
    if (waiting === undefined) return;
    if (message.data.length === 0 && message.headers?.code === noResponders) {
      waiting.reject(unavailable("No server of the engine is there for this now."));
    } else waiting.resolve(message);
  }

  #settle(key: string): Waiting | undefined {
    const waiting = this.#waiting.get(key);
    if (waiting === undefined) return undefined;
    this.#waiting.delete(key);
    clearTimeout(waiting.timer);
    return waiting;
  }
}
