/**
 * A simulated network: all nodes' messages, on one scheduler and from one seed. It does what the port's contract allows and
 * a real network does seldom: delays, loses, repeats and reorders messages, cuts and clogs the ways between nodes. A node
 * is the host of its addresses; nothing befalls what a node sends to itself.
 *
 * W1  On a reliable link messages arrive once and in order; only a fault that is counted makes it otherwise.
 * W2  A cut loses what is sent or arrives while it stands. A clog holds what arrives, and lets it go in order once it is
 *     cleared, as a connection does that stalls and recovers. So a healed network may deliver what is very old.
 * W3  A crash loses what its node has received and not yet taken, and of all else that is under way from or to it, nothing,
 *     some or all, as the seed says. What survives arrives: also from the dead, also at the node's next life.
 */
import { assert } from "../base/assert.ts";
import type { SeededRandom } from "../base/random.ts";
import { type NetworkLimits, type Network, networkLimits, parseAddress } from "../host/network.ts";
import { FaultCounts, type FaultKind } from "./faults.ts";
import type { NodeLife } from "./life.ts";
import { Link, type LinkBehaviour, type Passage, reliableLink } from "./link.ts";
import { type LiveEndpoint, LiveNetwork } from "./live-network.ts";
import { obstructs, type Obstruction } from "./obstruction.ts";
import type { Scheduled, Scheduler } from "./scheduler.ts";

/** What is in a way. Goes on until it is cleared; clearing is idempotent. */
export interface Obstacle {
  clear(): void;
}

/** One message, or one copy of it, under way. */
interface Flight {
  readonly from: string;
  readonly to: string;
  readonly fromNode: string;
  readonly toNode: string;
  readonly message: Uint8Array;
  readonly link: Link;
  readonly number: number;
  /** A copy has none: it is the network's own doing. */
  readonly passage: Passage | undefined;
  /** It is there, and waits for a paused node to take it. */
  hasArrived: boolean;
  wasHeld: boolean;
}

export interface SimulatedNetworkOptions {
  readonly scheduler: Scheduler;
  readonly random: SeededRandom;
  readonly counts?: FaultCounts;
  readonly limits?: Partial<NetworkLimits>;
}

export class SimulatedNetwork {
  /** Of all links that have none of their own (`behave`), from now on. */
  behaviour: LinkBehaviour = reliableLink;
  readonly counts: FaultCounts;
  readonly limits: NetworkLimits;
  readonly scheduler: Scheduler;
  readonly #delays: SeededRandom;
  readonly #faults: SeededRandom;
  readonly #crashes: SeededRandom;
  readonly #behaviours = new Map<string, LinkBehaviour>();
  readonly #links = new Map<string, Link>();
  readonly #lives = new Map<string, NodeLife>();
  readonly #endpoints = new Map<string, LiveEndpoint>();
  readonly #obstructions = new Set<Obstruction>();
  /** Clogs to come. */
  readonly #swizzling = new Set<Scheduled>();
  readonly #watchers: (() => void)[] = [];
  /** In order of sending. */
  readonly #flights = new Set<Flight>();
  /** Those of them that a clog holds, in order of arrival. */
  #held: Flight[] = [];

  constructor(options: SimulatedNetworkOptions) {
    this.scheduler = options.scheduler;
    this.counts = options.counts ?? new FaultCounts();
    this.limits = { ...networkLimits, ...options.limits };
    this.#delays = options.random.fork("delays");
    this.#faults = options.random.fork("faults");
    this.#crashes = options.random.fork("crashes");
  }

  /** Messages that are under way, copies and held ones included. */
  get underWayCount(): number {
    return this.#flights.size;
  }

  /** The network as one life of the node called `node` has it. One life of a node at a time. */
  attach(node: string, life: NodeLife): Network {
    assert(this.#lives.get(node)?.alive !== true, `${node} is attached; crash it first`);
    this.#lives.set(node, life);
    life.onEnd(() => this.#settleCrash(node));
    return new LiveNetwork(this, node, life);
  }

  // ------------------------------------------------------------------------------------------------------- faults

  /** Gives the link from one node to another a behaviour of its own. */
  behave(link: { readonly from: string; readonly to: string }, behaviour: LinkBehaviour): void {
    this.#behaviours.set(linkKey(link.from, link.to), behaviour);
  }

  /** Cuts or clogs ways, one-way or both. Several can lie over one another; a cut prevails. */
  obstruct(obstruction: Obstruction): Obstacle {
    const own = { ...obstruction };
    this.#obstructions.add(own);
    this.scheduler.note(`${own.kind} from ${own.from} to ${own.to ?? "the others"}`);
    this.#tell();
    return {
      clear: () => {
        if (!this.#obstructions.delete(own)) return;
        this.#release();
        this.#tell();
      },
    };
  }

  /**
   * What is in the way from one host to another now. For worlds that keep hosts of their own on this network, such as the engine's
   * servers: they don't send messages, and obstructions are in their way all the same.
   */
  way(from: string, to: string): Obstruction["kind"] | undefined {
    return this.#obstruction(from, to);
  }

  /** Calls `watcher` whenever obstructions have changed. */
  watchWays(watcher: () => void): void {
    this.#watchers.push(watcher);
  }

  #tell(): void {
    for (const watcher of this.#watchers) watcher();
  }

  /**
   * Clogs all ways of each of `nodes`, one by one at random moments of the first half of `durationMs`, and clears them in another
   * order in the second half. FoundationDB's testing found that such swizzling shows faults that partitions at once don't.
   */
  swizzle(nodes: readonly string[], durationMs: number): void {
    for (const node of nodes) {
      const halfMs = durationMs / 2;
      let obstacle: Obstacle | undefined;
      this.#swizzling.add(
        this.scheduler.at(this.#faults.next() * halfMs, () => {
          obstacle = this.obstruct({ kind: "clog", from: [node], isBothWays: true });
        }),
      );
      this.scheduler.at(halfMs + this.#faults.next() * halfMs, () => obstacle?.clear());
    }
  }

  /** From now on nothing fails: no obstructions, no swizzling, every link reliable. What was held goes on its way. */
  heal(): void {
    this.behaviour = reliableLink;
    this.#behaviours.clear();
    this.#obstructions.clear();
    for (const clogging of this.#swizzling) clogging.cancel();
    this.#swizzling.clear();
    this.#release();
    this.#tell();
  }

  #release(): void {
    const held = this.#held;
    this.#held = [];
    for (const flight of held) this.scheduler.at(0, () => this.#arrive(flight));
  }

  #obstruction(fromNode: string, toNode: string): Obstruction["kind"] | undefined {
    if (fromNode === toNode) return undefined;
    let found: Obstruction["kind"] | undefined;
    for (const each of this.#obstructions) {
      if (!obstructs(each, fromNode, toNode)) continue;
      if (each.kind === "cut") return "cut";
      found = each.kind;
    }
    return found;
  }

  #settleCrash(node: string): void {
    for (const [address, endpoint] of this.#endpoints) {
      if (endpoint.node === node) this.forget(address);
    }
    const survival = this.#crashes.pick([0, 0.5, 1]);
    for (const flight of this.#flights) {
      if (flight.fromNode !== node && flight.toNode !== node) continue;
      // What a node has received is its own: lost with it, and with nobody else.
      const survives = flight.hasArrived ? flight.toNode !== node : this.#crashes.chance(survival);
      if (!survives) this.#lose(flight, "lost-message");
    }
  }

  #lose(flight: Flight, kind: FaultKind): void {
    this.#leave(flight);
    this.counts.add(kind);
  }

  // ----------------------------------------------------------------------------------------- for `live-network.ts` only

  endpoint(address: string): LiveEndpoint | undefined {
    return this.#endpoints.get(address);
  }

  addEndpoint(endpoint: LiveEndpoint): void {
    assert(!this.#endpoints.has(endpoint.address), "an address has one endpoint");
    this.#endpoints.set(endpoint.address, endpoint);
  }

  /** The endpoint is closed: the next one at its address begins with new links. */
  forget(address: string): void {
    this.#endpoints.delete(address);
    for (const key of [...this.#links.keys()]) if (key.split(">").includes(address)) this.#links.delete(key);
  }

  /** What counts against the limit of this link now. */
  underWayBytes(from: string, to: string): number {
    return this.#links.get(linkKey(from, to))?.underWayBytes(this.scheduler.nowMs, this.limits.networkAnswerMs) ?? 0;
  }

  /** Sends a message that has room. */
  transmit(from: LiveEndpoint, to: string, message: Uint8Array, countedBytes: number): void {
    const fromNode = from.node;
    const toNode = parseAddress(to).host;
    const link = this.#link(from.address, to);
    const number = link.nextNumber();
    const isLocal = fromNode === toNode;
    const behaviour = isLocal ? reliableLink : (this.#behaviours.get(linkKey(fromNode, toNode)) ?? this.behaviour);
    if (this.#obstruction(fromNode, toNode) === "cut") {
      this.counts.add("cut-message");
      return;
    }
    if (this.#faults.chance(behaviour.loss)) {
      this.counts.add("lost-message");
      return;
    }
    const isDuplicated = this.#faults.chance(behaviour.duplication);
    const isReordered = this.#faults.chance(behaviour.reordering);
    const isLate = !isReordered && this.#faults.chance(behaviour.lateness);
    if (isLate) this.counts.add("delayed-message");

    const common = { from: from.address, to, fromNode, toNode, message, link, number };
    const { nowMs } = this.scheduler;
    const alone = nowMs + this.#delayMs(behaviour, isLate || isReordered);
    const passage = link.enter(nowMs, countedBytes);
    this.#depart({ ...common, passage, hasArrived: false, wasHeld: false }, isReordered ? alone : link.inOrder(alone));
    if (!isDuplicated) return;
    const copyMs = nowMs + this.#delayMs(behaviour, true);
    this.#depart({ ...common, passage: undefined, hasArrived: false, wasHeld: false }, copyMs);
  }

  #link(from: string, to: string): Link {
    const key = linkKey(from, to);
    let link = this.#links.get(key);
    if (link === undefined) {
      link = new Link();
      this.#links.set(key, link);
    }
    return link;
  }

  #delayMs({ delayMs: [minMs, maxMs], latenessMsMax }: LinkBehaviour, isLate: boolean): number {
    const latenessMs = isLate ? this.#delays.next() * latenessMsMax : 0;
    return minMs + this.#delays.next() * (maxMs - minMs) + latenessMs;
  }

  // ------------------------------------------------------------------------------------------------------ under way

  #depart(flight: Flight, arrivalMs: number): void {
    this.#flights.add(flight);
    // Rounding may put the moment a little before now.
    this.scheduler.at(Math.max(0, arrivalMs - this.scheduler.nowMs), () => this.#arrive(flight));
  }

  #leave(flight: Flight): void {
    if (!this.#flights.delete(flight) || flight.passage === undefined) return;
    flight.link.leave(this.scheduler.nowMs, flight.passage);
  }

  #arrive(flight: Flight): void {
    if (!this.#flights.has(flight)) return;
    const obstruction = this.#obstruction(flight.fromNode, flight.toNode);
    if (obstruction === "cut") {
      this.#lose(flight, "cut-message");
      return;
    }
    if (obstruction === "clog") {
      this.#held.push(flight);
      if (!flight.wasHeld) this.counts.add("clogged-message");
      flight.wasHeld = true;
      return;
    }
    const receiver = this.#endpoints.get(flight.to);
    if (receiver === undefined) {
      // Nobody listens there: no fault of the network's.
      this.#leave(flight);
      return;
    }
    flight.hasArrived = true;
    receiver.life.whenAwake(() => this.#deliver(flight, receiver));
  }

  #deliver(flight: Flight, receiver: LiveEndpoint): void {
    const { from, to, message, number, link } = flight;
    this.#leave(flight);
    // What a copy overtakes was not reordered.
    if (flight.passage === undefined) this.counts.add("duplicated-message");
    else if (link.wasOvertaken(number)) this.counts.add("reordered-message");
    this.scheduler.note(`${from} > ${to} #${number}, ${message.length} bytes`);
    receiver.take(message.slice(), from);
  }
}

function linkKey(from: string, to: string): string {
  return `${from}>${to}`;
}
