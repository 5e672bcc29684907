/**
 * `POST /v1/promote`: moves the system of an embedded node to a cluster, and tells how it goes as lines of JSON.
 *
 * PT1 The move goes on whoever reads: one who goes away, or reads slowly, changes nothing but what is told.
 * PT2 The last line is the report or the failure; an answer without either was cut, and says nothing of what became of the move.
 */
import { encodeUtf8 } from "../base/bytes.ts";
import { OnefoldError } from "../base/errors.ts";
import { parseTaggedJson } from "../base/tagged-json.ts";
import {
  type EngineLogin,
  type PromotionLine,
  type PromotionOptions,
  type PromotionProgress,
  type PromotionReport,
  type PromotionTarget,
  promotionContentType,
} from "../wire/promotion.ts";
import { authorize } from "./access.ts";
import type { OperationHandler } from "./operations.ts";
import { parseQueryString } from "./query-string.ts";

/** What can be moved. */
export interface PromotionSource {
  /**
   * Moves the system, once at a time. Throws `not-ready`, `overloaded`, `unavailable` (retry safe), `invalid-configuration`, `damaged`
   * (never); the system is then served on where it was, or that is not known yet.
   */
  promote(options: PromotionOptions, onProgress: (progress: PromotionProgress) => void): Promise<PromotionReport>;
}

const shardCountDefault = 16;
const followerCountDefault = 1;

/** Scope `admin`, and the system's `authorize` with the action `promote`. */
export const promoteSystem: OperationHandler = async (context, call) => {
  parseQueryString(call.queryText, []);
  const { system, timers, promotion } = context;
  await authorize(system.options, call.principal, { action: "promote" }, timers, call.remainingMs);
  if (promotion === undefined) {
    throw new OnefoldError("invalid-configuration", "This node is part of a cluster already.");
  }
  const options = optionsOf(call.body === undefined || call.body.length === 0 ? undefined : parseTaggedJson(call.body));
  const lines = new Lines();
  promotion
    .promote(options, (progress) => lines.tell({ progress }))
    .then(
      (report) => lines.end({ report }),
      (error: unknown) => lines.end({ failure: failureOf(error) }),
    );
  return {
    status: 200,
    contentType: promotionContentType,
    stream: { chunks: () => lines.chunks(), close: () => undefined },
  };
};

/** The newest progress is told, not each. */
class Lines {
  #progress: PromotionLine | undefined;
  #last: PromotionLine | undefined;
  #wake: () => void = () => undefined;

  tell(line: PromotionLine): void {
    this.#progress = line;
    this.#wake();
  }

  end(line: PromotionLine): void {
    this.#last = line;
    this.#wake();
  }

  async *chunks(): AsyncIterable<Uint8Array> {
    for (;;) {
      const line = this.#progress ?? this.#last;
      if (line === undefined) {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
        continue;
      }
      this.#progress = undefined;
      yield encodeUtf8(`${JSON.stringify(line)}\n`);
      if (line === this.#last) return;
    }
  }
}

function failureOf(error: unknown): Extract<PromotionLine, { readonly failure: unknown }>["failure"] {
  if (!(error instanceof OnefoldError)) {
    return { code: "internal", retry: "unknown", detail: error instanceof Error ? error.message : String(error) };
  }
  const { code, retry, message: detail, details } = error;
  return { code, retry, detail, ...(details === undefined ? {} : { details }) };
}

// --------------------------------------------------------------------------------------------------------------- the body

function optionsOf(body: unknown): PromotionOptions {
  if (!isRecord(body) || !isRecord(body.target)) throw malformed("`target` is missing");
  const {
    target,
    shardCount = shardCountDefault,
    followerCount = followerCountDefault,
    allowsLaxEngine = false,
  } = body;
  if (typeof shardCount !== "number" || typeof followerCount !== "number" || typeof allowsLaxEngine !== "boolean") {
    throw malformed("`shardCount` and `followerCount` are numbers, `allowsLaxEngine` is a boolean");
  }
  return { target: targetOf(target), shardCount, followerCount, allowsLaxEngine };
}

function targetOf({ to, engineName, replicaCount, account, system, tls }: Record<string, unknown>): PromotionTarget {
  if (typeof to !== "string" || !/^(nats|tls):\/\/[^/\s,]+(,\s*(nats|tls):\/\/[^/\s,]+)*$/.test(to)) {
    throw malformed("`target.to` is nats://host:port, with commas between");
  }
  if (engineName !== undefined && (typeof engineName !== "string" || !/^[a-z0-9]{1,32}$/.test(engineName))) {
    throw malformed("`target.engineName` has up to 32 of a-z and 0-9");
  }
  if (replicaCount !== undefined && replicaCount !== 1 && replicaCount !== 3 && replicaCount !== 5) {
    throw malformed("`target.replicaCount` is 1, 3 or 5");
  }
  return {
    to,
    ...(engineName === undefined ? {} : { engineName }),
    ...(replicaCount === undefined ? {} : { replicaCount }),
    ...(account === undefined ? {} : { account: loginOf(account) }),
    ...(system === undefined ? {} : { system: loginOf(system) }),
    ...(tls === undefined ? {} : { tls: tlsOf(tls) }),
  };
}

function loginOf(login: unknown): EngineLogin {
  if (isRecord(login)) {
    const { user, pass, token, credentials } = login;
    if (typeof user === "string" && typeof pass === "string") return { user, pass };
    if (typeof token === "string") return { token };
    if (typeof credentials === "string") return { credentials };
  }
  throw malformed("a login is {user, pass}, {token} or {credentials}");
}

function tlsOf(tls: unknown): NonNullable<PromotionTarget["tls"]> {
  if (isRecord(tls)) {
    const { caFile, certFile, keyFile } = tls;
    if (typeof caFile === "string" && typeof certFile === "string" && typeof keyFile === "string") {
      return { caFile, certFile, keyFile };
    }
  }
  throw malformed("`target.tls` is {caFile, certFile, keyFile}");
}

function malformed(what: string): OnefoldError {
  return new OnefoldError("malformed", `The body does not say where the system is to move to: ${what}.`);
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
