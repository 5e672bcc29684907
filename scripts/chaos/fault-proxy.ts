/**
 * A TCP proxy that stands between two parties and does to their connections what a bad network does.
 *
 * FP1 Bytes arrive unchanged and in order, or not at all: as with TCP, what is lost is sent again, and late.
 * FP2 While a way is cut, nothing that goes that way arrives: neither bytes nor a connection's end. What waits then arrives when it is
 *     healed, as retransmissions do.
 * FP3 Bounded: a way that does not let through stops reading at `heldBytesMax`.
 */
import { connect, createServer, type Server, type Socket } from "node:net";
import type { SeededRandom } from "../../src/base/random.ts";
import type { Party } from "./links.ts";

const heldBytesMax = 1024 * 1024;
/** Linux's least retransmission time-out. */
const retransmissionMs = 200;

/** One direction between two parties. */
export class WayState {
  readonly #random: SeededRandom;
  #isCut = false;
  #delayMs = 0;
  #lossRate = 0;
  readonly #waiting = new Set<() => void>();

  constructor(random: SeededRandom) {
    this.#random = random;
  }

  get isCut(): boolean {
    return this.#isCut;
  }

  cut(): void {
    this.#isCut = true;
  }

  slow({ delayMs, lossRate }: { readonly delayMs: number; readonly lossRate: number }): void {
    this.#delayMs = delayMs;
    this.#lossRate = lossRate;
  }

  heal(): void {
    this.#isCut = false;
    this.#delayMs = 0;
    this.#lossRate = 0;
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const go of waiting) go();
  }

  /** Calls once when the way lets through again. */
  onceHealed(go: () => void): void {
    this.#waiting.add(go);
  }

  /** What a piece that leaves now takes longer. Lost ones double their wait, as TCP does. */
  latenessMs(): number {
    let ms = this.#delayMs;
    for (let waitMs = retransmissionMs; waitMs < 2000 && this.#random.chance(this.#lossRate); waitMs *= 2) ms += waitMs;
    return ms;
  }
}

type Piece = { readonly atMs: number } & ({ readonly bytes: Buffer } | { readonly end: "end" | "reset" });

/** One direction of one connection. */
class Stream {
  readonly #from: Socket;
  readonly #to: Socket;
  readonly #way: WayState;
  #pieces: Piece[] = [];
  #heldBytes = 0;
  #lastAtMs = 0;
  #timer: NodeJS.Timeout | undefined;
  #isWaiting = false;

  constructor(from: Socket, to: Socket, way: WayState) {
    this.#from = from;
    this.#to = to;
    this.#way = way;
    from.on("data", (bytes: Buffer) => this.#push({ bytes }));
    from.on("end", () => this.#push({ end: "end" }));
    from.on("close", (hadError) => {
      if (hadError || !from.readableEnded) this.#push({ end: "reset" });
    });
    to.on("drain", () => this.#from.resume());
    to.on("close", () => this.#drop());
  }

  #push(what: { readonly bytes: Buffer } | { readonly end: "end" | "reset" }): void {
    if (this.#to.destroyed) return;
    this.#lastAtMs = Math.max(this.#lastAtMs, performance.now() + this.#way.latenessMs());
    this.#pieces.push({ ...what, atMs: this.#lastAtMs });
    if ("bytes" in what) this.#heldBytes += what.bytes.length;
    if (this.#heldBytes > heldBytesMax) this.#from.pause();
    this.#pump();
  }

  #pump(): void {
    clearTimeout(this.#timer);
    for (let piece = this.#pieces[0]; piece !== undefined; piece = this.#pieces[0]) {
      if (this.#way.isCut) return this.#awaitHealing();
      const leftMs = piece.atMs - performance.now();
      if (leftMs > 0) {
        this.#timer = setTimeout(() => this.#pump(), leftMs);
        return;
      }
      this.#pieces.shift();
      this.#pass(piece);
    }
  }

  #pass(piece: Piece): void {
    if ("end" in piece) {
      if (piece.end === "end") this.#to.end();
      else this.#to.destroy();
      return;
    }
    this.#heldBytes -= piece.bytes.length;
    if (this.#to.write(piece.bytes)) {
      if (this.#heldBytes <= heldBytesMax) this.#from.resume();
    } else this.#from.pause();
  }

  #awaitHealing(): void {
    if (this.#isWaiting) return;
    this.#isWaiting = true;
    this.#way.onceHealed(() => {
      this.#isWaiting = false;
      this.#pump();
    });
  }

  #drop(): void {
    clearTimeout(this.#timer);
    this.#pieces = [];
    this.#heldBytes = 0;
  }
}

export interface FaultProxyOptions {
  readonly target: { readonly host: string; readonly port: number };
  readonly to: Party;
  /** Who connects: known from the start, or found in a connection's first bytes. */
  readonly from: Party | ((firstBytes: Buffer) => Party);
  readonly way: (from: Party, to: Party) => WayState;
}

export class FaultProxy {
  readonly #options: FaultProxyOptions;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  private constructor(options: FaultProxyOptions) {
    this.#options = options;
    this.#server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => this.#accept(socket));
  }

  /** On loopback; resolves when it listens. Port 0: any free one. */
  static async listen(options: FaultProxyOptions, port = 0): Promise<FaultProxy> {
    const proxy = new FaultProxy(options);
    await new Promise<void>((resolve, reject) => {
      proxy.#server.once("error", reject);
      proxy.#server.listen(port, "127.0.0.1", () => resolve());
    });
    return proxy;
  }

  get port(): number {
    const address = this.#server.address();
    if (address === null || typeof address === "string") throw new Error("A listening proxy has no port.");
    return address.port;
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #accept(socket: Socket): void {
    this.#keep(socket);
    const { from } = this.#options;
    if (typeof from === "string") return this.#join(socket, from);
    socket.once("data", (bytes: Buffer) => {
      socket.pause();
      socket.unshift(bytes);
      this.#join(socket, from(bytes));
    });
  }

  #join(socket: Socket, from: Party): void {
    const { target, to, way } = this.#options;
    const ways = [way(from, to), way(to, from)] as const;
    socket.pause();
    const open = (): void => {
      if (socket.destroyed) return;
      // A connection is made by packets of both directions.
      const cut = ways.find(({ isCut }) => isCut);
      if (cut !== undefined) return cut.onceHealed(open);
      const onward = connect({ ...target, allowHalfOpen: true, noDelay: true });
      this.#keep(onward);
      let isJoined = false;
      onward.once("connect", () => {
        isJoined = true;
        new Stream(socket, onward, ways[0]);
        new Stream(onward, socket, ways[1]);
        socket.resume();
      });
      // Nobody listens there: whoever has connected learns it at once, as from a machine that is up.
      onward.once("close", () => {
        if (!isJoined) socket.destroy();
      });
    };
    open();
  }

  #keep(socket: Socket): void {
    this.#sockets.add(socket);
    // `close` follows, and is what is acted on.
    socket.on("error", () => undefined);
    socket.on("close", () => this.#sockets.delete(socket));
  }
}
