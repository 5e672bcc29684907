/** What an operation answers, before it is put on the wire. Plain data. */
export interface Answer {
  readonly status: number;
  /** Default: JSON. */
  readonly contentType?: string;
  /** Absent: no content. */
  readonly body?: string;
  /** For `Onefold-Sequence`. */
  readonly sequence?: number;
  readonly etag?: string;
  /** For `Onefold-Session`; otherwise the request's own token goes back. */
  readonly sessionToken?: string;
}

export function jsonAnswer(body: string, facts: Omit<Answer, "status" | "body" | "contentType"> = {}): Answer {
  return { status: 200, body, ...facts };
}
