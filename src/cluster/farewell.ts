/**
 * A node that leaves in good order listens until the others have read that it is gone: what they sent before is answered as not its own
 * any more, which is safe to send again, and nothing is lost with its life. Nor is anything sent to that life when the node has another one.
 */
import { OnefoldError } from "../base/errors.ts";
import type { Host } from "../host/host.ts";
import type { NetworkPeers } from "./network-peers.ts";
import type { Peers } from "./peers.ts";
import type { SystemLog } from "./system-log.ts";
import { presentMembers } from "./system-state.ts";

const method = "system.reached";
/** Whoever has not read it by then is not waited for: it is slow, or away. */
const farewellMs = 1000;

/** Answers another node as soon as this one has read the system log up to where it asks. */
export function handleFarewells(peers: NetworkPeers, systemLog: SystemLog, { timers }: Pick<Host, "timers">): void {
  peers.handle(method, async (body, { address }) => {
    const sequence = Number((body as { readonly sequence: number }).sequence);
    if (systemLog.state.sequence < sequence) await reach(systemLog, sequence, timers);
    peers.endsLife(address);
    return null;
  });
}

/** Resolves when all other members that answer have read what this node has, in `farewellMs` at the latest. */
export async function sayFarewell(peers: Peers, { state }: SystemLog): Promise<void> {
  const { sequence } = state;
  await Promise.all(
    presentMembers(state).map(async ({ address }) => {
      if (address === peers.address) return;
      try {
        await peers.call(address, method, { sequence }, { deadlineMs: farewellMs });
      } catch (error) {
        if (!(error instanceof OnefoldError)) throw error;
      }
    }),
  );
}

async function reach(systemLog: SystemLog, sequence: number, timers: Host["timers"]): Promise<void> {
  await new Promise<void>((resolve) => {
    const end = (): void => {
      timer.cancel();
      stopListening();
      resolve();
    };
    const timer = timers.after(farewellMs, end);
    const stopListening = systemLog.onChange((state) => {
      if (state.sequence >= sequence) end();
    });
  });
}
