/**
 * Tokens of sessions: who it is, until when, and how far the session has seen the shards of a cluster. All of it is signed by the
 * system's secret.
 *
 * ST1  What a token says was said by this system: a change of one bit makes it `malformed`.
 * ST2  Its first part, which names the session, stays the same for the session's life, so that checking it is done once; the positions
 *      follow it behind a dot, signed for that session alone.
 * ST3  Positions are bounded: of more shards than `sessionPositionsMax`, those moved last stay, and the token says that there were others.
 */
import { concatBytes, equalBytes } from "../base/bytes.ts";
import { equalSecret, hmacSha256 } from "../base/digest.ts";
import { OnefoldError } from "../base/errors.ts";
import type { Limits } from "../base/limits.ts";
import { decodeValue, encodeValue, type Value } from "../base/value.ts";
import type { Random } from "../host/host.ts";
import { type BinaryString, binaryOfBytes, bytesOfBinary } from "./keys.ts";
import type { Position, Principal } from "./service.ts";

export interface SessionToken {
  readonly id: BinaryString;
  readonly incarnation: Uint8Array;
  readonly expiresMs: number;
  readonly tenant: string;
  readonly subject: string;
}

/** What a session has seen. */
export interface SessionPositions {
  /** The one that was moved last comes last. */
  readonly positions: readonly Position[];
  /** It has seen shards that are not listed: how far, is not known. */
  readonly isPartial: boolean;
}

const macBytes = 32;
/** A client sends the same session with every request, and checking one costs more than running most commands. */
const tokensKeptMax = 4096;
const positionsKeptMax = 1024;
const nothingSeen: SessionPositions = { positions: [], isPartial: false };

export class SessionTokens {
  readonly #secret: Uint8Array;
  readonly #incarnation: Uint8Array;
  readonly #limits: Limits;
  /** Sessions whose signature was found right, the latest ones, by the first part of their tokens. */
  readonly #parsed = new Map<string, SessionToken>();
  /** What whole tokens say that was found right, or signed here: one that comes again, with each call of a connection, costs a look. */
  readonly #known = new Map<string, SessionPositions>();

  constructor(parts: { readonly secret: Uint8Array; readonly incarnation: Uint8Array; readonly limits: Limits }) {
    this.#secret = parts.secret;
    this.#incarnation = parts.incarnation;
    this.#limits = parts.limits;
  }

  mint(principal: Principal, nowMs: number, random: Random): string {
    const body = encodeValue({
      id: random.bytes(16),
      incarnation: this.#incarnation,
      expiresMs: nowMs + this.#limits.sessionMsDefault,
      tenant: principal.tenant,
      subject: principal.subject,
    });
    return signed(hmacSha256(this.#secret, body), body);
  }

  /** Throws `session-expired` where the token's session has ended, and `forbidden` where it is somebody else's. */
  verify(token: string, principal: Principal, nowMs: number): SessionToken {
    const session = this.#parse(withoutPositions(token));
    if (session.tenant !== principal.tenant || session.subject !== principal.subject) {
      throw new OnefoldError("forbidden", "The session belongs to another principal.");
    }
    if (session.expiresMs <= nowMs || !equalBytes(session.incarnation, this.#incarnation)) {
      throw new OnefoldError("session-expired", "The session has ended; mint a new one.");
    }
    return session;
  }

  /** What the token's session has seen. Throws `malformed` (ST1). */
  seen(token: string): SessionPositions {
    const at = token.indexOf(".");
    if (at < 0) return nothingSeen;
    const known = this.#known.get(token);
    if (known !== undefined) return known;
    const bytes = new Uint8Array(Buffer.from(token.slice(at + 1), "base64url"));
    const body = bytes.subarray(macBytes);
    const { id } = this.#parse(token.slice(0, at));
    if (bytes.length <= macBytes || !equalSecret(this.#sign(id, body), bytes.subarray(0, macBytes))) throw notOurs();
    const { positions, isPartial } = decodeValue(body) as {
      readonly positions: readonly (readonly [string, string, number])[];
      readonly isPartial: boolean;
    };
    return this.#remember(token, {
      positions: positions.map(([shard, incarnation, sequence]) => ({ shard, incarnation, sequence })),
      isPartial,
    });
  }

  #remember(token: string, seen: SessionPositions): SessionPositions {
    if (this.#known.size >= positionsKeptMax) this.#known.clear();
    this.#known.set(token, seen);
    return seen;
  }

  /** The token of a session that has also seen this. Positions of one incarnation never go back; of two, the later told stays. */
  advanced(token: string, position: Position): string {
    const { positions, isPartial } = this.seen(token);
    const known = positions.find(({ shard }) => shard === position.shard);
    if (known?.incarnation === position.incarnation && known.sequence >= position.sequence) return token;
    const all = [...positions.filter((each) => each !== known), position];
    const kept = all.slice(-this.#limits.sessionPositionsMax);
    const seen: SessionPositions = { positions: kept, isPartial: isPartial || kept.length < all.length };
    const body = encodeValue({
      positions: kept.map(({ shard, incarnation, sequence }): Value => [shard, incarnation, sequence]),
      isPartial: seen.isPartial,
    });
    const first = withoutPositions(token);
    const moved = `${first}.${signed(this.#sign(this.#parse(first).id, body), body)}`;
    this.#remember(moved, seen);
    return moved;
  }

  /** Begins with a byte that no encoded session begins with, so that neither signature passes for the other. */
  #sign(session: BinaryString, body: Uint8Array): Uint8Array {
    return hmacSha256(this.#secret, concatBytes([Uint8Array.of(0), bytesOfBinary(session), body]));
  }

  #parse(token: string): SessionToken {
    const parsed = this.#parsed.get(token);
    if (parsed !== undefined) return parsed;
    const session = this.#parseAnew(token);
    // All at once: which of them are in use will be known again after one check each.
    if (this.#parsed.size >= tokensKeptMax) this.#parsed.clear();
    this.#parsed.set(token, session);
    return session;
  }

  #parseAnew(token: string): SessionToken {
    const bytes = new Uint8Array(Buffer.from(token, "base64url"));
    const body = bytes.subarray(macBytes);
    if (bytes.length <= macBytes || !equalSecret(hmacSha256(this.#secret, body), bytes.subarray(0, macBytes))) {
      throw notOurs();
    }
    const parsed = decodeValue(body) as unknown as Omit<SessionToken, "id"> & { readonly id: Uint8Array };
    return { ...parsed, id: binaryOfBytes(parsed.id) };
  }
}

/** The part of a token that names the session (ST2). */
export function withoutPositions(token: string): string {
  const at = token.indexOf(".");
  return at < 0 ? token : token.slice(0, at);
}

function signed(mac: Uint8Array, body: Uint8Array): string {
  return Buffer.from(concatBytes([mac, body])).toString("base64url");
}

function notOurs(): OnefoldError {
  return new OnefoldError("malformed", "The session token is not one that this system has given out.");
}
