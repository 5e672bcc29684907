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

/**
 * Of two runs of `npm run sim:costs` on 2026-12-01 (two processors of a cloud machine that others used all the while, Node 20, nats-server
 * 2.15.1), about the middle; what they gave is behind each. A lone append cost 424 and 619: most of that is waking up.
 */
export const measuredCosts: ScalingCosts = {
  node: {
    // Assumed; a timer's turn does next to nothing, and what others do is in the rest.
    turnUs: 2,
    // Assumed from docs/performance.md: all of a call without a number over the socket, on a lone node, took 5.
    entryUs: 5,
    // 19.6, 14.7
    commandUs: 17,
    // 69, 73
    frameUs: 70,
    // 0.041, 0.058
    frameByteUs: 0.05,
    // 391, under load
    appendUs: 390,
    // Assumed: hashing, checksums and copies.
    appendByteUs: 0.01,
    // 187, 37: a small difference of large figures
    followUs: 110,
    // Assumed, as for an append.
    followByteUs: 0.01,
    // Assumed: a question and its answer, without a disk.
    questionUs: 100,
  },
  server: {
    // Assumed.
    processors: 2,
    // 17.6, 13.8: what the client's own server took more than another follower
    requestUs: 16,
    // 62, 48, of 64 under way
    leadUs: 55,
    // 37, 27
    followUs: 32,
    // Assumed.
    byteUs: 0.002,
    // 9, 0: a stream that is read from its beginning
    tellUs: 5,
    // docs/performance.md: one synced write took 0.12 to 0.15 ms on the idle machine.
    syncUs: 120,
  },
  wayMs: [0.05, 0.15],
};
