/**
 * Questions to the engine's servers over one connection, each with its deadline.
 *
 * RQ1 Each question is settled once: by its answer, at its deadline, or when the connection goes that it was sent on. Nothing is kept of it
 *     then.
 * RQ2 A question that is asked while there is no connection is sent on the next one, if that comes before its deadline; never after it.
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

/** The question has reached nobody: no server that the connection's own one knows of listens on its subject. */
export class NobodyThere extends OnefoldError {
  constructor() {
    super("unavailable", "No server of the engine is there for this now.");
  }
}

/** The status that servers answer with where nobody listens on a subject. */
const noResponders = 503;

export class Requests {
  readonly #connection: NatsConnection;
  readonly #inbox = createInbox();
  readonly #waiting = new Map<string, Waiting>();
  readonly #unsent = new Map<string, Question>();
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

  /** Throws `unavailable`. The answer's bytes are valid only until `take` returns; the payload is not copied. */
  ask<T>(question: Question, take: (answer: Msg) => T): Promise<T> {
    const key = (++this.#count).toString(36);
    return new Promise<T>((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#waiting.delete(key);
        this.#unsent.delete(key);
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
      if (this.#isConnected) this.#send(key, question);
      else this.#unsent.set(key, question);
    });
  }

  #send(key: string, { subject, payload, headers }: Question): void {
    const reply = `${this.#inbox}.${key}`;
    try {
      this.#connection.publish(subject, payload, headers === undefined ? { reply } : { reply, headers });
    } catch (cause) {
      // Closed, or larger than the server takes.
      this.#settle(key)?.reject(unavailable("The question could not be sent to the engine.", cause));
    }
  }

  /** RQ2. */
  connected(): void {
    this.#isConnected = true;
    const unsent = [...this.#unsent];
    this.#unsent.clear();
    for (const [key, question] of unsent) this.#send(key, question);
  }

  /** RQ1. */
  disconnected(): void {
    this.#isConnected = false;
    for (const key of [...this.#waiting.keys()]) {
      if (this.#unsent.has(key)) continue;
      this.#settle(key)?.reject(unavailable("The connection to the engine was lost before it answered."));
    }
  }

  /** For good. */
  close(): void {
    this.#unsent.clear();
    this.disconnected();
  }

  #answered(error: Error | null, message: Msg): void {
    // The server does not let this login have answers: every question is in vain.
    if (error !== null) return this.disconnected();
    const waiting = this.#settle(message.subject.slice(this.#inbox.length + 1));
    if (waiting === undefined) return;
    if (message.data.length === 0 && message.headers?.code === noResponders) {
      waiting.reject(new NobodyThere());
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
