/** The client's platform where everything that it needs is a global: browsers, Bun, Deno, edge workers. */
import type { ClientPlatform, ClientSocket, HttpReply, HttpRequest, SocketListener } from "../platform.ts";

/** The part of the WebSocket API that is used; the same in all of them. */
interface GlobalWebSocket {
  binaryType: string;
  readonly readyState: number;
  onopen: (() => void) | null;
  onmessage: ((event: { readonly data: unknown }) => void) | null;
  onclose: ((event: { readonly code: number; readonly reason: string }) => void) | null;
  onerror: (() => void) | null;
  send(frame: Uint8Array): void;
  close(): void;
}

type GlobalWebSocketClass = new (url: string, protocol: string) => GlobalWebSocket;

const openState = 1;

/** The platform of the globals as they are when it is made. */
export function globalPlatform(): ClientPlatform {
  const WebSocketClass = (globalThis as { readonly WebSocket?: GlobalWebSocketClass }).WebSocket;
  return {
    monotonicMs: () => performance.now(),
    random: () => Math.random(),
    after: (delayMs, callback) => {
      const timer = setTimeout(callback, delayMs);
      return { cancel: () => clearTimeout(timer) };
    },
    openSocket:
      WebSocketClass === undefined
        ? undefined
        : (url, protocol, _headers, listener) => open(new WebSocketClass(url, protocol), listener),
    request,
  };
}

function open(webSocket: GlobalWebSocket, listener: SocketListener): ClientSocket {
  webSocket.binaryType = "arraybuffer";
  webSocket.onopen = () => listener.opened();
  webSocket.onmessage = ({ data }) => {
    if (data instanceof ArrayBuffer) listener.frame(new Uint8Array(data));
  };
  webSocket.onclose = ({ code, reason }) => listener.closed(code, reason);
  return {
    send: (frame) => {
      if (webSocket.readyState === openState) webSocket.send(frame);
    },
    close: () => webSocket.close(),
  };
}

/** One exchange by `fetch`. */
export async function request({ method, url, headers, body, signal }: HttpRequest): Promise<HttpReply> {
  const reply = await fetch(url, { method, headers: { ...headers }, signal, ...(body === undefined ? {} : { body }) });
  const text = await reply.text();
  return { status: reply.status, text, header: (name) => reply.headers.get(name) ?? undefined };
}
