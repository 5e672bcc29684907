/**
 * The answering half of calls between nodes: which requests of which lives are known, and how much of them is under way.
 *
 * AK1  A request of a life that is known is taken at most once, whether it was handled or refused; one that is older than all
 *      that are remembered is taken for a repeated one. At most `peerLivesMax` lives are known, the ones heard last.
 * AK2  Of each life, what is under way is bounded in number and bytes, answers included until the network has them.
 */
import type { Limits } from "../base/limits.ts";
import { callOverheadBytes } from "./asked-peer.ts";

/** One life of one peer. */
export class AskingPeer {
  readonly #limits: Limits;
  /** In order of arrival. */
  readonly #known = new Set<number>();
  /** Up to this id, those that are not known any more. */
  #floor = 0;
  #openCount = 0;
  #openBytes = 0;

  constructor(limits: Limits) {
    this.#limits = limits;
  }

  /** AK1, AK2. Whoever gets `taken` calls `release` with the same bytes, once. */
  take(id: number, bodyBytes: number): "taken" | "repeated" | "overloaded" {
    if (id <= this.#floor || this.#known.has(id)) return "repeated";
    this.#remember(id);
    const sizeBytes = bodyBytes + callOverheadBytes;
    const { peerCallsMax, peerCallBytesMax } = this.#limits;
    if (this.#openCount >= peerCallsMax || this.#openBytes + sizeBytes > peerCallBytesMax) return "overloaded";
    this.#openCount++;
    this.#openBytes += sizeBytes;
    return "taken";
  }

  /** The request's body is done with; its answer takes so many bytes from now on. False, and nothing done, if it has no room. */
  exchange(bodyBytes: number, answerBytes: number): boolean {
    const more = answerBytes - bodyBytes;
    // A small one has the room that each call is counted with.
    if (answerBytes > callOverheadBytes * 4 && this.#openBytes + more > 2 * this.#limits.peerCallBytesMax) return false;
    this.#openBytes += more;
    return true;
  }

  release(bytes: number): void {
    this.#openCount--;
    this.#openBytes -= bytes + callOverheadBytes;
  }

  #remember(id: number): void {
    this.#known.add(id);
    if (this.#known.size <= this.#limits.peerRequestsKnownMax) return;
    const [oldest] = this.#known;
    this.#known.delete(oldest!);
    this.#floor = Math.max(this.#floor, oldest!);
  }
}

export class AskingPeers {
  readonly #limits: Limits;
  /** In order of their last request. */
  readonly #peers = new Map<string, AskingPeer>();

  constructor(limits: Limits) {
    this.#limits = limits;
  }

  of(address: string, life: string): AskingPeer {
    const key = `${life} ${address}`;
    const peer = this.#peers.get(key) ?? new AskingPeer(this.#limits);
    this.#peers.delete(key);
    this.#peers.set(key, peer);
    if (this.#peers.size > this.#limits.peerLivesMax) {
      const [oldest] = this.#peers.keys();
      this.#peers.delete(oldest!);
    }
    return peer;
  }
}
