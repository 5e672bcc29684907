/**
 * Calls over plain HTTP (`docs/http.md`), for where no WebSocket can be had: one exchange a call, the same sessions and numbers, so
 * that a call may go over one and be sent again over the other.
 *
 * HL1  At most `exchangesMax` are under way, none of them for longer than its call: a node that never answers blocks no later call.
 * HL2  Where there is another address, an exchange that may be repeated is given up after `exchangeMsMax`: its node may be cut off, and the
 *      next one serves.
 */
import { OnefoldError } from "../base/errors.ts";
import type { Value } from "../base/value.ts";
import { type FailureFacts, toServer } from "../wire/protocol.ts";
import type { Addresses } from "./addresses.ts";
import type { Call } from "./call.ts";
import type { ClientPlatform, HttpReply, HttpRequest } from "./platform.ts";
import { RequestSession } from "./request-session.ts";
import { readTaggedJson, writeTaggedJson } from "./tagged-json.ts";

export interface HttpLinkOptions {
  readonly platform: ClientPlatform;
  readonly addresses: Addresses;
  readonly headers: Readonly<Record<string, string>>;
  readonly token: () => Promise<string | undefined>;
}

export type HttpOutcome = { readonly output: Value | undefined } | { readonly facts: FailureFacts };

/** Browsers open six connections to a host; more exchanges would wait for one. */
const exchangesMax = 6;
/** Longer than an engine takes to elect: a node that waits for that should not be asked again and again. */
const exchangeMsMax = 10_000;
const sessionMs = 12 * 3_600_000;
/** Members of a problem document that are not its details. */
const problemMembers = new Set(["type", "title", "status", "detail", "code", "retry", "refused", "details"]);

export class HttpLink {
  readonly #options: HttpLinkOptions;
  /** Each has its own: what listens to one for all would gather. */
  readonly #underWay = new Set<AbortController>();
  #exchangeCount = 0;
  #session: Promise<RequestSession> | undefined;
  #sessionUntilMs = 0;

  constructor(options: HttpLinkOptions) {
    this.#options = options;
  }

  get hasRoom(): boolean {
    return this.#exchangeCount < exchangesMax;
  }

  /** Rejects where no answer came, or none that a node gives. */
  async send(call: Call, body: readonly Value[], isNumbered: boolean): Promise<HttpOutcome> {
    this.#exchangeCount++;
    try {
      const headers: Record<string, string> = { ...(await this.#headers()) };
      if (isNumbered) await this.#number(call, headers);
      const leftMs = this.#leftMs(call);
      headers["onefold-deadline-ms"] = String(Math.max(1, Math.ceil(leftMs)));
      if (call.options?.idempotencyKey !== undefined) headers["idempotency-key"] = call.options.idempotencyKey;
      const { method, path, json } = exchangeOf(call, body);
      if (json !== undefined) headers["content-type"] = "application/json";
      const mayRepeat = isNumbered || call.shape.isRead || call.options?.idempotencyKey !== undefined;
      const reply = await this.#request(
        { method, path, headers, body: json },
        mayRepeat ? this.#patienceMs(leftMs) : leftMs,
      );
      return outcomeOf(call, reply);
    } finally {
      this.#exchangeCount--;
    }
  }

  /** The session has ended: the next request gets a new one. */
  forgetSession(): void {
    this.#session = undefined;
  }

  close(): void {
    for (const controller of this.#underWay) controller.abort();
  }

  #leftMs(call: Call): number {
    return call.deadlineAtMs - this.#options.platform.monotonicMs();
  }

  /** HL2. */
  #patienceMs(leftMs: number): number {
    return this.#options.addresses.count > 1 ? Math.min(leftMs, exchangeMsMax) : leftMs;
  }

  async #headers(): Promise<Record<string, string>> {
    const token = await this.#options.token();
    return { ...this.#options.headers, ...(token === undefined ? {} : { authorization: `Bearer ${token}` }) };
  }

  /** Gives the call its session and number, if it has none. */
  async #number(call: Call, headers: Record<string, string>): Promise<void> {
    if (call.number === 0) {
      const session = await this.#currentSession(headers, this.#leftMs(call));
      call.session = session;
      call.number = session.take();
    }
    headers["onefold-session"] = call.session!.token;
    headers["onefold-request"] = `${call.number};lowest=${call.session!.lowest}`;
  }

  #currentSession(headers: Readonly<Record<string, string>>, leftMs: number): Promise<RequestSession> {
    const nowMs = this.#options.platform.monotonicMs();
    if (this.#session === undefined || this.#sessionUntilMs < nowMs) {
      this.#sessionUntilMs = nowMs + sessionMs;
      const minting = this.#mint(headers, leftMs);
      this.#session = minting;
      minting.catch(() => {
        // Whoever awaited it has been told; the next one asks anew.
        if (this.#session === minting) this.#session = undefined;
      });
    }
    return this.#session;
  }

  async #mint(headers: Readonly<Record<string, string>>, leftMs: number): Promise<RequestSession> {
    const exchange = { method: "POST", path: "/v1/sessions", headers, body: undefined } as const;
    const { status, text } = await this.#request(exchange, this.#patienceMs(leftMs));
    if (status !== 200) throw new OnefoldError("not-ready", `No session could be had: HTTP ${status}.`);
    const { session } = readTaggedJson(text) as { readonly session: string };
    return new RequestSession(session, this.#sessionUntilMs);
  }

  async #request(
    { path, ...exchange }: Omit<HttpRequest, "url" | "signal"> & { readonly path: string },
    leftMs: number,
  ): Promise<HttpReply> {
    const { platform, addresses } = this.#options;
    const url = addresses.current;
    const controller = new AbortController();
    this.#underWay.add(controller);
    const timer = platform.after(Math.max(0, leftMs), () => controller.abort());
    try {
      const reply = await platform.request({ ...exchange, url: new URL(path, url).href, signal: controller.signal });
      // Overloaded, starting, cut off: another node may serve.
      if (reply.status === 503) addresses.leave(url);
      return reply;
    } catch (error) {
      addresses.leave(url);
      throw error;
    } finally {
      timer.cancel();
      this.#underWay.delete(controller);
    }
  }
}

function exchangeOf(
  call: Call,
  body: readonly Value[],
): { readonly method: "GET" | "POST" | "DELETE"; readonly path: string; readonly json: string | undefined } {
  const read = call.options?.read === undefined ? {} : { read: call.options.read };
  const [first, second] = body as readonly string[];
  switch (call.shape.type) {
    case toServer.call: {
      const [kind, id, name, input] = body;
      // By body, because paths can't carry every id (`/v1/call`).
      const json = writeTaggedJson({
        kind: kind!,
        id: id!,
        name: name!,
        ...(body.length > 3 ? { input: input! } : {}),
      });
      return { method: "POST", path: `/v1/call${query(read)}`, json };
    }
    case toServer.transaction:
      return {
        method: "POST",
        path: `/v1/transactions/${encodeURIComponent(first!)}`,
        json: body.length > 1 ? writeTaggedJson(body[1]!) : undefined,
      };
    case toServer.delete:
      return { method: "DELETE", path: entityPath(first!, second!), json: undefined };
    case toServer.state:
      return { method: "GET", path: `${entityPath(first!, second!)}${query(read)}`, json: undefined };
    case toServer.list:
      return {
        method: "GET",
        path: `/v1/entities/${encodeURIComponent(first!)}${query(pageOf(call))}`,
        json: undefined,
      };
    default: {
      const path = `/v1/history/${encodeURIComponent(first!)}/${encodeURIComponent(second!)}`;
      return { method: "GET", path: `${path}${query(pageOf(call))}`, json: undefined };
    }
  }
}

function entityPath(kind: string, id: string): string {
  return `/v1/entities/${encodeURIComponent(kind)}/${encodeURIComponent(id)}`;
}

function pageOf(call: Call): Readonly<Record<string, string>> {
  const page = (call.page ?? {}) as Readonly<Record<string, string | number | undefined>>;
  const given = Object.entries(page).filter(([, value]) => value !== undefined);
  return Object.fromEntries(given.map(([name, value]) => [name, String(value)]));
}

function query(parameters: Readonly<Record<string, string>>): string {
  const text = new URLSearchParams(parameters).toString();
  return text === "" ? "" : `?${text}`;
}

function outcomeOf(call: Call, { status, text, header }: HttpReply): HttpOutcome {
  if (status === 204) return { output: undefined };
  if (status === 200) {
    const output = readTaggedJson(text);
    if (call.shape.type !== toServer.state) return { output };
    // A state's generation and versions stand in its entity tag.
    const [generation, version, schemaVersion] = (header("etag") ?? "").replaceAll('"', "").split("-").map(Number);
    return { output: { state: output, generation: generation!, version: version!, schemaVersion: schemaVersion! } };
  }
  if (header("content-type")?.startsWith("application/problem+json") !== true) {
    throw new OnefoldError("not-ready", `Something that is no node answered with HTTP ${status}.`);
  }
  const problem = readTaggedJson(text) as unknown as FailureFacts & Readonly<Record<string, Value | undefined>>;
  const { code, retry, detail, refused, details } = problem;
  const others = Object.entries(problem).filter(([name]) => !problemMembers.has(name));
  const retryAfter = header("retry-after");
  return {
    facts: {
      code,
      retry,
      status,
      detail,
      ...(refused === true ? { refused } : {}),
      ...(details !== undefined ? { details } : others.length > 0 ? { details: Object.fromEntries(others) } : {}),
      ...(retryAfter === undefined ? {} : { retryAfterMs: 1000 * Number(retryAfter) }),
    },
  };
}
