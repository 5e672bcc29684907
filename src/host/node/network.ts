/**
 * The real network: frames over TCP, a connection for each direction between two endpoints (`outgoing-link.ts`). With TLS, whoever has a
 * certificate of the cluster's authority can send, under any name; without it, whoever reaches the port. It keeps its process alive
 * while it listens.
 *
 * R1  Bounded whatever peers do: connections, bytes of a partial frame for each, bytes under way to each (N3).
 * R2  A connection that breaks the protocol is ended; all that came whole before that stands.
 */
import type { Server, Socket } from "node:net";
import type { Trace } from "../host.ts";
import {
  assertRoom,
  type Endpoint,
  type HostAndPort,
  type Network,
  NetworkError,
  type NetworkLimits,
  networkLimits,
  parseAddress,
  type Receive,
} from "../network.ts";
import { encodeFrame, FrameReader } from "./frame.ts";
import { createPeerServer, type NetworkTls } from "./network-tls.ts";
import { confirmationBytes, helloPrefix, OutgoingLink } from "./outgoing-link.ts";

/** Idle connections of machines that have vanished end by the platform's probes, which begin after this long. */
const probeAfterMs = 30_000;

export interface NodeNetworkOptions {
  readonly trace: Trace;
  /**
   * `host:port` to listen on, where that is not the address that peers know: behind a proxy, or in a container whose ports are mapped.
   * The host may be a wildcard. For an endpoint whose port is given; absent: its own address.
   */
  readonly listenOn?: string;
  /** Absent: connections are neither encrypted nor authenticated. */
  readonly tls?: NetworkTls;
  /** Any may be lower than the defaults. */
  readonly limits?: Partial<NetworkLimits>;
}

export class NodeNetwork implements Network {
  readonly #trace: Trace;
  readonly #limits: NetworkLimits;
  readonly #tls: NetworkTls | undefined;
  readonly #listenOn: HostAndPort | undefined;

  constructor(options: NodeNetworkOptions) {
    this.#trace = options.trace;
    this.#listenOn = options.listenOn === undefined ? undefined : parseListenAddress(options.listenOn);
    this.#tls = options.tls;
    this.#limits = { ...networkLimits, ...options.limits };
  }

  async listen(address: string, receive: Receive): Promise<Endpoint> {
    const listenOn = this.#listenOn;
    // Which port peers reach can't be chosen where another one is listened on.
    const asked = parseAddress(address, { allowsAnyPort: listenOn === undefined });
    const tls = this.#tls;
    let endpoint: NodeEndpoint | undefined;
    const server = createPeerServer(
      tls,
      {
        probeAfterMs,
        onRefused: (error) =>
          this.#trace(
            "warn",
            "A connection without a certificate of the cluster's authority was refused. See that nothing but nodes reaches this port, and that none of their certificates has expired.",
            { to: asked.host, error },
          ),
      },
      (socket) => endpoint?.accept(socket),
    );
    server.maxConnections = this.#limits.networkPeersMax;
    const boundPort = await startServer(server, listenOn ?? asked);
    const port = listenOn === undefined ? boundPort : asked.port;
    const options = { address: `${asked.host}:${port}`, limits: this.#limits, trace: this.#trace, tls };
    endpoint = new NodeEndpoint(server, receive, options);
    return endpoint;
  }
}

/** `host:port` where the host may be a wildcard, which is no address of a peer. Throws `invalid-address`. */
function parseListenAddress(text: string): HostAndPort {
  const [, host, digits] = /^(0\.0\.0\.0|\[::\]):(\d{1,5})$/.exec(text) ?? [];
  if (host === undefined) return parseAddress(text);
  const { port } = parseAddress(`localhost:${digits}`);
  return { host, port };
}

/** Gives the port. */
function startServer(server: Server, { host, port }: HostAndPort): Promise<number> {
  return new Promise((resolve, reject) => {
    const refuse = (error: NodeJS.ErrnoException) => {
      const code = error.code === "EADDRINUSE" ? "address-in-use" : "failed";
      reject(new NetworkError(code, `cannot listen on ${host}:${port}: ${error.code}`, { cause: error }));
    };
    server.once("error", refuse);
    server.listen({ host: host.replace(/[[\]]/g, ""), port, exclusive: true }, () => {
      server.off("error", refuse);
      const bound = server.address();
      resolve(typeof bound === "object" && bound !== null ? bound.port : port);
    });
  });
}

interface NodeEndpointOptions {
  readonly address: string;
  readonly limits: NetworkLimits;
  readonly trace: Trace;
  readonly tls: NetworkTls | undefined;
}

class NodeEndpoint implements Endpoint {
  readonly address: string;
  readonly #server: Server;
  readonly #receive: Receive;
  readonly #limits: NetworkLimits;
  readonly #trace: Trace;
  readonly #tls: NetworkTls | undefined;
  readonly #links = new Map<string, OutgoingLink>();
  readonly #incoming = new Set<Socket>();
  #closing: Promise<void> | undefined;

  constructor(server: Server, receive: Receive, options: NodeEndpointOptions) {
    this.address = options.address;
    this.#server = server;
    this.#receive = receive;
    this.#limits = options.limits;
    this.#trace = options.trace;
    this.#tls = options.tls;
    server.on("error", (error) =>
      this.#trace("error", "A listening socket failed; peers can't reach this node. Restart it.", {
        address: this.address,
        error,
      }),
    );
  }

  send(to: string, message: Uint8Array): void {
    if (this.#closing !== undefined) throw new NetworkError("closed", `${this.address} is closed`);
    const link = this.#links.get(to);
    if (link !== undefined) return link.send(message);
    const target = parseAddress(to);
    assertRoom(message, 0, this.#limits);
    this.#makeRoomForLink();
    const made = new OutgoingLink({
      from: this.address,
      to,
      target,
      limits: this.#limits,
      trace: this.#trace,
      tls: this.#tls,
    });
    this.#links.set(to, made);
    made.send(message);
  }

  /** At the limit on peers, one to which nothing is under way is forgotten: the one that was met first. */
  #makeRoomForLink(): void {
    if (this.#links.size < this.#limits.networkPeersMax) return;
    for (const [to, link] of this.#links) {
      if (!link.isIdle) continue;
      link.close();
      this.#links.delete(to);
      return;
    }
    throw new NetworkError("full", `messages are under way to ${this.#links.size} peers already`);
  }

  accept(socket: Socket): void {
    this.#incoming.add(socket);
    const frames = new FrameReader(this.#limits.networkMessageBytesMax);
    const confirmations = new Confirmations(socket);
    let from: string | undefined;
    socket.on("close", () => this.#incoming.delete(socket));
    socket.on("error", (error) => this.#trace("debug", "An incoming connection broke.", { from, error }));
    // A frame that has begun must go on; between frames a connection may be silent for ever.
    socket.on("timeout", () => this.#refuse(socket, from, "sent nothing in the middle of a frame"));
    socket.setTimeout(this.#limits.networkAnswerMs);
    socket.on("data", (chunk: Buffer) => {
      const bodies = frames.push(chunk);
      let next = bodies.next();
      for (; !next.done && !socket.destroyed; next = bodies.next()) {
        if (from === undefined) {
          from = parseHello(next.value);
          if (from === undefined) this.#refuse(socket, from, "sent no hello of this version");
          continue;
        }
        confirmations.add();
        this.#receive(next.value, from);
      }
      if (socket.destroyed) return;
      confirmations.flush();
      if (next.value === "too-long") this.#refuse(socket, from, "sent a frame above the limit");
      else socket.setTimeout(frames.isPartial || from === undefined ? this.#limits.networkAnswerMs : 0);
    });
  }

  #refuse(socket: Socket, from: string | undefined, what: string): void {
    this.#trace(
      "warn",
      "An incoming connection broke the protocol and was ended. See that nothing but nodes reaches this port.",
      { to: this.address, from, what },
    );
    socket.destroy();
  }

  close(): Promise<void> {
    this.#closing ??= new Promise((resolve) => {
      this.#server.close(() => resolve());
      for (const link of this.#links.values()) link.close();
      for (const socket of this.#incoming) socket.destroy();
    });
    return this.#closing;
  }
}

/** The sender's address; undefined for anything but a hello. */
function parseHello(body: Uint8Array): string | undefined {
  // Latin-1 keeps every byte, so foreign bytes fail the comparison or the address' own rules instead of throwing here.
  const text = Buffer.from(body.buffer, body.byteOffset, Math.min(body.length, 1024)).toString("latin1");
  if (!text.startsWith(helloPrefix) || text.length !== body.length) return undefined;
  const address = text.slice(helloPrefix.length);
  try {
    parseAddress(address);
    return address;
  } catch (error) {
    if (error instanceof NetworkError) return undefined;
    throw error;
  }
}

/** Tells a peer how many messages were received. One write at a time, so that a peer which reads none costs no memory (R1). */
class Confirmations {
  readonly #socket: Socket;
  #owedCount = 0;
  #isWriting = false;

  constructor(socket: Socket) {
    this.#socket = socket;
  }

  add(): void {
    this.#owedCount++;
  }

  flush(): void {
    if (this.#owedCount === 0 || this.#isWriting || this.#socket.destroyed) return;
    this.#isWriting = true;
    const body = new Uint8Array(confirmationBytes);
    new DataView(body.buffer).setUint32(0, this.#owedCount);
    this.#owedCount = 0;
    this.#socket.write(encodeFrame(body), () => {
      this.#isWriting = false;
      this.flush();
    });
  }
}
