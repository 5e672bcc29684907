/** What carrying out one fault of a cluster needs: the world that it strikes, and what it leaves to be taken back. */
import type { SimulatedEngine } from "../engine/engine.ts";
import type { SimulatedNode } from "../host.ts";
import type { SimulatedNetwork } from "../network.ts";
import type { Scheduler } from "../scheduler.ts";
import type { ClusterFault, ClusterFaultEvent } from "./faults-plan.ts";

/** What only the simulated cluster itself can do. */
export interface ClusterHooks {
  /** Begins a new life of a node that is down. `codeChoice` asks for other code: any number, of which the cluster makes a version. */
  readonly start: (node: string, options: { readonly codeChoice: number | undefined }) => void;
  /** Ends a node's life in good order. Need not settle if the node dies meanwhile. */
  readonly stop: (node: string) => Promise<void>;
  /** Orders a planned move. `choice` is any number, of which the cluster makes a shard and a node. */
  readonly move: (choice: number) => void;
  /** How far two nodes at least have a durable copy of this log of the engine: 0 where no two have any of it. */
  readonly heldTwice: (log: string) => number;
}

/** What is struck. */
export interface ClusterWorld {
  readonly scheduler: Scheduler;
  readonly nodes: readonly SimulatedNode[];
  readonly network: SimulatedNetwork;
  readonly engine: SimulatedEngine;
  readonly hooks: ClusterHooks;
}

export interface StrikeContext extends ClusterWorld {
  node(name: string): SimulatedNode;
  /** Starts a node so much later, if it is down then and all isn't over. */
  startLater(node: SimulatedNode, options: { readonly afterMs: number; readonly codeChoice?: number }): void;
  /** Runs `callback` so much later, unless all is over by then. */
  later(afterMs: number, callback: () => void): void;
  /** Nodes that a fault is ending in good order now. */
  readonly stopping: Set<SimulatedNode>;
  /** The node whose wall clock is wild now: one at a time, for of three clocks that differ nobody knows which is right. */
  wild: SimulatedNode | undefined;
  /** Works out anew what goes wrong by chance, of all events that last now. */
  refreshRates(): void;
}

/** Takes a fault back. Idempotent where two of a kind can overlap. */
export type Undo = () => void;

/** Carries one event out. False if there was nothing to strike. */
export type Strike = (context: StrikeContext, event: ClusterFaultEvent) => Undo | boolean;

export type Strikes = { readonly [kind in ClusterFault]: Strike };
