/**
 * The framework, set up: what happens to a request before and after its operation.
 *
 *   bytes ─ Node's parser ─ begin (N1, N2) ─ host, origin ─ headers ─ authenticate ─ body ─ operation ─ reply
 *
 * W1  Nothing of a request's body is read before its headers were accepted and its caller is known.
 * W2  Path parts are percent-decoded exactly once; the framework neither normalises dots and slashes nor folds case.
 * W3  Every request gets one reply, and a thrown anything becomes a problem document (`problem.ts`).
 * W4  At most `requestsOpenMax` operations are under way; open routes answer beyond it, so that a full node can say so.
 */
import type { ServerOptions as HttpsServerOptions } from "node:https";
import type { FastifyInstance, FastifyReply, FastifyRequest, FastifyServerOptions } from "fastify";
import { fastify } from "fastify";
import { OnefoldError } from "../base/errors.ts";
import type { Limits } from "../base/limits.ts";
import type { SystemDefinition } from "../entity/definition.ts";
import type { Principal, Service } from "../entity/service.ts";
import type { Host } from "../host/host.ts";
import { authenticate, developer } from "./access.ts";
import { isHostAllowed, isOriginAllowed } from "./address.ts";
import type { Answer } from "./answer.ts";
import { BodyReceiver } from "./body.ts";
import type { BackupSource } from "./backup.ts";
import type { PromotionSource } from "./promotion.ts";
import type { ClusterSource } from "./cluster-source.ts";
import type { CallHeaders } from "./call-headers.ts";
import { parseCallHeaders, traceparentOf } from "./call-headers.ts";
import { Connections } from "./connections.ts";
import { translateClientError, translateFrameworkError, translateTlsError } from "./foreign-error.ts";
import { MetricsPage, type MetricsSource, openMetrics, RequestMeters } from "./metrics.ts";
import { openApiDocument } from "./openapi.ts";
import type { Call, OperationContext } from "./operations.ts";
import { problemOf } from "./problem.ts";
import type { ReplyFacts } from "./replies.ts";
import { sendAnswer, sendProblem, sendProblemAndLinger } from "./replies.ts";
import type { Route } from "./routes.ts";
import { methodsOfPath, routes } from "./routes.ts";
import { SocketServer } from "./socket-server.ts";
import { sendStream } from "./stream-reply.ts";

export interface HttpServerOptions {
  readonly service: Service;
  readonly system: SystemDefinition;
  readonly host: Pick<Host, "clock" | "timers" | "trace">;
  readonly limits: Limits;
  /** The name that is bound, which callers may use as `Host`; undefined for a unix socket. */
  readonly boundName: string | undefined;
  /** What `/metrics` shows besides the gateway's own numbers. */
  readonly metrics: MetricsSource;
  /** What `/v1/backup` gives. */
  readonly backup: BackupSource | undefined;
  readonly promotion: PromotionSource | undefined;
  /** What `/v1/cluster` shows. */
  readonly cluster: ClusterSource | undefined;
  /** Absent: plain HTTP. */
  readonly tls: GatewayTls | undefined;
}

/** PEM texts of what a port shows its callers. */
export interface GatewayTls {
  /** With what lies between it and its authority. */
  readonly certificate: string;
  readonly key: string;
}

export interface HttpServer {
  readonly app: FastifyInstance;
  readonly connections: Connections;
  readonly sockets: SocketServer;
}

/** What is known of a request once its head was accepted. */
interface Exchange {
  readonly startedMs: number;
  readonly headers: CallHeaders;
  principal: Principal;
}

/** The framework's request with what this file hangs on it; absent where the framework refused before any hook ran. */
type Marked = FastifyRequest & { onefoldExchange?: Exchange };

/** The two servers of Node have the same events and methods, as far as they are used here; the framework gives them two types. */
function makeApp(options: FastifyServerOptions & { readonly https?: HttpsServerOptions }): FastifyInstance {
  try {
    return fastify(options as FastifyServerOptions);
  } catch (error) {
    throw translateTlsError(error);
  }
}

/** Builds the server; it listens to nothing yet. */
export async function createHttpServer(options: HttpServerOptions): Promise<HttpServer> {
  const { service, system, host, limits } = options;
  const { authenticate: userAuthenticate } = system.options;
  const isGuarded = userAuthenticate !== undefined;
  const bodies = new BodyReceiver(limits);
  const meters = new RequestMeters(routes.map((route) => route.pattern));
  let requestsOpen = 0;

  const serverOptions = {
    maxHeaderSize: limits.headerBytesMax,
    headersTimeout: limits.requestReceiveMs,
    requestTimeout: limits.requestReceiveMs,
    connectionsCheckingInterval: Math.max(10, Math.min(1000, Math.floor(limits.requestReceiveMs / 4))),
    noDelay: true,
    // Asserted below, where the refusal can be a problem document.
    requireHostHeader: false,
  };
  const { tls } = options;
  const app = makeApp({
    ...(tls === undefined
      ? { http: serverOptions }
      : {
          https: { ...serverOptions, cert: tls.certificate, key: tls.key, handshakeTimeout: limits.requestReceiveMs },
        }),
    requestTimeout: limits.requestReceiveMs,
    keepAliveTimeout: limits.keepAliveMs,
    connectionTimeout: limits.replyStalledMs,
    bodyLimit: limits.bodyBytesMax,
    exposeHeadRoutes: false,
    return503OnClosing: false,
    routerOptions: {
      caseSensitive: true,
      ignoreTrailingSlash: false,
      ignoreDuplicateSlashes: false,
      // Longer ones than an id may be get `invalid-id` from us; the head's limit bounds them all.
      maxParamLength: limits.headerBytesMax,
      // Parsed by each operation, which knows its parameters.
      querystringParser: (text) => ({ text }),
    },
    frameworkErrors: (error, request, reply) => fail(error, request, reply),
    clientErrorHandler: (error, socket) => {
      const translated = translateClientError(error, limits);
      if (translated === undefined) socket.destroy();
      else connections.failed(socket, translated);
    },
  });
  const connections = new Connections(app.server, limits, host.timers, { isSecure: tls !== undefined });
  // Expectations that HTTP doesn't know may be passed over (RFC 9110, 10.1.1). Node would answer 417 by itself, without a word.
  app.server.on("checkExpectation", (incoming, outgoing) => app.server.emit("request", incoming, outgoing));
  const context: OperationContext = {
    service,
    system,
    timers: host.timers,
    limits,
    openApiText: JSON.stringify(await openApiDocument(system, limits)),
    backup: options.backup,
    promotion: options.promotion,
    cluster: options.cluster,
    metricsText: () => page.text(),
    isDraining: () => connections.draining,
    onDrain: (listener) => connections.onDrain(listener),
  };
  const openPatterns = new Set(routes.filter((route) => route.open === true).map((route) => route.pattern));

  app.decorateRequest("onefoldExchange", undefined);
  app.removeAllContentTypeParsers();
  app.addContentTypeParser("application/json", (request, payload, done) => {
    const encoding = request.headers["content-encoding"];
    if (encoding !== undefined && encoding.toLowerCase() !== "identity") {
      done(new OnefoldError("unsupported-media-type", `Send the body without Content-Encoding: ${encoding}.`));
    } else bodies.receive(payload, done);
  });

  app.addHook("onRequest", (request, reply, done) => {
    connections.begin(request.raw, reply.raw);
    assertHead(request);
    if (request.is404) throw noRoute(request.raw.method!, request.raw.url!);
    const exchange: Exchange = {
      startedMs: host.clock.monotonicMs(),
      headers: parseCallHeaders(request.headers, request.raw.rawHeaders, limits),
      principal: developer,
    };
    (request as Marked).onefoldExchange = exchange;
    if (!isGuarded || openPatterns.has(request.routeOptions.url!)) done();
    else identify(request, exchange).then(() => done(), done);
  });
  app.setErrorHandler((error, request, reply) => fail(error, request, reply));
  app.setNotFoundHandler((request) => {
    throw noRoute(request.raw.method!, request.raw.url!);
  });

  for (const route of routes) {
    app.route({
      method: route.method === "GET" ? ["GET", "HEAD"] : route.method,
      url: route.pattern,
      handler: async (request, reply) => {
        const answer = await serve(route, request);
        note(request, answer.status);
        if (answer.stream === undefined) sendAnswer(reply, answer, replyFacts(request));
        else await sendStream(reply, answer, replyFacts(request), host.trace);
        return reply;
      },
    });
  }
  await app.ready();
  const sockets = new SocketServer(app.server, { ...options, connections });
  const openNow = openMetrics({
    requests: () => requestsOpen,
    httpConnections: () => connections.count - sockets.count,
    sockets: () => sockets.count,
  });
  const { processText } = options.metrics;
  const metrics = [...options.metrics.metrics, ...meters.metrics, ...openNow];
  const page = new MetricsPage({ metrics, ...(processText === undefined ? {} : { processText }) }, host.trace);
  return { app, connections, sockets };

  function note(request: FastifyRequest, status: number): void {
    const exchange = (request as Marked).onefoldExchange;
    const ms = exchange === undefined ? undefined : host.clock.monotonicMs() - exchange.startedMs;
    meters.note(request.routeOptions.url, request.raw.method!, status, ms);
  }

  /** A2, A3 of `address.ts`; and a `Host`, which HTTP/1.1 demands. */
  function assertHead(request: FastifyRequest): void {
    const { host: hostHeader, origin, "sec-fetch-site": fetchSite } = request.headers;
    if (hostHeader === undefined && request.raw.httpVersion === "1.1") {
      throw new OnefoldError("malformed", "An HTTP/1.1 request must have a Host header.");
    }
    if (isGuarded) return;
    if (!isHostAllowed(hostHeader, options.boundName)) {
      throw new OnefoldError(
        "forbidden",
        "Without authenticate this node answers to loopback names only. Use http://127.0.0.1 or http://localhost.",
      );
    }
    const { method } = request.raw;
    if (method === "GET" || method === "HEAD" || method === "OPTIONS") return;
    if (!isOriginAllowed({ host: hostHeader, origin, fetchSite: fetchSite as string | undefined })) {
      throw new OnefoldError("forbidden", "Without authenticate no page of another origin may change anything here.");
    }
  }

  async function identify(request: FastifyRequest, exchange: Exchange): Promise<void> {
    const headers: Record<string, string> = {};
    for (const [name, value] of Object.entries(request.headers)) {
      if (value !== undefined) headers[name] = typeof value === "string" ? value : value.join(", ");
    }
    exchange.principal = await authenticate(
      system.options,
      { headers, remoteAddress: request.raw.socket.remoteAddress, secure: tls !== undefined },
      host.timers,
      remainingMs(exchange),
    );
  }

  async function serve(route: Route, request: FastifyRequest): Promise<Answer> {
    if (requestsOpen >= limits.requestsOpenMax && route.open !== true && route.urgent !== true) {
      throw new OnefoldError("overloaded", "This node has as many requests as it accepts. Try again soon.", {
        retryAfterMs: 1000,
      });
    }
    requestsOpen++;
    try {
      return await route.handler(context, callOf(request));
    } finally {
      requestsOpen--;
    }
  }

  function callOf(request: FastifyRequest): Call {
    const exchange = (request as Marked).onefoldExchange!;
    return {
      parts: request.params as Readonly<Record<string, string>>,
      queryText: (request.query as { readonly text: string }).text,
      body: request.body as Uint8Array | undefined,
      headers: exchange.headers,
      ifNoneMatch: request.headers["if-none-match"],
      principal: exchange.principal,
      remainingMs: () => remainingMs(exchange),
    };
  }

  function remainingMs(exchange: Exchange): number {
    return exchange.headers.deadlineMs - (host.clock.monotonicMs() - exchange.startedMs);
  }

  function replyFacts(request: FastifyRequest): ReplyFacts {
    const exchange = (request as Marked).onefoldExchange;
    return { sessionToken: exchange?.headers.sessionToken, closes: connections.endsWith(request.raw) };
  }

  /** W3. */
  function fail(thrown: unknown, request: FastifyRequest, reply: FastifyReply): void {
    const facts = replyFacts(request);
    if (thrown instanceof RouteMismatch && request.raw.method === "OPTIONS") {
      sendAnswer(reply, { status: 204 }, facts, thrown.allow);
      note(request, 204);
      return;
    }
    const error = translateFrameworkError(thrown);
    const problem = problemOf(error, { showInside: !isGuarded });
    note(request, problem.status);
    if (problem.report !== undefined) {
      host.trace("error", "A request failed inside. Report it with these fields if no damage or failure explains it.", {
        method: request.raw.method,
        route: request.routeOptions.url,
        traceparent: traceparentOf(request.headers),
        error: problem.report,
      });
    }
    // The framework asks for the end of the connection where a body could not be received.
    if (reply.getHeader("connection") === "close" && !request.raw.complete) {
      const { lingerMs, bodyBytesMax } = limits;
      sendProblemAndLinger(reply, problem, facts, { timers: host.timers, lingerMs, bytesMax: 16 * bodyBytesMax });
    } else sendProblem(reply, problem, facts, thrown instanceof RouteMismatch ? thrown.allow : undefined);
  }
}

/** A route that does not answer this method; carries the methods that it does answer. */
class RouteMismatch extends OnefoldError {
  readonly allow: readonly string[];

  constructor(method: string, allow: readonly string[]) {
    super("method-not-allowed", `This route does not answer ${method}, only ${allow.join(", ")}.`);
    this.allow = allow;
  }
}

function noRoute(method: string, url: string): OnefoldError {
  const allow = methodsOfPath(url);
  if (allow.length > 0) return new RouteMismatch(method, allow);
  return new OnefoldError("unknown-route", "There is no such route. GET / lists what this system has.");
}
