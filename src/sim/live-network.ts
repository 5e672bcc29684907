/**
 * A simulated network as one life of a node has it. Once the life has ended, nothing that is sent here leaves, and nothing
 * that was awaited settles.
 */
import {
  assertRoom,
  type Endpoint,
  type Network,
  NetworkError,
  parseAddress,
  queuedBytes,
  type Receive,
} from "../host/network.ts";
import type { NodeLife } from "./life.ts";
import type { SimulatedNetwork } from "./network.ts";

/** What listening and closing take. */
const operationMs = 0.05;
/** Ports from here on are chosen where none is asked for. */
const chosenPortMin = 49_152;

export class LiveNetwork implements Network {
  readonly #network: SimulatedNetwork;
  readonly #node: string;
  readonly #life: NodeLife;

  constructor(network: SimulatedNetwork, node: string, life: NodeLife) {
    this.#network = network;
    this.#node = node;
    this.#life = life;
  }

  async listen(address: string, receive: Receive): Promise<Endpoint> {
    const { host, port } = parseAddress(address, { allowsAnyPort: true });
    return operate(this.#network, this.#life, () => {
      if (host !== this.#node) throw new NetworkError("failed", `${host} is no address of ${this.#node}`);
      const chosen = `${host}:${port === 0 ? this.#freePort() : port}`;
      if (this.#network.endpoint(chosen) !== undefined) {
        throw new NetworkError("address-in-use", `somebody listens on ${chosen} already`);
      }
      const options = { address: chosen, node: host, life: this.#life, receive };
      const endpoint = new LiveEndpoint(this.#network, options);
      this.#network.addEndpoint(endpoint);
      return endpoint;
    });
  }

  #freePort(): number {
    let port = chosenPortMin;
    while (this.#network.endpoint(`${this.#node}:${port}`) !== undefined) port++;
    return port;
  }
}

export interface LiveEndpointOptions {
  readonly address: string;
  readonly node: string;
  readonly life: NodeLife;
  readonly receive: Receive;
}

export class LiveEndpoint implements Endpoint {
  readonly address: string;
  readonly node: string;
  readonly life: NodeLife;
  readonly #network: SimulatedNetwork;
  readonly #receive: Receive;
  #closing: Promise<void> | undefined;

  constructor(network: SimulatedNetwork, options: LiveEndpointOptions) {
    this.#network = network;
    this.address = options.address;
    this.node = options.node;
    this.life = options.life;
    this.#receive = options.receive;
  }

  send(to: string, message: Uint8Array): void {
    if (this.#closing !== undefined) throw new NetworkError("closed", `${this.address} is closed`);
    parseAddress(to);
    assertRoom(message, this.#network.underWayBytes(this.address, to), this.#network.limits);
    if (!this.life.alive) return;
    const moment = this.life.count();
    // Of a message that leaves during a crash, the crash decides; one that left before it is on its way for sure.
    if (moment === "before" || moment === "after") this.life.end();
    if (moment === "before") return;
    this.#network.transmit(this, to, message.slice(), queuedBytes(message.length));
    if (moment === "during") this.life.end();
  }

  /** For the network: a message is there. */
  take(message: Uint8Array, from: string): void {
    if (this.#closing !== undefined) return;
    const moment = this.life.count();
    if (moment === "before" || moment === "during") {
      this.life.end();
      return;
    }
    this.#receive(message, from);
    if (moment === "after") this.life.end();
  }

  close(): Promise<void> {
    this.#closing ??= operate(this.#network, this.life, () => this.#network.forget(this.address));
    return this.#closing;
  }
}

/** One awaited operation of a life: it settles a little later, or never if the life has ended by then. */
function operate<T>(network: SimulatedNetwork, life: NodeLife, effect: () => T): Promise<T> {
  return new Promise((resolve, reject) => {
    if (!life.alive) return;
    const moment = life.count();
    if (moment === "before" || moment === "during") {
      life.end();
      return;
    }
    network.scheduler.at(operationMs, () => {
      if (!life.alive) return;
      let settle: () => void;
      try {
        const result = effect();
        settle = () => resolve(result);
      } catch (error) {
        if (!(error instanceof NetworkError)) throw error;
        settle = () => reject(error);
      }
      if (moment === "after") life.end();
      else life.whenAwake(settle);
    });
  });
}
