/**
 * The network between the parties of a run, as what may be wrong with it: one state for each direction between two of them.
 *
 * LI1 A cut way lets nothing through from the moment on in which `cut` has resolved; nothing else is changed by it.
 * LI2 `healAll` leaves every way as it was at the start.
 */

/** A node `n1`, a server of the engine `e1`, or `clients`. */
export type Party = string;

export const clients: Party = "clients";

export interface Way {
  readonly from: Party;
  readonly to: Party;
}

export interface Slowness {
  readonly delayMs: number;
  /** How likely a piece of bytes counts as lost: it and all behind it arrive a retransmission later. */
  readonly lossRate: number;
}

/** Any node, as one that comes to another: nodes know one another by one address each. */
export const anyNode: Party = "nodes";

/** `from` connects to the `port` on which `to` listens. */
export interface Link extends Way {
  readonly port: number;
}

export interface RunNetwork {
  /** For the report: `loopback` or `namespaces`. */
  readonly kind: string;
  /** Where the party listens. */
  hostOf(party: Party): string;
  /** Makes the links ready to be used. Once. */
  open(links: readonly Link[]): Promise<void>;
  /** `host:port` by which a link is used. */
  addressOf(link: Link): string;
  /** Words in front of a command that make it run where the party is. */
  prefixOf(party: Party): readonly string[];
  cut(ways: readonly Way[]): Promise<void>;
  heal(ways: readonly Way[]): Promise<void>;
  /** Undefined where this network can't. */
  readonly slow: ((ways: readonly Way[], slowness: Slowness) => void) | undefined;
  healAll(): Promise<void>;
  close(): Promise<void>;
}

/** Both directions between each party of one side and each of the other. */
export function between(one: readonly Party[], other: readonly Party[]): readonly Way[] {
  return one.flatMap((from) =>
    other.flatMap((to) => [
      { from, to },
      { from: to, to: from },
    ]),
  );
}
