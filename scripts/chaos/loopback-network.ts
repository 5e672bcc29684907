/**
 * All parties on loopback, with a fault proxy in front of each link. Needs no rights of any kind.
 *
 * LO1 A way's state is the same for all connections of its two parties, whichever of them has opened one.
 */
import type { SeededRandom } from "../../src/base/random.ts";
import { FaultProxy, WayState } from "./fault-proxy.ts";
import { anyNode, type Link, type Party, type RunNetwork, type Slowness, type Way } from "./links.ts";

const host = "127.0.0.1";
/** What a node says first to another one (`docs/protocol.md`, "Between nodes"): its own address, by which it is told. */
const hello = /onefold-network 1 (127\.0\.0\.1:\d+)/;

export class LoopbackNetwork implements RunNetwork {
  readonly kind = "loopback";
  readonly #random: SeededRandom;
  readonly #ways = new Map<string, WayState>();
  readonly #proxies = new Map<string, FaultProxy>();
  readonly #nodesByAddress = new Map<string, Party>();

  constructor(random: SeededRandom) {
    this.#random = random;
  }

  hostOf(): string {
    return host;
  }

  prefixOf(): readonly string[] {
    return [];
  }

  async open(links: readonly Link[]): Promise<void> {
    for (const link of links) {
      const { from, to, port } = link;
      const proxy = await FaultProxy.listen({
        target: { host, port },
        to,
        from: from === anyNode ? (bytes) => this.#senderOf(bytes) : from,
        way: (one, other) => this.#way(one, other),
      });
      this.#proxies.set(nameOf(link), proxy);
      if (from === anyNode) this.#nodesByAddress.set(`${host}:${proxy.port}`, to);
    }
  }

  addressOf(link: Link): string {
    const proxy = this.#proxies.get(nameOf(link));
    if (proxy === undefined) throw new Error(`There is no link from ${link.from} to port ${link.port} of ${link.to}.`);
    return `${host}:${proxy.port}`;
  }

  async cut(ways: readonly Way[]): Promise<void> {
    for (const { from, to } of ways) this.#way(from, to).cut();
  }

  async heal(ways: readonly Way[]): Promise<void> {
    for (const { from, to } of ways) this.#way(from, to).heal();
  }

  readonly slow = (ways: readonly Way[], slowness: Slowness): void => {
    for (const { from, to } of ways) this.#way(from, to).slow(slowness);
  };

  async healAll(): Promise<void> {
    for (const way of this.#ways.values()) way.heal();
  }

  async close(): Promise<void> {
    await Promise.all([...this.#proxies.values()].map((proxy) => proxy.close()));
  }

  #way(from: Party, to: Party): WayState {
    const name = `${from} ${to}`;
    let way = this.#ways.get(name);
    if (way === undefined) {
      way = new WayState(this.#random.fork(name));
      this.#ways.set(name, way);
    }
    return way;
  }

  #senderOf(bytes: Buffer): Party {
    const [, address = ""] = hello.exec(bytes.toString("latin1")) ?? [];
    // Whoever says nothing of the sort is turned away by the node itself.
    return this.#nodesByAddress.get(address) ?? "strangers";
  }
}

function nameOf({ from, to, port }: Link): string {
  return `${from} ${to} ${port}`;
}
