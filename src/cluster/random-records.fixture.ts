/** Records of the system log drawn from a seed: most of them fit the state that they meet, the others are late, wrong or another's. */
import type { SeededRandom } from "../base/random.ts";
import { checkpointOf } from "./system-fold.ts";
import type { SystemRecord } from "./system-records.ts";
import { founding, joining, joiningWith, parentPosition } from "./system.fixture.ts";
import type { ShardState, SystemState } from "./system-state.ts";

const incarnation = "12".repeat(16);

export function randomRecord(state: SystemState, random: SeededRandom): SystemRecord {
  if (state.cluster === undefined && random.chance(0.8)) {
    return founding({ shardCount: random.pick([1, 2, 4, 8]), followerCount: random.integer(3) });
  }
  const members = [...state.members.keys(), "stranger.1"];
  const shards: readonly Partial<ShardState>[] = [...state.shards.values(), { id: "none" }];
  const member = (): string => random.pick(members);
  const shard = random.pick(shards);
  const { id = "0", log = "none", from = 0, to = 4096, children = [] } = shard;
  /** Mostly the number as it is. */
  const about = (number: number): number => (random.chance(0.8) ? number : Math.max(0, number + random.between(-2, 2)));
  const term = about(state.controller?.term ?? 0);
  const assignment = about(shard.assignment ?? 0);
  const parent = parentPosition(random.chance(0.8) ? log : "shard-0");
  switch (random.integer(19)) {
    case 0:
      return founding();
    case 1:
    case 2: {
      const newcomer = `m${random.integer(12)}.${random.integer(9)}`;
      if (random.chance(0.2)) return joiningWith(newcomer, random.pick([{}, { note: 2 }, { note: 3, pad: 2 }]));
      return joining(newcomer, random.pick(["east", "west", undefined]));
    }
    case 3:
      return { type: "renewed", member: member(), wallMs: random.integer(20_000) };
    case 4:
      return { type: "draining", member: member() };
    case 5:
      return { type: "left", member: member() };
    case 6:
      return { type: "controller-claimed", member: member(), term: term + 1 };
    case 7: {
      const silent = member();
      return { type: "expired", term, member: silent, renewedAt: about(state.members.get(silent)?.renewedAt ?? 0) };
    }
    case 8:
    case 9: {
      const followers = Array.from({ length: random.integer(4) }, member);
      const owner = random.chance(0.9) ? member() : undefined;
      return {
        type: "assigned",
        term,
        shard: id,
        owner,
        followers,
        assignment: owner === shard.owner ? assignment : assignment + 1,
      };
    }
    case 10:
      return { type: "move-planned", term, shard: id, to: member(), assignment };
    case 11: {
      const middle = about(Math.floor((from + to) / 2));
      return {
        type: "split-ordered",
        term,
        shard: id,
        children: [
          { id: `${id}-0`, from, to: middle },
          { id: `${id}-1`, from: middle, to },
        ],
      };
    }
    case 12:
      return random.chance(0.5)
        ? { type: "split-asked", shard: id, parts: random.integer(6) }
        : { type: "split-abandoned", shard: id, log };
    case 13:
      return {
        type: "released",
        shard: id,
        member: random.chance(0.8) ? (shard.owner ?? member()) : member(),
        assignment,
        end: random.chance(0.5) ? parent : undefined,
      };
    case 14: {
      const published = children.map((child) => ({ id: child.id, log: `shard-${child.id}`, incarnation, parent }));
      return { type: "split-published", shard: id, log, children: published };
    }
    case 15:
      return { type: "quarantined", shard: id, log, detail: "drawn" };
    case 17: {
      const entity = { tenant: "default", kind: "note", id: random.pick(["a", "b", "c"]) };
      if (random.chance(0.2)) return { type: random.pick(["cleared", "quarantine-lifted"] as const), entity };
      return { type: "suspected", suspect: { ...entity, what: "hook", deaths: 1, lastDeathMs: random.integer(100) } };
    }
    case 16:
      return { type: "deployed", term, code: { readerVersion: 1, schemas: random.pick([{}, { note: 2 }]) } };
    default:
      return random.chance(0.2)
        ? checkpointOf(state)
        : { type: "repaired", shard: id, log: `${log.slice(0, 40)}-r`, incarnation, parent };
  }
}
