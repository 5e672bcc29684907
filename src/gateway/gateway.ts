/**
 * The gateway: a system's `Service`, served over HTTP as `docs/http.md` says.
 *
 * G-1  It listens where other machines can reach it only if the system has `authenticate`; checked before and after binding.
 * G-2  What it accepted it finishes: `drain` ends no connection on which a request is under way, until its grace is over.
 */
import { OnefoldError } from "../base/errors.ts";
import type { Limits } from "../base/limits.ts";
import { assertLimits, limits as defaultLimits } from "../base/limits.ts";
import type { SystemDefinition } from "../entity/definition.ts";
import type { Service } from "../entity/service.ts";
import type { Host } from "../host/host.ts";
import { assertLoopback } from "./address.ts";
import { translateListenError } from "./foreign-error.ts";
import type { BackupSource } from "./backup.ts";
import type { PromotionSource } from "./promotion.ts";
import type { ClusterSource } from "./cluster-source.ts";
import type { GatewayTls, HttpServer } from "./http-server.ts";
import { createHttpServer } from "./http-server.ts";
import type { MetricsSource } from "./metrics.ts";

/** Where to listen: a TCP address (port 0: any free one), a unix socket or Windows pipe, or an open listening descriptor. */
export type GatewayAddress =
  | { readonly hostname: string; readonly port: number }
  | { readonly socketPath: string }
  | { readonly descriptor: number };

export interface GatewayOptions {
  readonly service: Service;
  readonly system: SystemDefinition;
  readonly host: Pick<Host, "clock" | "timers" | "trace">;
  readonly address: GatewayAddress;
  /** Serves HTTPS, and secure WebSockets. Absent: plain HTTP. */
  readonly tls?: GatewayTls;
  /** What `/metrics` shows besides the gateway's own numbers. */
  readonly metrics?: MetricsSource;
  /** What `/v1/backup` gives. */
  readonly backup?: BackupSource;
  /** What `/v1/promote` moves to a cluster. */
  readonly promotion?: PromotionSource;
  /** What `/v1/cluster` shows. */
  readonly cluster?: ClusterSource;
  /** Replaces single limits, for tests and small machines. */
  readonly limits?: Partial<Limits>;
}

export interface DrainOptions {
  /** At most so long for the requests under way; `limits.drainMs` if absent. */
  readonly graceMs?: number;
  /**
   * How long to go on accepting, with `/readyz` at 503 and every reply ending its connection, so that callers with open
   * connections and load balancers leave by themselves; 100 if absent.
   */
  readonly noticeMs?: number;
}

export interface Gateway {
  /** `http://host:port` or `https://host:port`, or `unix:` and a path. Known once it listens. */
  readonly url: string;
  /** 0 for a unix socket. Known once it listens. */
  readonly port: number;
  /** Connections that are open just now. */
  readonly connectionCount: number;
  /** Resolves when requests are accepted. Throws `invalid-configuration` (retry `never`) where it can't or must not listen. */
  listen(): Promise<void>;
  /**
   * Takes leave: see `DrainOptions`. Resolves with true when every accepted request was answered, with false when the grace
   * was over first and connections were cut. Idempotent; then nothing listens any more. The service is the caller's to stop.
   */
  drain(options?: DrainOptions): Promise<boolean>;
  /** Cuts everything at once. Idempotent. */
  close(): Promise<void>;
}

/** Throws `invalid-configuration` (retry `never`) for a public address without `authenticate`. */
export async function createGateway(options: GatewayOptions): Promise<Gateway> {
  const { address, service, system, host } = options;
  const limits: Limits = { ...defaultLimits, ...options.limits };
  assertLimits(limits);
  const boundName = "hostname" in address ? address.hostname : undefined;
  const isGuarded = system.options.authenticate !== undefined;
  if (!isGuarded && boundName !== undefined) assertLoopback(boundName);
  const { metrics = { metrics: [] } } = options;
  const { backup, promotion, cluster, tls } = options;
  const http = await createHttpServer({
    service,
    system,
    host,
    limits,
    boundName,
    metrics,
    backup,
    promotion,
    cluster,
    tls,
  });
  return new HttpGateway(http, { address, host, limits, isGuarded, isSecure: tls !== undefined });
}

interface HttpGatewayOptions extends Pick<GatewayOptions, "address" | "host"> {
  readonly limits: Limits;
  readonly isGuarded: boolean;
  readonly isSecure: boolean;
}

class HttpGateway implements Gateway {
  readonly #http: HttpServer;
  readonly #options: HttpGatewayOptions;
  #url: string | undefined;
  #port = 0;
  #drained: Promise<boolean> | undefined;
  #closed: Promise<void> | undefined;

  constructor(http: HttpServer, options: HttpGatewayOptions) {
    this.#http = http;
    this.#options = options;
  }

  get url(): string {
    if (this.#url === undefined) throw new OnefoldError("not-ready", "The gateway does not listen yet.");
    return this.#url;
  }

  get port(): number {
    return this.#port;
  }

  get connectionCount(): number {
    return this.#http.connections.count;
  }

  async listen(): Promise<void> {
    const { address, isGuarded, isSecure } = this.#options;
    const { server } = this.#http.app;
    await new Promise<void>((resolve, reject) => {
      const onError = (error: unknown): void => reject(translateListenError(error, describe(address)));
      server.once("error", onError);
      server.listen(listenOptions(address), () => {
        server.off("error", onError);
        resolve();
      });
    });
    const bound = server.address();
    if (bound === null || typeof bound === "string") {
      this.#url = `unix:${bound ?? ""}`;
      return;
    }
    if (!isGuarded) {
      // A host name may stand for a public address, and a descriptor for anything.
      try {
        assertLoopback(bound.address);
      } catch (error) {
        await this.close();
        throw error;
      }
    }
    this.#port = bound.port;
    const name = "hostname" in address ? address.hostname : bound.address;
    this.#url = `${isSecure ? "https" : "http"}://${name.includes(":") ? `[${name}]` : name}:${bound.port}`;
  }

  drain(options: DrainOptions = {}): Promise<boolean> {
    this.#drained ??= this.#drain(options);
    return this.#drained;
  }

  async #drain({ graceMs = this.#options.limits.drainMs, noticeMs = 100 }: DrainOptions): Promise<boolean> {
    const { app, connections, sockets } = this.#http;
    connections.startDraining();
    await connections.whenEmpty(noticeMs);
    const closed = this.#stopListening();
    connections.closeIdle();
    sockets.leave();
    const isEmpty = await connections.whenEmpty(graceMs);
    if (!isEmpty) {
      this.#options.host.trace(
        "warn",
        "The grace was over before every request was answered; connections were cut. Give it longer, or find what hangs.",
        {
          connectionCount: connections.count,
          graceMs,
        },
      );
      connections.closeAll();
    }
    await closed;
    await app.close();
    return isEmpty;
  }

  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    const { app, connections, sockets } = this.#http;
    connections.startDraining();
    const closed = this.#stopListening();
    sockets.leave();
    connections.closeAll();
    await closed;
    await app.close();
  }

  /** Resolves when the last connection has ended too. */
  #stopListening(): Promise<void> {
    const { server } = this.#http.app;
    if (!server.listening) return Promise.resolve();
    return new Promise((resolve, reject) => {
      server.close((error) => {
        if (error === undefined) resolve();
        else reject(error);
      });
    });
  }
}

function listenOptions(address: GatewayAddress): { host: string; port: number } | { path: string } | { fd: number } {
  if ("hostname" in address) return { host: address.hostname, port: address.port };
  return "socketPath" in address ? { path: address.socketPath } : { fd: address.descriptor };
}

function describe(address: GatewayAddress): string {
  if ("hostname" in address) return `${address.hostname}:${address.port}`;
  return "socketPath" in address ? address.socketPath : `descriptor ${address.descriptor}`;
}
