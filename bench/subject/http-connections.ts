/**
 * HTTP/1.1 as cheap as a load may make it: connections that are kept open, one request under way on each, and just enough parsing for
 * replies with a `Content-Length`. Node's own client takes more processor for a request than a server does, so it would
 * measure itself.
 */
import { connect, type Socket } from "node:net";

export interface HttpReply {
  readonly status: number;
  /** Parsed; undefined where there was none. */
  readonly body: unknown;
}

interface Exchange {
  readonly bytes: string;
  readonly resolve: (reply: HttpReply) => void;
  readonly reject: (error: Error) => void;
}

interface Connection {
  readonly socket: Socket;
  exchange: Exchange | undefined;
  received: Buffer;
}

const headEnd = "\r\n\r\n";

/** As many connections as there ever were requests under way at once, up to `connectionsMax`; the others wait. */
export class HttpConnections {
  readonly #port: number;
  readonly #connectionsMax: number;
  readonly #all = new Set<Connection>();
  /** The one used last is used next. */
  readonly #idle: Connection[] = [];
  readonly #waiting: Exchange[] = [];
  #isClosed = false;

  /** To `port` on loopback. */
  constructor(port: number, connectionsMax = 1024) {
    this.#port = port;
    this.#connectionsMax = connectionsMax;
  }

  /** Sends `input` as JSON where there is one. Rejects where the connection ends or the reply is not understood. */
  request(method: "GET" | "POST" | "PUT", path: string, input?: unknown): Promise<HttpReply> {
    return new Promise((resolve, reject) => {
      if (this.#isClosed) throw new Error("the connections were closed");
      const exchange = { bytes: this.#encode(method, path, input), resolve, reject };
      const idle = this.#idle.pop();
      if (idle !== undefined) send(idle, exchange);
      else if (this.#all.size < this.#connectionsMax) send(this.#open(), exchange);
      else this.#waiting.push(exchange);
    });
  }

  /** Requests that are under way reject. */
  close(): void {
    this.#isClosed = true;
    for (const { socket } of this.#all) socket.destroy();
  }

  #encode(method: string, path: string, input: unknown): string {
    const head = `${method} ${path} HTTP/1.1\r\nhost: 127.0.0.1:${this.#port}\r\n`;
    if (method === "GET") return `${head}\r\n`;
    if (input === undefined) return `${head}content-length: 0\r\n\r\n`;
    const body = JSON.stringify(input);
    return `${head}content-type: application/json\r\ncontent-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`;
  }

  #open(): Connection {
    const socket = connect({ host: "127.0.0.1", port: this.#port, noDelay: true });
    const connection: Connection = { socket, exchange: undefined, received: Buffer.alloc(0) };
    this.#all.add(connection);
    socket.on("data", (bytes) => this.#received(connection, bytes));
    socket.on("error", (error) => connection.exchange?.reject(error));
    socket.on("close", () => {
      this.#all.delete(connection);
      const at = this.#idle.indexOf(connection);
      if (at >= 0) this.#idle.splice(at, 1);
      connection.exchange?.reject(new Error("the server ended the connection"));
      // Its place is somebody else's now.
      const next = this.#isClosed ? undefined : this.#waiting.shift();
      if (next !== undefined) send(this.#open(), next);
    });
    return connection;
  }

  #received(connection: Connection, bytes: Buffer): void {
    const { received, exchange, socket } = connection;
    connection.received = received.length === 0 ? bytes : Buffer.concat([received, bytes]);
    let reply: HttpReply | undefined;
    try {
      reply = takeReply(connection);
    } catch (error) {
      socket.destroy(error as Error);
      return;
    }
    if (reply === undefined) return;
    if (exchange === undefined) throw new Error("a reply came that nobody had asked for");
    const next = this.#waiting.shift();
    if (next !== undefined) send(connection, next);
    else {
      connection.exchange = undefined;
      this.#idle.push(connection);
    }
    exchange.resolve(reply);
  }
}

function send(connection: Connection, exchange: Exchange): void {
  connection.exchange = exchange;
  connection.socket.write(exchange.bytes);
}

/** The reply that has been received, once it is whole. Throws where it is none of those that are understood. */
function takeReply(connection: Connection): HttpReply | undefined {
  const { received } = connection;
  const headBytes = received.indexOf(headEnd);
  if (headBytes < 0) return undefined;
  const head = received.toString("latin1", 0, headBytes);
  const length = /\r\ncontent-length: *(\d+)/i.exec(head)?.[1];
  if (!head.startsWith("HTTP/1.1 ") || length === undefined) throw new Error(`not understood: ${head}`);
  const bodyAt = headBytes + headEnd.length;
  const end = bodyAt + Number(length);
  if (received.length < end) return undefined;
  connection.received = received.subarray(end);
  const body: unknown = end === bodyAt ? undefined : JSON.parse(received.toString("utf8", bodyAt, end));
  return { status: Number(head.slice(9, 12)), body };
}
