/** Nodes of one test that ask each other of their copies of the system log without a network between them. */
import type { SystemLog } from "./system-log.ts";
import type { SystemPeers } from "./system-positions.ts";

export class FakeSystemPeers {
  readonly #nodes = new Map<string, { readonly log: SystemLog; readonly isReachable: () => boolean }>();

  /** This life of the node answers, while it is reachable. */
  join(node: string, log: SystemLog, isReachable: () => boolean): void {
    this.#nodes.set(node, { log, isReachable });
  }

  /** As the node of this name has it. All that ever joined count as members, whatever the state says. */
  of(self: string): SystemPeers {
    const others = () => [...this.#nodes].filter(([node]) => node !== self);
    return {
      others: () => others().map(([node]) => node),
      known: () => others().map(([node]) => node),
      ask: async (_state, question) => {
        const reachable = others().filter(([, { isReachable }]) => isReachable());
        return Promise.all(reachable.map(async ([node, { log }]) => ({ node, ...(await log.stopAt(question)) })));
      },
    };
  }
}
