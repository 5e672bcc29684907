/**
 * Regimes of the simulated cluster: small and quick, each with the faults that bring out one sort of mistake, and all of them, where a run
 * of the whole drill chooses of all kinds and has most of its time for others.
 */
import { SeededRandom } from "../../src/base/random.ts";
import {
  type ClusterFault,
  type ClusterFaultEvent,
  type ClusterFaultsPlan,
  makeClusterFaultsPlan,
} from "../../src/sim/cluster/faults-plan.ts";
import type { ClusterSimulationOptions } from "../../src/sim/cluster/simulate-cluster.ts";

/** Of the simulated cluster and its engine. */
const nodes = ["n1", "n2", "n3"];
const servers = ["e1", "e2", "e3"];

type Options = Omit<ClusterSimulationOptions, "seed" | "kinds" | "plan">;

export interface Regime {
  readonly options: Options;
  readonly plan: (seed: string) => ClusterFaultsPlan;
}

const base = { nodeCount: 3, shardCount: 2, clientCount: 4, durationMs: 4000, thinkMs: 30 } as const;

/** Of these kinds all, one event each `betweenMs` on average. */
function random(kinds: readonly ClusterFault[], betweenMs: number, options: Options = {}): Regime {
  const merged = { ...base, ...options };
  return {
    options: merged,
    plan: (seed) =>
      makeClusterFaultsPlan(new SeededRandom(`plan ${seed}`), {
        nodes,
        servers,
        durationMs: merged.durationMs,
        betweenMs,
        kinds,
        probability: 1,
      }),
  };
}

/** A plan that is written by hand, but for what the seed varies. */
function written(events: (random: SeededRandom) => readonly ClusterFaultEvent[], options: Options = {}): Regime {
  return {
    options: { ...base, ...options },
    plan: (seed) => {
      const all = [...events(new SeededRandom(`plan ${seed}`))].sort((a, b) => a.atMs - b.atMs);
      return { kinds: [...new Set(all.map(({ kind }) => kind))], events: all };
    },
  };
}

function event(kind: ClusterFault, atMs: number, parts: Partial<ClusterFaultEvent> = {}): ClusterFaultEvent {
  return { kind, atMs, durationMs: 0, targets: [], amount: 0, ...parts };
}

/** More transactions than not have participants elsewhere, and many are under way whenever something happens. */
const crowd = { shardCount: 4, clientCount: 16, thinkMs: 5 } as const;

export const regimes = {
  /** Nothing goes wrong. */
  calm: random([], 1, { durationMs: 3000, thinkMs: 10 }),
  /** Owners change, in good order. */
  moves: random(["planned-move"], 150, { thinkMs: 20, durationMs: 3000 }),
  /** Nodes are upgraded one by one, while shards move. */
  upgrades: random(["node-upgrade", "planned-move"], 500, { thinkMs: 20, durationMs: 5000 }),
  /** Owners die under a crowd. */
  crashes: random(["node-crash", "message-delay"], 300, { ...crowd, durationMs: 5000 }),
  /** Owners die, others are given what they had, and what they send each other comes late, twice, or not. */
  "crashes and losses": random(
    ["node-crash", "message-delay", "message-loss", "message-duplication", "planned-move"],
    200,
    { ...crowd, durationMs: 5000 },
  ),
  /** Nodes can't hear each other, and owners change. */
  "cut peers": random(["cut-peers", "node-crash", "message-delay", "message-loss"], 300, {
    ...crowd,
    durationMs: 5000,
  }),
  /** Messages come late, twice, out of order, or not. */
  messages: random(["message-delay", "message-loss", "message-duplication", "message-reordering"], 300, crowd),
  /** Many at once, and what they hold is held for long. */
  crowd: random(["message-delay"], 300, crowd),
  /** The engine does not say what became of appends, or says wrong things that it may say. */
  doubt: random(["ambiguous-appends", "late-appends", "false-refusals", "stale-reads", "planned-move"], 300),
  /** Owners are away and come back as zombies: paused, cut off from the engine, or its answers don't reach them. */
  zombies: written(
    (choices) =>
      Array.from({ length: 2 }, (_, index) => {
        const kind = choices.pick(["node-pause", "cut-engine", "cut-engine"] as const);
        const durationMs = choices.between(1000, 3000);
        return event(kind, 300 + index * 3000, { targets: [choices.pick(nodes)], durationMs });
      }),
    { durationMs: 6000, thinkMs: 10, clientCount: 6 },
  ),
  /** Owners lose the engine in the middle of appends, while a crowd asks: most of it is soon stuck there, the rest meets the zombies. */
  "zombie reads": written(
    (choices) =>
      Array.from({ length: 2 }, (_, index) =>
        event("cut-engine", 300 + index * 3000, { targets: [choices.pick(nodes)], durationMs: 2500 }),
      ),
    { durationMs: 6000, thinkMs: 150, clientCount: 60 },
  ),
  /** Servers of the engine fail, and elections follow. */
  elections: random(["server-crash", "server-pause", "server-stop"], 1500, { durationMs: 10_000 }),
  /** Tails are poor, and reads are behind. */
  tails: random(["tail-skips", "tail-repeats", "tail-silences", "tail-ends", "stale-reads", "planned-move"], 300),
  /** What the engine keeps is damaged. */
  "damaged engine": random(["engine-hole", "engine-bit-flip", "misdirected-record", "planned-move"], 250),
  /** The engine forgets what it had acknowledged, while nodes come and go. */
  rollback: written(
    (choices) => [
      ...[1000, 2500, 4000].map((atMs) =>
        event("engine-rollback", atMs, { amount: choices.between(0, 1e9), durationMs: 3000 }),
      ),
      event("node-crash", 1000 + choices.between(0, 800), {
        targets: [choices.pick(nodes)],
        amount: 1,
        durationMs: 500,
      }),
      event("node-crash", 3000 + choices.between(0, 800), {
        targets: [choices.pick(nodes)],
        amount: 1,
        durationMs: 500,
      }),
    ],
    { durationMs: 5000 },
  ),
  /** Wall clocks are wrong. */
  clocks: random(["wild-clock", "clock-jump", "planned-move"], 300),
  /** Disks of nodes fail, and nodes die. */
  disks: random(["failed-sync", "failed-write", "full-disk", "node-crash"], 500, { durationMs: 5000 }),
  /** Snapshots are many, logs are trimmed, and nodes that were away need them. */
  snapshots: written(
    (choices) =>
      Array.from({ length: 3 }, (_, index) =>
        event("node-crash", 1500 + index * 3500, {
          targets: [nodes[(index + choices.integer(3)) % 3]!],
          amount: 1,
          durationMs: 2500,
        }),
      ),
    { durationMs: 12_000, thinkMs: 15, snapshotBytes: 8 * 1024 },
  ),
} as const satisfies { readonly [name: string]: Regime };

export type RegimeName = keyof typeof regimes;
