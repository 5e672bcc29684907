/** A client for tests that speaks the socket's protocol by an independent MessagePack library and has no opinions of its own. */
import assert from "node:assert/strict";
import { Packr } from "msgpackr";
import { WebSocket } from "ws";
import { subprotocol } from "../wire/protocol.ts";

const packr = new Packr({ useRecords: false, useBigIntExtension: true, variableMapSize: true });

// biome-ignore lint/suspicious/noExplicitAny: tests look into messages as they please.
type Message = any;

/** One socket. Every wait is bounded by `timeoutMs`. */
export class SocketPeer {
  readonly socket: WebSocket;
  readonly frames: Message[][] = [];
  readonly #messages: Message[] = [];
  #closed: { readonly code: number; readonly reason: string } | undefined;
  #refused: { readonly status: number; readonly body: string } | undefined;
  #wake: (() => void) | undefined;
  readonly #timeoutMs: number;

  constructor(
    port: number,
    options: {
      readonly query?: string;
      readonly headers?: Readonly<Record<string, string>>;
      readonly protocol?: string;
      readonly path?: string;
      readonly autoPong?: boolean;
      readonly timeoutMs?: number;
    } = {},
  ) {
    const { query = "", headers = {}, protocol = subprotocol, path = "/v1/socket", autoPong = true } = options;
    this.#timeoutMs = options.timeoutMs ?? 5000;
    this.socket = new WebSocket(`ws://127.0.0.1:${port}${path}${query}`, protocol, {
      headers: { ...headers },
      autoPong,
      perMessageDeflate: false,
    });
    this.socket.on("message", (data: Buffer) => {
      const frame = packr.unpack(data) as Message[];
      this.frames.push(frame);
      this.#messages.push(...frame);
      this.#wake?.();
    });
    this.socket.on("unexpected-response", (_request, response) => {
      let body = "";
      response.on("data", (chunk: Buffer) => {
        body += chunk.toString();
      });
      response.on("end", () => {
        this.#refused = { status: response.statusCode ?? 0, body };
        this.#wake?.();
      });
    });
    // Whatever ends it is looked at through `closed`.
    this.socket.on("error", () => this.#wake?.());
    this.socket.on("close", (code, reason) => {
      this.#closed = { code, reason: reason.toString() };
      this.#wake?.();
    });
  }

  /** Connects and says hello; gives the peer and the welcome. */
  static async open(
    port: number,
    options: ConstructorParameters<typeof SocketPeer>[1] & { readonly hello?: object } = {},
  ): Promise<SocketPeer & { readonly welcome: Message }> {
    const peer = new SocketPeer(port, options);
    await peer.opened();
    peer.send([0, options.hello ?? {}]);
    const [, welcome] = await peer.message();
    return Object.assign(peer, { welcome });
  }

  async opened(): Promise<void> {
    while (this.socket.readyState === WebSocket.CONNECTING) {
      await new Promise<void>((resolve) => this.socket.once("open", () => resolve()));
    }
  }

  /** One frame of these messages. */
  send(...messages: readonly (readonly unknown[])[]): void {
    this.sendBytes(packr.pack(messages));
  }

  sendBytes(bytes: Uint8Array): void {
    this.socket.send(bytes);
  }

  /** The next message that has not been taken yet. */
  message(): Promise<Message> {
    return this.#until("a message", () => this.#messages.shift());
  }

  async messages(count: number): Promise<Message[]> {
    const messages: Message[] = [];
    while (messages.length < count) messages.push(await this.message());
    return messages;
  }

  get messagesWaiting(): number {
    return this.#messages.length;
  }

  closed(): Promise<{ readonly code: number; readonly reason: string }> {
    return this.#until("the end", () => this.#closed);
  }

  /** The HTTP answer to a handshake that was not accepted. */
  refused(): Promise<{ readonly status: number; readonly body: string }> {
    return this.#until("a refusal", () => this.#refused);
  }

  /** Resolves after everything that was sent before has been read by the server. */
  async roundTrip(): Promise<void> {
    const nonce = `${Math.random()}`;
    this.send([10, nonce]);
    await this.#until("a pong", () => {
      const at = this.#messages.findIndex((message) => message[0] === 6 && message[1] === nonce);
      return at === -1 ? undefined : this.#messages.splice(at, 1);
    });
  }

  close(): void {
    this.socket.terminate();
  }

  async #until<T>(what: string, look: () => T | undefined): Promise<T> {
    const untilMs = performance.now() + this.#timeoutMs;
    for (;;) {
      const found = look();
      if (found !== undefined) return found;
      const leftMs = untilMs - performance.now();
      if (leftMs <= 0)
        throw new Error(`${what} did not come; the connection ended with ${JSON.stringify(this.#closed)}`);
      if (this.#closed !== undefined && what === "a message") {
        throw new Error(`the connection ended before ${what} came: ${JSON.stringify(this.#closed)}`);
      }
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, leftMs);
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  }
}

/** Waits until `holds`, turn by turn, for five seconds at most. */
export async function until(holds: () => boolean): Promise<void> {
  const endMs = performance.now() + 5000;
  while (!holds()) {
    assert.ok(performance.now() < endMs, `not in time: ${holds}`);
    await new Promise((resolve) => setImmediate(resolve));
  }
}
