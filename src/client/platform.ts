/**
 * What the client needs of the world: the port that makes it run in Node, in browsers, and in tests that break things at chosen
 * moments. `platform/` has the real ones.
 */

export interface ClientTimer {
  /** After it the callback does not run. Idempotent. */
  cancel(): void;
}

/** What a socket tells. After `closed` it tells nothing any more. */
export interface SocketListener {
  opened(): void;
  frame(bytes: Uint8Array): void;
  /** Also where it never opened. `code` is the close frame's, 1006 where there was none. */
  closed(code: number, reason: string): void;
}

export interface ClientSocket {
  /** The socket owns the frame. What is sent on one that is closing is dropped. */
  send(frame: Uint8Array): void;
  close(): void;
}

export interface HttpRequest {
  readonly method: "GET" | "POST" | "DELETE";
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string | undefined;
  readonly signal: AbortSignal;
}

export interface HttpReply {
  readonly status: number;
  readonly text: string;
  header(name: string): string | undefined;
}

export interface ClientPlatform {
  /** Milliseconds from an arbitrary start; never goes back. */
  monotonicMs(): number;
  /** Uniform in [0, 1). */
  random(): number;
  after(delayMs: number, callback: () => void): ClientTimer;
  /** Absent where there are no WebSockets. `headers` are for platforms that can send them; others ignore them. */
  readonly openSocket:
    | ((
        url: string,
        protocol: string,
        headers: Readonly<Record<string, string>>,
        listener: SocketListener,
      ) => ClientSocket)
    | undefined;
  /** Rejects where no answer came. */
  request(request: HttpRequest): Promise<HttpReply>;
}
