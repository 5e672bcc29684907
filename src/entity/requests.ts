/**
 * Requests that take hold at most once (G6): RIFL sessions (Lee et al., "Implementing Linearizability at Large Scale and Low
 * Latency", SOSP 2015) and idempotency keys for plain HTTP.
 *
 * Q1  A request whose outcome is kept is answered with that outcome and never run again.
 * Q2  A request of an ended session, or one whose answer its client has acknowledged, is refused, never run.
 * Q3  An outcome is kept at least until its session or key expires by log time, or the session's client acknowledges it.
 */
import { encodeUtf8, equalBytes } from "../base/bytes.ts";
import { sha256 } from "../base/digest.ts";
import { OnefoldError } from "../base/errors.ts";
import type { Limits } from "../base/limits.ts";
import { encodeValue } from "../base/value.ts";
import type { Random } from "../host/host.ts";
import type { StoreReader } from "../store/store.ts";
import type { Entry, ResultKey } from "./batch.ts";
import type { DurableBatch } from "./committer.ts";
import { entriesWithPrefix } from "./fold.ts";
import { type BinaryString, binaryOfBytes, keys, readUint16, readUint64, tables } from "./keys.ts";
import { keepOutcome, type KeptOutcome } from "./outcome.ts";
import type { CallOptions, Principal } from "./service.ts";
import { type SessionToken, SessionTokens } from "./session-tokens.ts";
import type { WorkingSet } from "./working-set.ts";

/** Who asks for what, once: before it is known which slot keeps the outcome. */
export type RequestIdentity =
  | {
      readonly type: "session";
      readonly session: BinaryString;
      readonly expiresMs: number;
      readonly number: number;
      readonly lowest: number;
    }
  | { readonly type: "idempotency"; readonly digest: BinaryString; readonly fingerprint: Uint8Array };

export interface FoundOutcome {
  readonly outcome: KeptOutcome;
  /** The batch that it stands in; the answer waits until that is durable. */
  readonly sequence: number;
}

/** Names an idempotency key among all: it is its principal's and its target's own. */
export function idempotencyDigest(
  principal: Principal,
  target: readonly string[],
  idempotencyKey: string,
): BinaryString {
  return binaryOfBytes(sha256(encodeValue([principal.tenant, principal.subject, target, idempotencyKey])));
}

export class Requests {
  readonly #tokens: SessionTokens;
  readonly #limits: Limits;
  /** Durable idempotency records, for their bound. */
  #idempotencyCount = 0;

  constructor(parts: { readonly secret: Uint8Array; readonly incarnation: Uint8Array; readonly limits: Limits }) {
    this.#tokens = new SessionTokens(parts);
    this.#limits = parts.limits;
  }

  load(store: StoreReader): void {
    const idempotency = String.fromCharCode(tables.idempotency);
    for (const { key } of entriesWithPrefix(store, keys.table("expiry"))) {
      if (key[9] === idempotency) this.#idempotencyCount++;
    }
  }

  durable(batch: DurableBatch): void {
    const idempotency = String.fromCharCode(tables.idempotency);
    for (const entry of batch.entries) {
      if (entry.result?.key.type === "idempotency") this.#idempotencyCount++;
      for (const { key } of entry.expired) if (key[0] === idempotency) this.#idempotencyCount--;
    }
  }

  mint(principal: Principal, nowMs: number, random: Random): string {
    return this.#tokens.mint(principal, nowMs, random);
  }

  /** As `SessionTokens.verify`. */
  verify(token: string, principal: Principal, nowMs: number): SessionToken {
    return this.#tokens.verify(token, principal, nowMs);
  }

  /** What identifies the request; undefined for one that may be run as often as it is sent. `asked` is all that it asks for. */
  identify(
    options: CallOptions,
    asked: { readonly target: readonly string[]; readonly input: unknown },
    nowMs: number,
  ): RequestIdentity | undefined {
    const { principal, session, idempotencyKey } = options;
    if (session !== undefined) {
      if (idempotencyKey !== undefined) {
        throw new OnefoldError("malformed", "A request has a session or an idempotency key, not both.");
      }
      const { number, lowest } = session;
      const open = number - lowest;
      if (!Number.isSafeInteger(number) || !Number.isSafeInteger(lowest) || lowest < 1 || open < 0) {
        throw new OnefoldError("malformed", "A request's number and lowest must be whole, 1 ≤ lowest ≤ number.");
      }
      if (open >= this.#limits.sessionRequestsOpenMax) {
        throw new OnefoldError("overloaded", "The session has too many unanswered requests.", { retryAfterMs: 100 });
      }
      const { id, expiresMs } = this.verify(session.token, principal, nowMs);
      return { type: "session", session: id, expiresMs, number, lowest };
    }
    if (idempotencyKey === undefined) return undefined;
    const key = encodeUtf8(idempotencyKey);
    if (key.length === 0 || key.length > this.#limits.idempotencyKeyBytesMax) {
      throw new OnefoldError("malformed", `An idempotency key has 1 to ${this.#limits.idempotencyKeyBytesMax} bytes.`);
    }
    const { target, input = null } = asked;
    return {
      type: "idempotency",
      digest: idempotencyDigest(principal, target, idempotencyKey),
      fingerprint: sha256(encodeValue({ input })),
    };
  }

  /** Q1, Q2. `slot` is where the request's outcome is kept. */
  find(request: RequestIdentity, slot: number, working: WorkingSet, nowMs: number): FoundOutcome | undefined {
    if (request.type === "session") {
      if (request.expiresMs <= nowMs) throw new OnefoldError("session-expired", "The session has ended.");
      const session = working.sessions.get(slot, request.session);
      if (session.kept(request.number) !== undefined) {
        const kept = working.sessions.result(slot, request.session, request.number);
        if (kept !== undefined) return { outcome: kept.value, sequence: kept.sequence };
      }
      if (request.number < session.lowest) {
        throw new OnefoldError("request-forgotten", "The request's answer was acknowledged before.");
      }
      return undefined;
    }
    const kept = working.idempotency(slot, request.digest);
    if (kept === undefined || kept.value.expiresMs <= nowMs) {
      if (this.#idempotencyCount >= this.#limits.idempotencyKeysMax) {
        throw new OnefoldError("over-quota", "Too many idempotency keys are remembered.", { retryAfterMs: 60_000 });
      }
      return undefined;
    }
    if (!equalBytes(kept.value.fingerprint, request.fingerprint)) {
      const error = new OnefoldError(
        "idempotency-mismatch",
        "The idempotency key was used before for a different request.",
      );
      // Not thrown: the other request's record may not be durable yet, and this answer speaks of it (G3).
      return { outcome: keepOutcome({ kind: "failed", error }, kept.sequence), sequence: kept.sequence };
    }
    return { outcome: kept.value.outcome, sequence: kept.sequence };
  }

  /** Where an outcome goes that is to be kept. */
  resultKey(request: RequestIdentity, slot: number, working: WorkingSet, nowMs: number): ResultKey {
    if (request.type === "idempotency") {
      const { digest, fingerprint } = request;
      return { type: "idempotency", slot, digest, fingerprint, expiresMs: nowMs + this.#limits.idempotencyMsDefault };
    }
    const { session, expiresMs, number } = request;
    const known = working.sessions.get(slot, session);
    // Requests overtake each other: one that was sent earlier must not bring back what a later one has acknowledged.
    const lowest = Math.max(request.lowest, known.lowest);
    const place = known.nextPlace(lowest);
    return { type: "session", slot, session, expiresMs, number, lowest, place, isBirth: known.isNew };
  }

  /** The record under the request's own key that has expired but not been removed, to go in the same entry. */
  expiredPredecessor(request: RequestIdentity, slot: number, working: WorkingSet): Entry["expired"] {
    if (request.type !== "idempotency") return [];
    const kept = working.idempotency(slot, request.digest);
    return kept === undefined ? [] : [{ expiresMs: kept.value.expiresMs, key: keys.idempotency(slot, request.digest) }];
  }

  /** Keys of records that have expired by `nowMs`, and of all that goes with them; at most `countMax`. */
  static expired(
    store: StoreReader,
    working: WorkingSet,
    nowMs: number,
    countMax: number,
  ): readonly { readonly expiresMs: number; readonly key: BinaryString }[] {
    const expired: { expiresMs: number; key: BinaryString }[] = [];
    for (const { key: at } of entriesWithPrefix(store, keys.table("expiry"), { limit: countMax })) {
      const expiresMs = readUint64(at, 1);
      if (expiresMs > nowMs || expired.length >= countMax) break;
      const key = at.slice(9);
      if (key.charCodeAt(0) === tables.idempotency) {
        // The record may be gone, or a younger one under the same key, and the store not know yet.
        if (working.idempotency(readUint16(key, 1), key.slice(3))?.value.expiresMs !== expiresMs) continue;
        expired.push({ expiresMs, key });
        continue;
      }
      // What the store doesn't know yet it can't list, so it would stay behind. The next time will find it.
      if (working.sessions.hasUnapplied(key, working.appliedSequence)) continue;
      if (working.isRemoved(key)) continue;
      const results = String.fromCharCode(tables.sessionResult) + key.slice(1);
      const limit = countMax - expired.length;
      const kept = [...entriesWithPrefix(store, results, { limit })];
      for (const result of kept) if (!working.isRemoved(result.key)) expired.push({ expiresMs, key: result.key });
      // A session with more results than fit stays until the next time, which removes the rest.
      if (kept.length < limit) expired.push({ expiresMs, key });
    }
    return expired;
  }
}
