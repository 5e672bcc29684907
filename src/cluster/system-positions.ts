/**
 * What nodes tell each other of their copies of the system log when it has to be repaired: how far each reaches, and whether that is
 * final. A node that is asked about a sealed log takes nothing more of it.
 */
import { OnefoldError } from "../base/errors.ts";
import type { Value } from "../base/value.ts";
import type { Peers } from "./peers.ts";
import { presentMembers, type SystemState } from "./system-state.ts";

/** Asked about the system log of this index, which is sealed. */
export interface SystemQuestion {
  readonly index: number;
}

export interface SystemPosition {
  /** The last record that is verified and durable there; 0 for none. */
  readonly sequence: number;
  /** It takes nothing more of the log that it was asked about, in this life. */
  readonly isFinal: boolean;
}

export interface ToldSystemPosition extends SystemPosition {
  readonly node: string;
}

/** How a node reaches the others. */
export interface SystemPeers {
  /** Nodes that have a member in the state, but for the node itself: names. A node's lives are one node. */
  others(state: SystemState): readonly string[];
  /** Those, and nodes of which the state tells that they are gone: they may have come back since, with more than this state. Names. */
  known(state: SystemState): readonly string[];
  /** What those of the known ones tell that answer. Never rejects for who does not. */
  ask(state: SystemState, question: SystemQuestion): Promise<readonly ToldSystemPosition[]>;
}

const method = "system.position";
const askMs = 1000;

/** Answers what other nodes ask. */
export function handleSystemPositions(
  peers: Peers,
  answer: (question: SystemQuestion) => Promise<SystemPosition>,
): void {
  peers.handle(method, async (body) => {
    const { sequence, isFinal } = await answer({ index: Number((body as { readonly index: number }).index) });
    return { sequence, isFinal };
  });
}

/** Asks over `peers`, as the node of this name. */
export function systemPeers(peers: Peers, self: string): SystemPeers {
  return {
    others: (state) => [...new Set(presentMembers(state).map(({ name }) => name))].filter((name) => name !== self),
    known: (state) => [...addresses(state, self).keys()],
    ask: async (state, { index }) => {
      const answers = await Promise.all(
        [...addresses(state, self)].map(async ([node, address]) => {
          try {
            return { node, ...decode(await peers.call(address, method, { index }, { deadlineMs: askMs })) };
          } catch (error) {
            if (error instanceof OnefoldError) return undefined;
            throw error;
          }
        }),
      );
      return answers.filter((told) => told !== undefined);
    },
  };
}

/** By name; of several lives the address of the last, before all of one that is not gone. */
function addresses(state: SystemState, self: string): ReadonlyMap<string, string> {
  const all = [...state.members.values()].map(({ name, address }) => [name, address] as const);
  const found = new Map([...all, ...presentMembers(state).map(({ name, address }) => [name, address] as const)]);
  found.delete(self);
  return found;
}

function decode(value: Value): SystemPosition {
  const { sequence, isFinal } = value as { readonly [name: string]: Value };
  return { sequence: Number(sequence), isFinal: isFinal === true };
}
