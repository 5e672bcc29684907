/** What an operation answers, before it is put on the wire. Plain data. */
export interface Answer {
  readonly status: number;
  /** Default: JSON. */
  readonly contentType?: string;
  /** Absent: no content. */
  readonly body?: string;
  /** Instead of a body: bytes that are written as the client takes them. `close` is called once it is over, however. */
  readonly stream?: {
    /** Absent: not known before its end. */
    readonly sizeBytes?: number;
    chunks(): AsyncIterable<Uint8Array>;
    close(): void;
  };
  /** For `Onefold-Sequence`. */
  readonly sequence?: number;
  /** For `Onefold-Stale-For-Ms`. */
  readonly staleForMs?: number;
  readonly etag?: string;
  /** For `Onefold-Session`; otherwise the request's own token goes back. */
  readonly sessionToken?: string;
}

export function jsonAnswer(body: string, facts: Omit<Answer, "status" | "body" | "contentType"> = {}): Answer {
  return { status: 200, body, ...facts };
}
