/** Faults of nodes: their processes, disks and clocks. */
import { SeededRandom } from "../../base/random.ts";
import type { SimulatedNode } from "../host.ts";
import { crashMoments } from "../life.ts";
import type { ClusterFault, ClusterFaultEvent } from "./faults-plan.ts";
import type { Strike, StrikeContext } from "./strike.ts";

/** A node that doesn't come to the operation at which it is to crash, crashes then. */
const crashWithinMs = 3000;
/** A node that hasn't stopped by then is killed. */
const stopWithinMs = 15_000;
const boundless = 2 ** 40;
const wildRatePpm = 50_000;

export type NodeFault = Extract<
  ClusterFault,
  | "node-crash"
  | "node-pause"
  | "node-restart"
  | "node-upgrade"
  | "full-disk"
  | "failed-sync"
  | "failed-write"
  | "failed-name"
  | "misdirected-write"
  | "bit-flip"
  | "clock-drift"
  | "clock-jump"
  | "wild-clock"
>;

/** Strikes the event's one node, if that is up. */
function atLiveNode(
  strike: (node: SimulatedNode, event: ClusterFaultEvent, context: StrikeContext) => ReturnType<Strike>,
): Strike {
  return (context, event) => {
    const node = context.node(event.targets[0]!);
    return node.alive && strike(node, event, context);
  };
}

/** Crashes the node if this life of it is still going on so much later. */
function killLater(node: SimulatedNode, context: StrikeContext, afterMs: number): void {
  let isOver = false;
  node.onDeath(() => {
    isOver = true;
  });
  context.later(afterMs, () => {
    if (!isOver) node.crash();
  });
}

function stopAndStart(
  node: SimulatedNode,
  context: StrikeContext,
  start: { readonly afterMs: number; readonly codeChoice?: number },
): boolean {
  if (context.stopping.has(node)) return false;
  context.stopping.add(node);
  node.onDeath(() => {
    context.stopping.delete(node);
    context.startLater(node, start);
  });
  killLater(node, context, stopWithinMs);
  context.hooks.stop(node.name).then(
    // One that has closed is let go by a crash, which has nothing left to lose.
    () => node.crash(),
    (error) =>
      context.scheduler.at(0, () => {
        throw error;
      }),
  );
  return true;
}

export const nodeStrikes: { readonly [kind in NodeFault]: Strike } = {
  "node-crash": atLiveNode((node, { amount, durationMs }, context) => {
    node.onDeath(() => context.startLater(node, { afterMs: durationMs }));
    node.crashAt(amount, { moment: crashMoments[amount % crashMoments.length]! });
    killLater(node, context, crashWithinMs);
    return true;
  }),
  "node-pause": atLiveNode((node) => {
    node.pause();
    return () => node.resume();
  }),
  "node-restart": atLiveNode((node, { durationMs }, context) => stopAndStart(node, context, { afterMs: durationMs })),
  "node-upgrade": atLiveNode((node, { durationMs, amount }, context) =>
    stopAndStart(node, context, { afterMs: durationMs, codeChoice: amount }),
  ),
  "full-disk": ({ node: find }, { targets, amount }) => {
    const { disk } = find(targets[0]!);
    disk.capacityBytes = disk.usedBytes + amount;
    return () => {
      disk.capacityBytes = boundless;
    };
  },
  "failed-sync": atLiveNode((node, { amount }) => {
    node.disk.failNext("sync", amount);
    return true;
  }),
  "failed-write": atLiveNode((node, { amount }) => {
    node.disk.failNext("write", amount);
    return true;
  }),
  "failed-name": atLiveNode((node, { amount }) => {
    node.disk.failNext("name", amount);
    return true;
  }),
  "misdirected-write": atLiveNode((node, { amount }) => {
    node.disk.misdirectNext(amount);
    return true;
  }),
  "bit-flip": ({ node: find }, { targets, amount }) => {
    const { disk } = find(targets[0]!);
    const random = new SeededRandom(amount);
    const paths = disk.paths().filter((path) => disk.fileSizeBytes(path) > 0);
    if (paths.length === 0) return false;
    const path = random.pick(paths);
    // Most of a preallocated file is zeros that mean nothing.
    const usedBytes = disk.content(path).findLastIndex((byte) => byte !== 0) + 1;
    disk.flip(path, random.integer(8 * (usedBytes === 0 ? disk.fileSizeBytes(path) : usedBytes)));
    return true;
  },
  "clock-drift": ({ node: find }, { targets, amount }) => {
    const node = find(targets[0]!);
    node.drift(amount);
    return () => node.drift(0);
  },
  "clock-jump": ({ node: find }, { targets, amount }) => {
    find(targets[0]!).jumpWall(amount);
    return true;
  },
  "wild-clock": (context, { targets, amount }) => {
    if (context.wild !== undefined) return false;
    const node = context.node(targets[0]!);
    context.wild = node;
    node.jumpWall(amount);
    node.drift(Math.sign(amount) * wildRatePpm);
    return () => {
      context.wild = undefined;
      node.jumpWall(-amount);
      node.drift(0);
    };
  },
};
