/**
 * Which session numbers new requests, and what the server has been told of it on the present connection.
 *
 * SE1  Before a numbered request the server has been told its session, and a `lowest` that its number is not too far ahead of.
 * SE2  A session is left in time before it ends, and when one slow request holds up all later ones.
 */
import type { Value } from "../base/value.ts";
import type { Encoder } from "../wire/encoder.ts";
import { toServer } from "../wire/protocol.ts";
import type { Call } from "./call.ts";
import type { ClientPlatform } from "./platform.ts";
import { RequestSession } from "./request-session.ts";
import type { SocketLink } from "./socket-link.ts";

/** A session is not used for new requests in the last part of its life. */
const shareUsed = 0.5;

export class Sessions {
  readonly #platform: ClientPlatform;
  readonly #nextId: () => number;
  #current: RequestSession | undefined;
  #told: RequestSession | undefined;
  #toldLowest = 0;
  /** The id of the message that asks for a new session. */
  #mintId = 0;

  constructor(platform: ClientPlatform, nextId: () => number) {
    this.#platform = platform;
    this.#nextId = nextId;
  }

  /** A new connection, on which nothing has been told, and which has brought a token of its own. */
  connected(token: string, sessionMs: number): void {
    this.#told = undefined;
    this.#mintId = 0;
    if (this.#current === undefined || this.#current.usableUntilMs < this.#platform.monotonicMs()) {
      this.#begin(token, sessionMs);
    }
  }

  /** Whether a request may have a number now. If not, and only a new session helps, one is asked for. */
  hasRoom(link: SocketLink, requestsMax: number): boolean {
    const session = this.#current;
    if (session === undefined) {
      this.#mint(link);
      return false;
    }
    // A frame that is begun now tells the present lowest; in one that is there already it stays as it was told.
    const lowest = link.isGathering && session === this.#told ? this.#toldLowest : session.lowest;
    if (session.next - lowest < requestsMax) return true;
    // Most of the window has been answered, and what has not holds up the rest (SE2).
    if (session.openCount < requestsMax / 2) this.#mint(link);
    return false;
  }

  /** Gives the call a number, if it has none. There must be room. */
  number(call: Call): void {
    if (call.number > 0) return;
    call.session = this.#current!;
    call.number = call.session.take();
  }

  /** The session won't have the call: it goes on in another one. */
  leave(call: Call, link: SocketLink | undefined): void {
    call.session!.done(call.number);
    if (this.#current === call.session) {
      this.#current = undefined;
      if (link?.isOpen === true) this.#mint(link);
    }
    call.number = 0;
    call.session = undefined;
  }

  /** At a frame's begin: writes what has changed, and gives how many messages that were. */
  beginFrame(encoder: Encoder, link: SocketLink): number {
    const session = this.#current;
    if (session === undefined) return 0;
    if (session.usableUntilMs < this.#platform.monotonicMs()) queueMicrotask(() => this.#mint(link));
    if (session === this.#told && session.lowest === this.#toldLowest) return 0;
    this.#write(encoder, session);
    return 1;
  }

  /** SE1, for a call of another session than the one that was told last. Gives how many messages it wrote. */
  tell(encoder: Encoder, call: Call): number {
    if (call.number === 0 || call.session === this.#told) return 0;
    this.#write(encoder, call.session!);
    return 1;
  }

  #write(encoder: Encoder, session: RequestSession): void {
    const { lowest } = session;
    encoder.array(session === this.#told ? 2 : 3);
    encoder.number(toServer.session);
    encoder.number(lowest);
    if (session !== this.#told) encoder.text(session.token);
    this.#told = session;
    this.#toldLowest = lowest;
  }

  #mint(link: SocketLink): void {
    if (this.#mintId !== 0 || !link.isOpen) return;
    this.#mintId = this.#nextId();
    const encoder = link.begin();
    encoder.array(2);
    encoder.number(toServer.mint);
    encoder.number(this.#mintId);
    link.end();
  }

  /** Takes the answer to its request for a session; false where the answer is to something else. */
  answered(id: number, output: Value | undefined): boolean {
    if (id !== this.#mintId || id === 0) return false;
    this.#mintId = 0;
    const { session, sessionMs } = output as { readonly session: string; readonly sessionMs: number };
    this.#begin(session, sessionMs);
    return true;
  }

  /** Its request for a session failed: whoever needs one asks again. False where the failure is of something else. */
  failed(id: number): boolean {
    if (id !== this.#mintId || id === 0) return false;
    this.#mintId = 0;
    return true;
  }

  #begin(token: string, sessionMs: number): void {
    this.#current = new RequestSession(token, this.#platform.monotonicMs() + sessionMs * shareUsed);
  }
}
