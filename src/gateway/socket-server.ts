/**
 * The WebSocket side of the gateway: who may open a socket, and all the sockets that are open.
 *
 * WS1  A handshake that is refused gets a problem document, before the protocol is switched; the same rules as for HTTP hold, and
 *      without `authenticate` a page of another origin gets no socket at all, because a socket can change things.
 * WS2  What was accepted is finished: a drain ends no socket on which a call is unanswered, until the grace is over.
 * WS3  All sockets together hold at most `socketBufferedBytesTotalMax` bytes that their clients have not taken.
 */
import type { FastifyInstance } from "fastify";
import { type WebSocket, WebSocketServer } from "ws";
import { OnefoldError } from "../base/errors.ts";
import type { Limits } from "../base/limits.ts";
import type { SystemDefinition } from "../entity/definition.ts";
import type { Service } from "../entity/service.ts";
import type { Host, Timer } from "../host/host.ts";
import { socketPath, subprotocol } from "../wire/protocol.ts";
import { isHostAllowed, isOriginAllowed } from "./address.ts";
import type { Incoming } from "./body.ts";
import type { Connections } from "./connections.ts";
import { parseQueryString } from "./query-string.ts";
import { type FrameSocket, SocketConnection, type SocketContext } from "./socket-connection.ts";
import { SocketReceiving, SocketsReceiving } from "./socket-receiving.ts";
import { SubscriptionReader } from "./socket-subscription.ts";

export interface SocketServerOptions {
  readonly service: Service;
  readonly system: SystemDefinition;
  readonly host: Pick<Host, "clock" | "timers" | "trace">;
  readonly limits: Limits;
  readonly boundName: string | undefined;
  readonly connections: Connections;
  /** What the port shows its callers; undefined where it is not encrypted. */
  readonly tls: object | undefined;
}

type TcpSocket = Incoming["socket"];

/** A close frame's reason has at most 123 bytes (RFC 6455, 5.5). */
const reasonBytesMax = 123;
/** How long a client has to answer a close frame. */
const closeMs = 2000;

export class SocketServer {
  readonly #server: FastifyInstance["server"];
  readonly #options: SocketServerOptions;
  readonly #webSockets: WebSocketServer;
  readonly #context: SocketContext;
  readonly #receiving: SocketsReceiving;
  readonly #open = new Set<SocketConnection>();
  #isLeaving = false;
  #sweepTimer: Timer | undefined;

  /** Takes over the upgrade requests of `server`. */
  constructor(server: FastifyInstance["server"], options: SocketServerOptions) {
    this.#server = server;
    this.#options = options;
    const { service, system, host, limits } = options;
    this.#webSockets = new WebSocketServer({
      noServer: true,
      clientTracking: false,
      perMessageDeflate: false,
      maxPayload: limits.socketFrameBytesMax,
      handleProtocols: () => subprotocol,
    });
    this.#receiving = new SocketsReceiving(limits);
    this.#context = {
      service,
      system,
      timers: host.timers,
      limits,
      isGuarded: system.options.authenticate !== undefined,
      reader: new SubscriptionReader({
        readsMax: limits.socketSubscriptionReadsMax,
        slowMs: limits.commandMs,
        monotonicMs: () => host.clock.monotonicMs(),
      }),
      budget: { callsOpen: 0, callWeightOpen: 0 },
      monotonicMs: () => host.clock.monotonicMs(),
      report: (error) =>
        host.trace("error", "A socket's call failed inside. Report it with these fields if nothing explains it.", {
          error,
        }),
    };
    server.on("upgrade", (incoming: Incoming, socket: TcpSocket, head: Buffer) =>
      this.#upgrade(incoming, socket, head),
    );
  }

  get count(): number {
    return this.#open.size;
  }

  /** WS2. */
  leave(): void {
    this.#isLeaving = true;
    for (const connection of [...this.#open]) connection.leave();
  }

  /** Looks after silent sockets, for as long as there are any. */
  #sweep(): void {
    if (this.#sweepTimer !== undefined) return;
    const { host, limits } = this.#options;
    this.#sweepTimer = host.timers.after(limits.socketSilenceMs / 4, () => {
      this.#sweepTimer = undefined;
      for (const connection of [...this.#open]) connection.checkSilence();
      if (this.#open.size > 0) this.#sweep();
    });
  }

  #closed(connection: SocketConnection): void {
    this.#open.delete(connection);
    if (this.#open.size > 0) return;
    this.#sweepTimer?.cancel();
    this.#sweepTimer = undefined;
  }

  #upgrade(incoming: Incoming, socket: TcpSocket, head: Buffer): void {
    if (incoming.headers.upgrade?.toLowerCase() !== "websocket") return this.#ignoreUpgrade(incoming, socket, head);
    // Before anything is decided, an error of the socket is nobody else's to hear.
    const onError = (): void => void socket.destroy();
    socket.on("error", onError);
    let systemName: string | undefined;
    try {
      systemName = this.#accept(incoming, socket);
    } catch (error) {
      const problem =
        error instanceof OnefoldError ? error : new OnefoldError("internal", "internal", { cause: error });
      this.#options.connections.refused(socket, problem);
      return;
    }
    socket.off("error", onError);
    this.#webSockets.handleUpgrade(incoming, socket, head, (webSocket) => {
      this.#opened(webSocket, incoming, systemName);
    });
  }

  /**
   * Serves the request as if it had not asked for another protocol, as RFC 9110 (7.8) allows: some clients offer HTTP/2 that way
   * with every request. Node hands the connection over once anybody listens for upgrades, so the head is put back and read anew.
   */
  #ignoreUpgrade(incoming: Incoming, socket: TcpSocket, head: Buffer): void {
    const lines = [`${incoming.method} ${incoming.url} HTTP/${incoming.httpVersion}`];
    for (let i = 0; i + 1 < incoming.rawHeaders.length; i += 2) {
      const name = incoming.rawHeaders[i]!.toLowerCase();
      if (name === "upgrade" || name === "http2-settings") continue;
      const value = incoming.rawHeaders[i + 1]!;
      lines.push(`${name}: ${name === "connection" ? withoutUpgrade(value) : value}`);
    }
    if (head.length > 0) socket.unshift(head);
    socket.unshift(Buffer.from(`${lines.join("\r\n")}\r\n\r\n`, "latin1"));
    this.#server.emit(this.#options.tls === undefined ? "connection" : "secureConnection", socket);
  }

  /** WS1. The name of the system that the handshake asks for. */
  #accept(incoming: Incoming, socket: TcpSocket): string | undefined {
    const { host, origin, "sec-fetch-site": fetchSite, "sec-websocket-protocol": offered } = incoming.headers;
    const [path, queryText = ""] = (incoming.url ?? "").split("?", 2) as [string, string?];
    if (path !== socketPath) throw new OnefoldError("unknown-route", `Sockets are opened at ${socketPath}.`);
    if (this.#isLeaving) throw new OnefoldError("not-ready", "The node is stopping.", { retryAfterMs: 1000 });
    if (!this.#context.isGuarded) {
      if (!isHostAllowed(host, this.#options.boundName)) {
        throw new OnefoldError(
          "forbidden",
          "Without authenticate this node answers to loopback names only. Use http://127.0.0.1 or http://localhost.",
        );
      }
      if (!isOriginAllowed({ host, origin, fetchSite: fetchSite as string | undefined })) {
        throw new OnefoldError("forbidden", "Without authenticate no page of another origin may open a socket here.");
      }
    }
    if (!(offered ?? "").split(",").some((name) => name.trim() === subprotocol)) {
      throw new OnefoldError("malformed", `The socket's subprotocol must be ${subprotocol}.`);
    }
    const { system } = parseQueryString(queryText, ["system"]);
    if (!this.#options.connections.upgraded(socket)) {
      throw new OnefoldError("overloaded", "This node has as many connections as it accepts. Try again soon.", {
        retryAfterMs: 1000,
      });
    }
    return system;
  }

  #opened(webSocket: WebSocket, incoming: Incoming, systemName: string | undefined): void {
    const headers: Record<string, string> = {};
    for (const [name, value] of Object.entries(incoming.headers)) {
      if (value !== undefined) headers[name] = typeof value === "string" ? value : value.join(", ");
    }
    const connection = new SocketConnection({
      socket: this.#frameSocket(webSocket),
      context: this.#context,
      request: { headers, remoteAddress: incoming.socket.remoteAddress, secure: this.#options.tls !== undefined },
      systemName,
      onClosed: () => this.#closed(connection),
    });
    this.#open.add(connection);
    this.#sweep();
    this.#boundReceiving(webSocket, incoming.socket, connection);
    webSocket.on("message", (data, isBinary) => {
      if (isBinary) connection.receive(data as Buffer);
      else connection.violated("Frames must be binary.");
    });
    webSocket.on("pong", () => connection.heard());
    webSocket.on("ping", () => connection.heard());
    // What the library finds wrong (a frame too large, bad masking) it answers with a close frame of its own.
    webSocket.on("error", () => connection.closed());
    webSocket.on("close", () => connection.closed());
  }

  /** RV1, RV2 of `socket-receiving.ts`. */
  #boundReceiving(webSocket: WebSocket, socket: TcpSocket, connection: SocketConnection): void {
    const receiving = new SocketReceiving(this.#receiving);
    webSocket.on("message", () => receiving.whole());
    // Behind the library's own listener, which has found the frames in the bytes by then.
    socket.on("data", (bytes) => {
      const excess = receiving.read(bytes.length, { isKnown: connection.isGreeted });
      if (excess === undefined) return;
      if (excess === "hello-too-large") connection.violated("The hello is too large.");
      else connection.surplus();
      // What follows would be gathered until the client has taken its leave.
      webSocket.pause();
    });
    socket.once("close", () => receiving.ended());
  }

  #frameSocket(webSocket: WebSocket): FrameSocket {
    const { timers, limits } = this.#context;
    return {
      get bufferedAmount() {
        return webSocket.bufferedAmount;
      },
      send: (frame, left) => {
        webSocket.send(frame, left);
        // Cheap enough only where something has piled up.
        if (webSocket.bufferedAmount > limits.socketBufferedBytesPause) this.#boundBuffers();
      },
      pause: () => webSocket.pause(),
      resume: () => webSocket.resume(),
      ping: () => webSocket.ping(),
      close: (code, reason) => {
        webSocket.resume();
        webSocket.close(code, shortened(reason));
        const timer = timers.after(closeMs, () => webSocket.terminate());
        webSocket.once("close", () => timer.cancel());
      },
      terminate: () => webSocket.terminate(),
    };
  }

  /** WS3. */
  #boundBuffers(): void {
    let total = 0;
    let most: SocketConnection | undefined;
    for (const connection of this.#open) {
      total += connection.bufferedBytes;
      if (most === undefined || connection.bufferedBytes > most.bufferedBytes) most = connection;
    }
    if (total > this.#context.limits.socketBufferedBytesTotalMax) most?.overrun();
  }
}

/** A `Connection` header's options but those that ask for another protocol; what is left empty is `keep-alive`. */
function withoutUpgrade(value: string): string {
  const options = value.split(",").map((option) => option.trim());
  const kept = options.filter((option) => !["upgrade", "http2-settings"].includes(option.toLowerCase()));
  return kept.length === 0 ? "keep-alive" : kept.join(", ");
}

/** Cut to what a close frame takes: one byte a character, so that nothing has to be counted. */
function shortened(reason: string): string {
  return reason.replaceAll(/[^\x20-\x7e]/g, "?").slice(0, reasonBytesMax);
}
