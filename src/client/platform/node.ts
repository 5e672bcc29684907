/** The client's platform in Node, which has no WebSocket of its own in all supported versions: `ws` is it. */
import { WebSocket } from "ws";
import type { ClientPlatform } from "../platform.ts";
import { request } from "./globals.ts";

const frameBytesMax = 64 * 1024 * 1024;

/** Node's clock, timers, `fetch`, and `ws`. */
export function nodePlatform(): ClientPlatform {
  return {
    monotonicMs: () => performance.now(),
    random: () => Math.random(),
    after: (delayMs, callback) => {
      const timer = setTimeout(callback, delayMs);
      return { cancel: () => clearTimeout(timer) };
    },
    openSocket: (url, protocol, headers, listener) => {
      const webSocket = new WebSocket(url, protocol, {
        headers: { ...headers },
        perMessageDeflate: false,
        maxPayload: frameBytesMax,
      });
      webSocket.on("open", () => listener.opened());
      webSocket.on("message", (data) => listener.frame(data as Buffer));
      // Its reason is told by `close`, which always follows.
      webSocket.on("error", () => webSocket.terminate());
      webSocket.on("close", (code, reason) => listener.closed(code, reason.toString()));
      return {
        send: (frame) => {
          if (webSocket.readyState === WebSocket.OPEN) webSocket.send(frame);
        },
        close: () => webSocket.close(),
      };
    },
    request,
  };
}
