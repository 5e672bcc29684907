/**
 * What the simulation of scaling charges processors with: microseconds of one processor, but where another unit is named. Every figure is
 * measured or assumed, and says which; `npm run sim:costs` measures those of nodes and servers again. Another machine has others: what
 * they say together is where the limits lie, and less how high.
 */

export interface NodeCosts {
  /** Of a node's event loop: to take one turn, whatever it does. */
  readonly turnUs: number;
  /** A client's call at the node it comes to: taken off the socket, and its answer put on it. */
  readonly entryUs: number;
  /** A command that a shard's owner runs: checked, run, encoded, put in a batch, answered. */
  readonly commandUs: number;
  /** A frame to or from another node, whatever is in it. */
  readonly frameUs: number;
  /** A byte of such a frame, at each end: calls in it are encoded and decoded. */
  readonly frameByteUs: number;
  /** A record that an owner appends: chained, sent to the engine, written to the own copy, settled. */
  readonly appendUs: number;
  readonly appendByteUs: number;
  /** A record that a node follows: taken from the engine, verified, written, folded. */
  readonly followUs: number;
  readonly followByteUs: number;
  /** Any other question to the engine. */
  readonly questionUs: number;
}

export interface ServerCosts {
  /** Processors of one server of the engine. */
  readonly processors: number;
  /** A request of a client, at the server that it is connected to. */
  readonly requestUs: number;
  /** A record at the leader of its stream, and at each follower. */
  readonly leadUs: number;
  readonly followUs: number;
  /** A byte of a record at any of them. */
  readonly byteUs: number;
  /** A record that is told to one client. */
  readonly tellUs: number;
  /** One synced write. A server's disk takes them one after the other. */
  readonly syncUs: number;
}

export interface ScalingCosts {
  readonly node: NodeCosts;
  readonly server: ServerCosts;
  /** One way between two machines, uniform between the two: assumed, as within a data centre. */
  readonly wayMs: readonly [number, number];
}

export const measuredCosts: ScalingCosts = {
  node: {
    turnUs: 5,
    entryUs: 8,
    commandUs: 12,
    frameUs: 30,
    frameByteUs: 0.02,
    appendUs: 150,
    appendByteUs: 0.01,
    followUs: 100,
    followByteUs: 0.01,
    questionUs: 60,
  },
  server: {
    processors: 2,
    requestUs: 4,
    leadUs: 12,
    followUs: 6,
    byteUs: 0.002,
    tellUs: 4,
    syncUs: 120,
  },
  wayMs: [0.05, 0.15],
};
