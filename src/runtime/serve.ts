/**
 * A whole embedded node behind its port: opens the data directory, then the gateway on it. Without signals, terminals or ambient
 * settings; the command line adds those.
 *
 * N1  Nobody can connect before everything that was acknowledged earlier is there again.
 * N2  `close` finishes what was accepted, then lets go of the data directory: the order is port, gateway, node.
 */
import type { OnefoldError } from "../base/errors.ts";
import { version } from "../base/version.ts";
import type { SystemHandle } from "../entity/definition.ts";
import { createGateway } from "../gateway/gateway.ts";
import type { GatewayTls } from "../gateway/http-server.ts";
import type { Trace } from "../host/host.ts";
import type { OpeningProgress } from "./embedded.ts";
import { openNode } from "./node.ts";

export interface ServeOptions {
  readonly system: SystemHandle;
  /** Absolute, or relative to the process's working directory; made if it is not there. */
  readonly dataDirectory: string;
  /** Anything but loopback needs a system with `authenticate`. */
  readonly hostname: string;
  /** 0 for any free one. */
  readonly port: number;
  /** Serves HTTPS. Absent: plain HTTP. */
  readonly tls?: GatewayTls;
  readonly trace?: Trace;
  readonly onProgress?: (progress: OpeningProgress) => void;
  /** The node has stopped for good and answers nothing any more: end the process, and start another. */
  readonly onStopped?: (error: OnefoldError) => void;
}

export interface Served {
  readonly url: string;
  readonly port: number;
  /**
   * Resolves when everything that was accepted is answered and the data directory is free. Idempotent. For `noticeMs` (100 if
   * absent) callers are still served and asked to leave, so that load balancers notice.
   */
  close(options?: { readonly noticeMs?: number }): Promise<void>;
}

/**
 * Resolves once clients can connect. Throws `OnefoldError`: `data-directory-busy` (safe) where another process has it,
 * `damaged` (never), `unsupported-version` (never), `invalid-configuration` (never).
 */
export async function serve(options: ServeOptions): Promise<Served> {
  const { hostname, port, tls, ...nodeOptions } = options;
  const node = await openNode(nodeOptions);
  try {
    const gateway = await createGateway({
      service: node.service,
      system: options.system.definition,
      host: node.host,
      metrics: node.metrics,
      backup: node.embedded,
      promotion: node.embedded,
      cluster: node.embedded,
      address: { hostname, port },
      ...(tls === undefined ? {} : { tls }),
    });
    await gateway.listen();
    const { trace } = node.host;
    trace("info", "The node serves.", { url: gateway.url, system: options.system.definition.name, version });
    let closing: Promise<void> | undefined;
    return {
      url: gateway.url,
      port: gateway.port,
      close: (how = {}) => {
        closing ??= gateway
          .drain(how)
          .then(() => node.close())
          .then(() => trace("info", "The node has ended."));
        return closing;
      },
    };
  } catch (error) {
    await node.close();
    throw error;
  }
}
