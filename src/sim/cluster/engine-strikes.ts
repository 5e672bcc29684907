/**
 * Faults of the engine: its servers, what it answers by chance, and damage to what it keeps.
 *
 * Damage strikes what two nodes have a copy of: an engine that loses what a majority had synced is one failure, and that the only node
 * which has it is away at the same time another. Nobody could know of what is lost then.
 */
import { SeededRandom } from "../../base/random.ts";
import type { SimulatedEngine } from "../engine/engine.ts";
import type { ReplicaGroup } from "../engine/replica-group.ts";
import type { ClusterFault } from "./faults-plan.ts";
import type { RateFault } from "./rates.ts";
import type { Strike, StrikeContext } from "./strike.ts";

export type EngineFault = Extract<
  ClusterFault,
  | "server-crash"
  | "server-stop"
  | "server-pause"
  | "server-lag"
  | "quorum-loss"
  | "engine-hole"
  | "engine-bit-flip"
  | "misdirected-record"
  | "engine-rollback"
  | "vanished-log"
  | "blob-damage"
>;

/** The newest records are what nodes read most. */
const recentRecords = 50;

interface Chosen {
  readonly random: SeededRandom;
  readonly log: string;
  readonly group: ReplicaGroup;
  /** Of a record that the log has, a new one half of the time. */
  readonly sequence: number;
  /** The last one that may be damaged with it. */
  readonly last: number;
}

/** A log and one of its records. */
function choose({ engine, hooks }: StrikeContext, choice: number): Chosen | undefined {
  const random = new SeededRandom(choice);
  const filled = engine.logNames.filter((name) => (engine.group(name)?.leader?.commit ?? 0) > 0);
  if (filled.length === 0) return undefined;
  const log = random.pick(filled);
  const group = engine.group(log)!;
  const { first, commit } = group.leader!;
  const last = Math.min(commit, hooks.heldTwice(log));
  if (last < first) return undefined;
  const from = random.chance(0.5) ? first : Math.max(first, last - recentRecords);
  return { random, log, group, sequence: random.between(from, last), last };
}

/** Damages one record of one log, on the leader's replica half of the time. */
function toRecord(damage: (engine: SimulatedEngine, chosen: Chosen & { readonly server: string }) => boolean): Strike {
  return (context, { amount }) => {
    const { engine } = context;
    const chosen = choose(context, amount);
    if (chosen === undefined) return false;
    const { random, group } = chosen;
    const server = random.chance(0.5) ? group.leader!.server : random.pick(group.replicas).server;
    return damage(engine, { ...chosen, server });
  };
}

const byChance: Strike = ({ refreshRates }) => {
  refreshRates();
  return refreshRates;
};

export const engineStrikes: { readonly [kind in EngineFault | RateFault]: Strike } = {
  "server-crash": ({ engine }, { targets }) => {
    engine.crashServer(targets[0]!);
    return () => engine.restartServer(targets[0]!);
  },
  "server-stop": ({ engine }, { targets }) => {
    engine.stopServer(targets[0]!);
    return () => engine.restartServer(targets[0]!);
  },
  "server-pause": ({ engine }, { targets }) => {
    engine.pauseServer(targets[0]!);
    return () => engine.resumeServer(targets[0]!);
  },
  "server-lag": ({ engine }, { targets }) => {
    engine.lagServer(targets[0]!, true);
    return () => engine.lagServer(targets[0]!, false);
  },
  "quorum-loss": ({ engine }, { targets }) => {
    for (const server of targets) engine.crashServer(server);
    return () => {
      for (const server of targets) engine.restartServer(server);
    };
  },
  "engine-hole": toRecord((engine, { random, log, sequence, last, server }) =>
    engine.damage.hole({ log, sequence, toSequence: Math.min(last, sequence + random.pick([0, 0, 5, 500])), server }),
  ),
  "engine-bit-flip": toRecord((engine, { random, log, sequence, server }) =>
    engine.damage.flip({ log, sequence, server, bit: random.integer(1_000_000) }),
  ),
  "misdirected-record": toRecord((engine, { random, log, sequence, server, group }) => {
    const { first, commit } = group.leader!;
    const fromSequence = sequence === first ? commit : random.between(first, sequence - 1);
    return engine.damage.misdirect({ log, sequence, fromSequence, server });
  }),
  "engine-rollback": (context, { amount, durationMs }) => {
    const chosen = choose(context, amount);
    // All that comes behind goes with it.
    if (chosen === undefined || chosen.last < chosen.group.leader!.commit) return false;
    return context.engine.damage.rollback({ log: chosen.log, toSequence: chosen.sequence - 1, downMs: durationMs });
  },
  "vanished-log": (context, { amount, durationMs }) => {
    const chosen = choose(context, amount);
    return chosen !== undefined && context.engine.damage.vanish({ log: chosen.log, durationMs });
  },
  "blob-damage": ({ engine }, { amount }) => {
    const random = new SeededRandom(amount);
    const names = engine.shelfNames.filter((name) => engine.shelf(name).addresses.length > 0);
    if (names.length === 0) return false;
    const name = random.pick(names);
    const address = random.pick(engine.shelf(name).addresses);
    return engine.damage.blob({ name, address, bit: random.integer(1_000_000) });
  },
  "message-delay": byChance,
  "message-loss": byChance,
  "message-duplication": byChance,
  "message-reordering": byChance,
  "ambiguous-appends": byChance,
  "late-appends": byChance,
  "false-refusals": byChance,
  "stale-reads": byChance,
  "replica-reads": byChance,
  "tail-skips": byChance,
  "tail-repeats": byChance,
  "tail-silences": byChance,
  "tail-ends": byChance,
  "blob-refusals": byChance,
};
