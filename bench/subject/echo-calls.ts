/**
 * The barest client of a socket: writes calls in MessagePack, those of one turn in one frame, and resolves each when its message comes
 * back. The same codec and the same framing as the client's, without sessions, retries, deadlines and errors.
 */
import { once } from "node:events";
import { WebSocket } from "ws";
import type { Value } from "../../src/base/value.ts";
import { Decoder } from "../../src/wire/decoder.ts";
import { Encoder } from "../../src/wire/encoder.ts";

/** A message as `docs/protocol.md` has it: its type, its id, and what it asks for. */
export type CallMessage = readonly Value[];

export class EchoCalls {
  readonly #webSocket: WebSocket;
  readonly #encoder = new Encoder();
  readonly #decoder = new Decoder();
  readonly #waiting = new Map<number, (parts: readonly Value[]) => void>();
  #messageCount = 0;
  #lastId = 0;

  private constructor(webSocket: WebSocket) {
    this.#webSocket = webSocket;
    webSocket.on("message", (data) => this.#frame(data as Buffer));
  }

  /** Connects to the bare server at `port` on loopback. Rejects where there is none. */
  static async open(port: number): Promise<EchoCalls> {
    const webSocket = new WebSocket(`ws://127.0.0.1:${port}`, { perMessageDeflate: false });
    await once(webSocket, "open");
    return new EchoCalls(webSocket);
  }

  /** Resolves to the message that came back. */
  call(message: CallMessage): Promise<readonly Value[]> {
    return new Promise((resolve) => {
      const id = ++this.#lastId;
      this.#waiting.set(id, resolve);
      const encoder = this.#encoder;
      if (encoder.size === 0) {
        encoder.reserveArray();
        queueMicrotask(this.#flush);
      }
      encoder.array(message.length);
      encoder.number(message[0] as number);
      encoder.number(id);
      for (let i = 2; i < message.length; i++) encoder.value(message[i]);
      this.#messageCount++;
    });
  }

  close(): void {
    this.#webSocket.terminate();
  }

  readonly #flush = (): void => {
    this.#encoder.patchArray(0, this.#messageCount);
    this.#messageCount = 0;
    this.#webSocket.send(this.#encoder.take());
  };

  #frame(bytes: Uint8Array): void {
    const decoder = this.#decoder;
    decoder.open(bytes);
    for (let left = decoder.array(); left > 0; left--) {
      const parts: Value[] = [];
      for (let length = decoder.array(); length > 0; length--) parts.push(decoder.value());
      const id = parts[1] as number;
      this.#waiting.get(id)!(parts);
      this.#waiting.delete(id);
    }
  }
}
