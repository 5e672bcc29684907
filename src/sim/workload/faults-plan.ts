/**
 * What goes wrong in one simulation, chosen from its seed: which kinds of fault at all (swarm testing), how long each life of
 * the node lasts, and the bounds within which it works.
 */
import type { SeededRandom } from "../../base/random.ts";
import type { Limits } from "../../base/limits.ts";
import { chooseSwarm } from "../faults.ts";
import { type CrashMoment, crashMoments } from "../life.ts";
import { type CodeVersion, codeVersions } from "./migrations.ts";

export const disturbances = [
  "crash",
  "crash-in-recovery",
  "clean-stop",
  "failed-write",
  "failed-sync",
  "failed-name",
  "full-disk",
  "full-store",
  "failed-store",
  "damaged-store-value",
  "damaged-store-file",
  "lost-store",
  "snapshot",
  "clock-jump",
  "guard-timeout",
  "ambiguous-append",
  "session-expiry",
  "migration",
  "few-dead-letters",
] as const;

export type Disturbance = (typeof disturbances)[number];

export interface FaultsPlan {
  readonly swarm: ReadonlySet<Disturbance>;
  /** One for each life but the last, which nothing disturbs. */
  readonly lives: readonly LifePlan[];
  /** Between two disturbances of a running node, on average. */
  readonly disturbMs: number;
  readonly limits: Partial<Limits>;
  /** Longest sync of the disk: the slower, the more is under way at any moment. */
  readonly syncMsMax: number;
  readonly cacheBytes: number;
  readonly segmentBytes: number;
  readonly reserveBytes: number;
  readonly snapshotBytes: number;
}

export interface LifePlan {
  /** At this operation of the life, or of its serving: counted from when it has opened. */
  readonly crash:
    | { readonly phase: "opening" | "serving"; readonly operation: number; readonly moment: CrashMoment }
    | undefined;
  /** The version of the system's code that it runs; the newest where absent, as after all disturbances. */
  readonly codeVersion?: CodeVersion;
  /** Ends in good order after this long, if it still lives. */
  readonly stopAfterMs: number;
}

const KiB = 1024;

export function makeFaultsPlan(random: SeededRandom): FaultsPlan {
  const swarm = chooseSwarm(random, disturbances, 0.4);
  const lifeCount = random.between(1, 6);
  return {
    swarm,
    lives: makeLives(random, swarm, lifeCount),
    disturbMs: random.pick([5, 20, 100]),
    limits: makeLimits(random, swarm),
    syncMsMax: random.pick([2, 8, 25]),
    cacheBytes: random.pick([1 * KiB, 16 * KiB, 1024 * KiB]),
    segmentBytes: random.pick([24, 24, 64, 256]) * KiB,
    reserveBytes: random.pick([0, 16 * KiB]),
    snapshotBytes: random.pick([4, 12, 40, 100_000]) * KiB,
  };
}

/** With migrations each life runs newer code than the one before, or the same, or, after a rollback, older code. */
function makeLives(random: SeededRandom, swarm: ReadonlySet<Disturbance>, count: number): LifePlan[] {
  const lives = Array.from({ length: count }, () => makeLife(random, swarm));
  if (!swarm.has("migration")) return lives;
  let codeVersion: CodeVersion = random.pick(codeVersions);
  return lives.map((life) => {
    const planned = { ...life, codeVersion };
    codeVersion = random.pick(codeVersions);
    return planned;
  });
}

function makeLife(random: SeededRandom, swarm: ReadonlySet<Disturbance>): LifePlan {
  const isEarly = swarm.has("crash-in-recovery") && random.chance(0.5);
  const crash: LifePlan["crash"] = {
    phase: isEarly ? "opening" : "serving",
    operation: isEarly ? random.between(1, 60) : random.between(1, random.pick([20, 60, 60, 200])),
    moment: random.pick(crashMoments),
  };
  return {
    crash: isEarly || swarm.has("crash") || !swarm.has("clean-stop") ? crash : undefined,
    stopAfterMs: swarm.has("clean-stop") ? random.between(1, 300) : 3000,
  };
}

/** Low enough that programs of some dozen requests reach them. */
function makeLimits(random: SeededRandom, swarm: ReadonlySet<Disturbance>): Partial<Limits> {
  return {
    ...(swarm.has("session-expiry") ? { sessionMsDefault: random.between(50, 3000) } : {}),
    ...(swarm.has("migration") ? { waitingMessagesMax: random.pick([3, 16_384]) } : {}),
    ...(swarm.has("few-dead-letters")
      ? { deadLettersPerSlotMax: random.between(1, 3), deadLettersMax: random.between(3, 6) }
      : {}),
    batchBytesMax: 20 * KiB,
    effectsBytesMax: 16 * KiB,
    stateBytesMax: 12 * KiB,
    itemBytesMax: 4 * KiB,
    outputBytesMax: 12 * KiB,
    sliceCommandsMax: random.pick([1, 3, 256]),
    ...random.pick([
      // One transaction of this workload sends 20 messages at most.
      { outboxSoftMax: 24, outboxHardMax: 30 },
      { outboxSoftMax: 24, outboxHardMax: 1000 },
      { outboxSoftMax: 1000, outboxHardMax: 2000 },
    ]),
    unappliedBytesMax: random.pick([4 * KiB, 1024 * KiB]),
    timerWindow: random.pick([2, 8, 4096]),
    transactionsOpenMax: random.pick([2, 4096]),
    waitingPerEntityMax: random.pick([1, 4096]),
    queuedCallsMax: random.pick([4, 16_384]),
  };
}
