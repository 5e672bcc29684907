/** A client for tests that writes bytes on a socket and reads replies from it, with no opinion on what is proper HTTP. */
import { once } from "node:events";
import { connect, type Socket } from "node:net";

export interface WireReply {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

/** One connection. `timeoutMs` bounds every wait. */
export class Wire {
  readonly socket: Socket;
  #received = Buffer.alloc(0);
  #ended = false;
  #wake: (() => void) | undefined;
  readonly #timeoutMs: number;

  private constructor(socket: Socket, timeoutMs: number) {
    this.socket = socket;
    this.#timeoutMs = timeoutMs;
    socket.on("data", (chunk: Buffer) => {
      this.#received = Buffer.concat([this.#received, chunk]);
      this.#wake?.();
    });
    // A reset is one of the ways in which a connection may end; tests look at `ended`.
    socket.on("error", () => this.#end());
    socket.on("close", () => this.#end());
  }

  static async connect(port: number, timeoutMs = 5000): Promise<Wire> {
    const socket = connect({ port, host: "127.0.0.1" });
    await once(socket, "connect");
    return new Wire(socket, timeoutMs);
  }

  write(text: string | Uint8Array): void {
    this.socket.write(text);
  }

  /** The next whole reply (with a `content-length`, or none for 204 and 304). Throws if the connection ends first. */
  async reply(options: { readonly head?: boolean } = {}): Promise<WireReply> {
    for (;;) {
      const reply = this.#take(options.head ?? false);
      if (reply !== undefined) return reply;
      if (this.#ended) throw new Error(`the connection ended after ${JSON.stringify(this.#received.toString())}`);
      await this.#change();
    }
  }

  /** Resolves when the connection has ended; bytes that came meanwhile are kept. */
  async ended(): Promise<void> {
    while (!this.#ended) await this.#change();
  }

  close(): void {
    this.socket.destroy();
  }

  #end(): void {
    this.#ended = true;
    this.#wake?.();
  }

  #take(isHead: boolean): WireReply | undefined {
    const headEnd = this.#received.indexOf("\r\n\r\n");
    if (headEnd === -1) return undefined;
    const [statusLine, ...lines] = this.#received.subarray(0, headEnd).toString("latin1").split("\r\n");
    const headers = Object.fromEntries(
      lines.map((line) => {
        const colon = line.indexOf(":");
        return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()];
      }),
    );
    const bodyStart = headEnd + 4;
    const bodyEnd = bodyStart + (isHead ? 0 : Number(headers["content-length"] ?? 0));
    if (this.#received.length < bodyEnd) return undefined;
    const body = this.#received.subarray(bodyStart, bodyEnd).toString();
    this.#received = this.#received.subarray(bodyEnd);
    return { status: Number(statusLine!.split(" ")[1]), headers, body };
  }

  #change(): Promise<void> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error("nothing came in time")), this.#timeoutMs);
      this.#wake = () => {
        clearTimeout(timer);
        this.#wake = undefined;
        resolve();
      };
    });
  }
}

/** The bytes of a request with the headers that every proper one has. */
export function request(
  method: string,
  path: string,
  options: { readonly headers?: Readonly<Record<string, string>>; readonly body?: string } = {},
): string {
  const headers: Record<string, string> = { host: "127.0.0.1", ...options.headers };
  if (options.body !== undefined) {
    headers["content-type"] ??= "application/json";
    headers["content-length"] ??= String(Buffer.byteLength(options.body));
  }
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}`);
  return [`${method} ${path} HTTP/1.1`, ...lines, "", options.body ?? ""].join("\r\n");
}
