import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { limits } from "../base/limits.ts";
import { SeededRandom } from "../base/random.ts";
import { decide, type Observations } from "./controller.ts";
import { mayOwn } from "./eligibility.ts";
import { randomRecord } from "./random-records.fixture.ts";
import { nextCut } from "./regions-fold.ts";
import {
  cluster as clusterIdentity,
  clusterOf,
  founding,
  foundingRegions,
  joining,
  joiningAt,
  joiningWith,
  parentPosition,
  stateAfter,
} from "./system.fixture.ts";
import { fold } from "./system-fold.ts";
import type { SystemRecord } from "./system-records.ts";
import {
  emptySystemState,
  isInReach,
  isPresent,
  presentMembers,
  presentShards,
  regionOfShard,
  type SystemState,
} from "./system-state.ts";

function observed(self: string, options: Partial<Observations> = {}): Observations {
  return { self, silent: new Map(), copies: new Map(), ...options };
}

/** Rounds of the controller, in which members do at once what is asked of them. */
class Cluster {
  state: SystemState;
  /** Dead or cut off: they renew and release no more. */
  readonly dead = new Set<string>();
  rounds = 0;

  constructor(state: SystemState) {
    this.state = state;
  }

  append(...records: readonly SystemRecord[]): void {
    if (records.length > 0) this.state = fold(this.state, records, this.state.sequence + 1);
  }

  get self(): string | undefined {
    const holder = this.state.controller?.member;
    return holder !== undefined && isPresent(this.state, holder) && !this.dead.has(holder) ? holder : undefined;
  }

  observations(): Observations {
    const silent = presentMembers(this.state).filter(({ id }) => this.dead.has(id));
    return observed(this.self ?? "", { silent: new Map(silent.map(({ id, renewedAt }) => [id, renewedAt])) });
  }

  /** One round; the number of decisions. */
  round(): number {
    this.rounds++;
    if (this.self === undefined) {
      const next = presentMembers(this.state).find(({ id, status }) => status === "live" && !this.dead.has(id));
      if (next === undefined) return 0;
      this.append({ type: "controller-claimed", member: next.id, term: (this.state.controller?.term ?? 0) + 1 });
    }
    const decided = decide(this.state, this.observations());
    assert.ok(decided.length <= limits.controllerDecisionsMax, "CT5");
    const before = this.state;
    this.append(...decided);
    // CT1: each decision changed something, so none was made in vain.
    for (let index = 0; index < decided.length; index++) {
      const [without, having] = [decided.slice(0, index), decided.slice(0, index + 1)];
      const at = before.sequence + 1;
      assert.notDeepEqual(
        fold(before, having, at),
        fold(before, without.length === 0 ? [] : without, at),
        JSON.stringify(decided[index]),
      );
    }
    assert.ok(
      presentShards(this.state).filter((shard) => shard.movingTo !== undefined).length <= limits.movesMax,
      "CT5",
    );
    return decided.length;
  }

  /** What live members do by themselves: release what moves, split what is to be split, repair. */
  react(): number {
    const records: SystemRecord[] = [];
    for (const { id, owner, movingTo, assignment, status, log, children } of presentShards(this.state)) {
      const isOwned = owner !== undefined && !this.dead.has(owner);
      if (status === "active" && movingTo !== undefined && isOwned) {
        records.push({ type: "released", shard: id, member: owner, assignment, end: undefined });
      }
      if (status === "splitting" && isOwned) {
        const published = children.map((child) => {
          return { id: child.id, log: `shard-${child.id}`, incarnation: "12".repeat(16), parent: parentPosition(log) };
        });
        records.push({ type: "split-published", shard: id, log, children: published });
      }
      if (status === "quarantined") {
        const parent = parentPosition(log);
        records.push({
          type: "repaired",
          shard: id,
          log: `${log.slice(0, 40)}-r`,
          incarnation: "34".repeat(16),
          parent,
        });
      }
    }
    this.append(...records);
    return records.length;
  }

  settle(roundsMax = 400): void {
    for (let count = 0; count < roundsMax; count++) {
      const [decided, reacted] = [this.round(), this.react()];
      if (decided + reacted === 0) return;
    }
    assert.fail(`not settled after ${roundsMax} rounds: ${JSON.stringify(decide(this.state, this.observations()))}`);
  }

  get owners(): readonly string[] {
    return [...new Set(presentShards(this.state).map(({ owner }) => owner ?? "-"))].sort();
  }

  /** What each shard looks like, for transcripts. */
  get placement(): string {
    return presentShards(this.state)
      .map(
        (shard) =>
          `${shard.owner ?? "-"}<${shard.followers.join("")}${shard.movingTo === undefined ? "" : `>${shard.movingTo}`}`,
      )
      .join(" ");
  }

  /** CT4, of a cluster without regions. */
  checkSettled(): void {
    const state = this.state;
    assert.equal(decide(state, this.observations()).length, 0, "a settled cluster decides nothing");
    const able = presentMembers(state).filter(({ id, status }) => status === "live" && mayOwn(state, id));
    for (const { id } of presentMembers(state)) assert.ok(!this.dead.has(id), `${id} is dead and still a member`);
    if (able.length === 0) return;
    const owned = new Map(able.map(({ id }) => [id, 0]));
    for (const shard of presentShards(state)) {
      assert.equal(shard.status, "active");
      assert.ok(owned.has(shard.owner!), `${shard.id} is owned by ${shard.owner}`);
      owned.set(shard.owner!, owned.get(shard.owner!)! + 1);
      const present = presentMembers(state).length;
      assert.ok(
        shard.followers.length >= Math.min(state.cluster!.followerCount, able.length - 1, present - 1),
        `${shard.id} has followers`,
      );
      assert.ok(shard.followers.length <= state.cluster!.followerCount);
    }
    const counts = [...owned.values()];
    assert.ok(Math.max(...counts) - Math.min(...counts) <= 1, `balanced: ${counts}`);
  }
}

/** CT4 and CT8, of a cluster with regions. */
function checkRegions(cluster: Cluster): void {
  const { state } = cluster;
  assert.deepEqual(decide(state, cluster.observations()), [], "a settled cluster decides nothing");
  const able = presentMembers(state).filter(({ id, status }) => status === "live" && mayOwn(state, id));
  const owned = new Map(able.map(({ id }) => [id, 0]));
  for (const shard of presentShards(state)) {
    const inReach = able.filter(({ id }) => isInReach(state, shard, id));
    const holders = [shard.owner, ...shard.followers].flatMap((id) => id ?? []);
    assert.equal(nextCut(state, shard), undefined, `${shard.id} is of one region or of none`);
    assert.deepEqual(
      holders.filter((id) => !isInReach(state, shard, id)),
      [],
      `${shard.id} is nowhere but in its region`,
    );
    // One that drains keeps what nobody else can have, until it leaves.
    assert.equal(shard.owner === undefined ? inReach.length : 0, 0, `${shard.id} is owned where it can be`);
    if (shard.owner === undefined || inReach.length === 0) continue;
    assert.equal(owned.has(shard.owner), true, `${shard.id} is owned by ${shard.owner}`);
    owned.set(shard.owner, owned.get(shard.owner)! + 1);
    const count = Math.min(state.cluster!.followerCount, inReach.length - 1);
    assert.equal(shard.followers.length >= count, true, `${shard.id} has followers`);
    // As many regions as can be had with so many copies.
    const regions = (ids: readonly string[]): number =>
      new Set(ids.map((id) => state.members.get(id)!.labels.region ?? "")).size;
    const wanted = Math.min(regions(inReach.map(({ id }) => id)), 1 + state.cluster!.followerCount);
    const draining = holders.some((id) => !inReach.some((member) => member.id === id));
    if (!draining) assert.equal(regions(holders) >= wanted, true, `${shard.id} is in ${wanted} regions`);
  }
  for (const [from, most] of owned) {
    for (const [to, least] of owned) {
      const isMovable = presentShards(state).some((shard) => shard.owner === from && isInReach(state, shard, to));
      if (isMovable) assert.equal(most - least <= 1, true, `${from} owns ${most}, ${to} ${least}`);
    }
  }
}

describe("the controller", () => {
  test("places a new cluster's shards, and decides nothing more", () => {
    const cluster = new Cluster(clusterOf(["a", "b", "c"]));
    cluster.round();
    assert.equal(cluster.placement, "a<b b<c c<a a<b");
    cluster.settle();
    cluster.checkSettled();
    assert.equal(cluster.placement, "a<b b<c c<a a<b");
  });

  test("decides nothing where it has not the office", () => {
    const state = clusterOf(["a", "b"]);
    assert.deepEqual(decide(state, observed("b")), []);
    assert.deepEqual(decide(stateAfter([{ type: "left", member: "a" }], state), observed("a")), []);
    assert.deepEqual(decide(emptySystemState, observed("a")), []);
  });

  test("expires who is silent and has its followers take over, in one record", () => {
    const cluster = new Cluster(clusterOf(["a", "b", "c"]));
    cluster.settle();
    cluster.dead.add("b");
    const decided = decide(cluster.state, cluster.observations());
    assert.deepEqual(
      decided.map((record) =>
        record.type === "assigned" ? `${record.shard} to ${record.owner}<${record.followers}` : record.type,
      ),
      ["expired", "1 to c<", "0 to a<c", "1 to c<a", "3 to a<c"],
    );
    cluster.round();
    assert.equal(cluster.placement, "a<c c<a c<a a<c");
    cluster.settle();
    cluster.checkSettled();
    assert.equal(cluster.placement, "a<c c<a c<a a<c");
  });

  test("has the follower take over whose copy reaches farthest, where another is not near it", () => {
    const joined = [founding({ shardCount: 1, followerCount: 2 }), ...["a", "b", "c"].map((id) => joining(id))];
    const claimed = { type: "controller-claimed", member: "a", term: 1 } as const;
    const placed = { type: "assigned", term: 1, shard: "0", owner: "b", followers: ["a", "c"], assignment: 1 } as const;
    const state = stateAfter([...joined, claimed, placed, { type: "left", member: "b" }]);
    const ownerWith = (copies: Observations["copies"]): unknown => {
      const first = decide(state, observed("a", { copies })).find(({ type }) => type === "assigned");
      return first?.type === "assigned" ? first.owner : first;
    };
    assert.equal(ownerWith(new Map()), "a", "nothing is known: the preferred one");
    assert.equal(
      ownerWith(
        new Map([
          [
            "0",
            new Map([
              ["a", 70],
              ["c", 135],
            ]),
          ],
        ]),
      ),
      "c",
    );
    assert.equal(
      ownerWith(
        new Map([
          [
            "0",
            new Map([
              ["a", 71],
              ["c", 135],
            ]),
          ],
        ]),
      ),
      "a",
    );
  });

  test("moves a shard only to who has caught up, and has it follow first", () => {
    const cluster = new Cluster(clusterOf(["a", "b"]));
    cluster.settle();
    assert.equal(cluster.placement, "a<b b<a a<b b<a");
    cluster.append(joining("c"));
    const copyOfC = new Map<string, number>();
    const step = (): string => {
      const copies = new Map(
        presentShards(cluster.state).map(({ id, owner }) => [id, new Map([...copyOfC, [owner!, 50_000]])]),
      );
      cluster.append(...decide(cluster.state, observed("a", { copies })));
      return cluster.placement;
    };
    assert.equal(step(), "a<c b<a a<b b<a", "c follows");
    assert.equal(step(), "a<c b<a a<b b<a", "and has not caught up");
    copyOfC.set("c", 49_950);
    assert.equal(step(), "a<c>c b<a a<b b<a");
    assert.equal(step(), "a<c>c b<a a<b b<a", "one move evens it out");
    cluster.react();
    assert.equal(step(), "c<a b<a a<b b<a");
    cluster.checkSettled();
  });

  test("does not undo for the sake of zones what a move is waiting for", () => {
    const zoned = [founding(), joining("a", "east"), joining("b", "west")];
    const cluster = new Cluster(stateAfter(zoned));
    cluster.settle();
    assert.equal(cluster.placement, "a<b b<a a<b b<a");
    cluster.append(joining("c", "east"));
    const copies = new Map(
      ["0", "1", "2", "3"].map((id) => [id, new Map(["a", "b"].map((member) => [member, 50_000]))]),
    );
    for (let count = 0; count < 5; count++) {
      const decided = decide(cluster.state, observed("a", { copies }));
      assert.equal(decided.length, count === 0 ? 1 : 0, "who waits decides nothing");
      cluster.append(...decided);
      assert.equal(cluster.placement, "a<c b<a a<b b<a");
    }
    cluster.settle();
    cluster.checkSettled();
  });

  test("moves everything off a member that drains, and gives it nothing", () => {
    const cluster = new Cluster(clusterOf(["a", "b", "c"], { shardCount: 8 }));
    cluster.settle();
    cluster.append({ type: "draining", member: "b" });
    cluster.settle();
    cluster.checkSettled();
    assert.ok(presentShards(cluster.state).every((shard) => shard.owner !== "b" && !shard.followers.includes("b")));
    cluster.append({ type: "draining", member: "a" }, { type: "draining", member: "c" });
    const before = cluster.placement;
    cluster.settle();
    assert.equal(cluster.placement, before, "where all drain, there is nobody to move anything to");
  });

  test("makes no new copies while shards move off a member that drains, and as many as there shall be afterwards (CT7)", () => {
    const cluster = new Cluster(clusterOf(["a", "b", "c"], { shardCount: 16 }));
    cluster.settle();
    cluster.append({ type: "draining", member: "b" });
    const ownedByB = (): number => presentShards(cluster.state).filter(({ owner }) => owner === "b").length;
    assert.equal(ownedByB() > limits.movesMax, true, "it takes more than one round");
    while (ownedByB() > 0) {
      const decided = decide(cluster.state, cluster.observations());
      assert.deepEqual([...new Set(decided.map(({ type }) => type))], ["move-planned"]);
      cluster.round();
      cluster.react();
    }
    assert.equal(
      presentShards(cluster.state).some(({ followers }) => followers.includes("b")),
      true,
    );
    cluster.settle();
    cluster.checkSettled();
    assert.equal(
      presentShards(cluster.state).some(({ followers }) => followers.includes("b")),
      false,
    );
  });

  test("gives nothing to who has a wrong clock, and takes away what it has", () => {
    const cluster = new Cluster(clusterOf(["a", "b", "c"], { shardCount: 8 }));
    cluster.settle();
    cluster.append({ type: "renewed", member: "c", wallMs: 100_000 });
    cluster.settle();
    assert.ok(presentShards(cluster.state).every((shard) => shard.owner !== "c"));
    cluster.append({ type: "renewed", member: "c", wallMs: 1000 });
    cluster.settle();
    cluster.checkSettled();
  });

  test("spreads copies over zones, also over one that comes later", () => {
    const zoned = [founding({ shardCount: 8 }), joining("a", "east"), joining("b", "east"), joining("c", "west")];
    const cluster = new Cluster(stateAfter(zoned));
    cluster.settle();
    cluster.checkSettled();
    const zoneOf = (id: string): string => cluster.state.members.get(id)!.labels.zone!;
    const isSpread = (): boolean =>
      presentShards(cluster.state).every((shard) => zoneOf(shard.owner!) !== zoneOf(shard.followers[0]!));
    assert.ok(isSpread(), cluster.placement);
    cluster.append({ type: "left", member: "c" });
    cluster.settle();
    assert.equal(isSpread(), false);
    cluster.append(joining("d", "north"));
    cluster.settle();
    cluster.checkSettled();
    assert.ok(isSpread(), cluster.placement);
  });

  test("orders a split that is asked for, once the shard is at rest, and evens out the children", () => {
    const cluster = new Cluster(clusterOf(["a", "b"], { shardCount: 1 }));
    cluster.settle();
    cluster.append({ type: "split-asked", shard: "0", parts: 4 });
    assert.deepEqual(decide(cluster.state, cluster.observations()), [
      {
        type: "split-ordered",
        term: 1,
        shard: "0",
        children: [0, 1, 2, 3].map((index) => ({ id: `0-${index}`, from: index * 1024, to: (index + 1) * 1024 })),
      },
    ]);
    cluster.settle();
    cluster.checkSettled();
    assert.equal(presentShards(cluster.state).length, 4);
  });

  test("leaves a quarantined shard alone until it is repaired, and its owner's death too", () => {
    const cluster = new Cluster(clusterOf(["a", "b", "c"], { shardCount: 1 }));
    cluster.settle();
    cluster.append({ type: "quarantined", shard: "0", log: "shard-0", detail: "short" });
    cluster.dead.add(presentShards(cluster.state)[0]!.owner!);
    for (let count = 0; count < 3; count++) cluster.round();
    assert.equal(presentShards(cluster.state)[0]?.status, "quarantined");
    assert.equal(presentShards(cluster.state)[0]?.owner, undefined);
    cluster.settle();
    cluster.checkSettled();
  });

  test("settles from any state, after any crashes, in bounded rounds (CT4)", () => {
    let crashes = 0;
    let roundsMax = 0;
    fc.assert(
      fc.property(fc.integer(), (seed) => {
        const random = new SeededRandom(seed);
        const cluster = new Cluster(
          stateAfter([founding({ shardCount: 2 ** random.integer(6), followerCount: random.integer(3) })]),
        );
        for (let step = 0; step < random.integer(150); step++) cluster.append(randomRecord(cluster.state, random));
        for (let phase = 0; phase < 4; phase++) {
          for (let events = random.integer(5); events > 0; events--) {
            const members = presentMembers(cluster.state).filter(({ id }) => !cluster.dead.has(id));
            if (members.length < 2 || random.chance(0.5)) {
              const wallMs = random.chance(0.1) ? 90_000 : 1000;
              cluster.append(joining(`n${phase}${events}.1`, random.pick(["east", "west", "north"]), wallMs));
            } else if (random.chance(0.3)) cluster.append({ type: "draining", member: random.pick(members).id });
            else {
              cluster.dead.add(random.pick(members).id);
              crashes++;
            }
            for (let rounds = random.integer(3); rounds > 0; rounds--) {
              cluster.round();
              if (random.chance(0.5)) cluster.react();
            }
          }
          if (!presentMembers(cluster.state).some(({ id, status }) => status === "live" && !cluster.dead.has(id))) {
            cluster.append(joining(`rescue${phase}.1`));
          }
          const before = cluster.rounds;
          cluster.settle(200);
          roundsMax = Math.max(roundsMax, cluster.rounds - before);
          cluster.checkSettled();
        }
      }),
      { numRuns: 150 },
    );
    assert.ok(crashes > 150, `${crashes} crashes only`);
    assert.ok(roundsMax > 3, "it had something to do");
  });

  test("upgrades a cluster member by member: the old code owns until all have the new one, then the new one does (DC2, DC3)", () => {
    const cluster = new Cluster(clusterOf(["a.1", "b.1", "c.1"]));
    cluster.settle();
    const upgrade = (name: string): void => {
      cluster.append({ type: "draining", member: `${name}.1` });
      cluster.settle();
      cluster.append({ type: "left", member: `${name}.1` }, joiningWith(`${name}.2`, { note: 2 }));
      cluster.settle();
      cluster.checkSettled();
    };
    upgrade("a");
    assert.deepEqual(cluster.owners, ["b.1", "c.1"]);
    upgrade("b");
    assert.deepEqual(cluster.owners, ["c.1"]);
    assert.deepEqual(cluster.state.deployed?.schemas, {});
    assert.equal(cluster.placement.includes("a.2"), true, "the new ones follow meanwhile");
    upgrade("c");
    assert.deepEqual(cluster.owners, ["a.2", "b.2", "c.2"]);
    assert.deepEqual(cluster.state.deployed?.schemas, { note: 2 });
    cluster.append(joiningWith("d.1", {}));
    cluster.settle();
    assert.deepEqual(cluster.owners, ["a.2", "b.2", "c.2"], "old code that comes back owns nothing");
  });
});

describe("the controller of a cluster with regions", () => {
  const founded = (regions: readonly string[], options: Parameters<typeof founding>[0] = {}): Cluster =>
    new Cluster(stateAfter([founding(options), foundingRegions(regions)]));
  /** The shards of a region, as `owner<followers`. */
  const placementOf = (cluster: Cluster, region: string | undefined): readonly string[] => [
    ...new Set(
      presentShards(cluster.state)
        .filter((shard) => regionOfShard(cluster.state, shard) === region)
        .map(({ owner = "-", followers }) => `${owner[0]}<${followers.map((each) => each[0]).join("")}`),
    ),
  ];

  test("keeps a region's shards, owners and followers, in the region", () => {
    const cluster = founded(["eu", "us"]);
    cluster.append(joiningAt("a", ["eu"]), joiningAt("b", ["eu"]), joiningAt("c", ["us"]), joiningAt("d", ["us"]));
    cluster.settle();
    checkRegions(cluster);
    assert.deepEqual([...placementOf(cluster, "eu")].sort(), ["a<b", "b<a"]);
    assert.deepEqual([...placementOf(cluster, "us")].sort(), ["c<d", "d<c"]);
  });

  test("leaves a region's shards without an owner while nobody is there, and gives them back to who comes", () => {
    const cluster = founded(["eu", "us"]);
    cluster.append(joiningAt("a", ["eu"]), joiningAt("b", ["eu"]), joiningAt("c", ["us"]));
    cluster.settle();
    cluster.dead.add("c");
    cluster.settle();
    checkRegions(cluster);
    assert.deepEqual(placementOf(cluster, "us"), ["-<"]);
    assert.equal(presentShards(cluster.state).filter(({ owner }) => owner === undefined).length, 4);
    cluster.append(joiningAt("d", ["us"]));
    cluster.settle();
    checkRegions(cluster);
    assert.deepEqual(placementOf(cluster, "us"), ["d<"]);
  });

  test("has a follower of what is pinned nowhere in each other region, as far as there are followers", () => {
    const cluster = founded(["eu", "us"], { followerCount: 2 });
    const places = {
      a: ["eu", "1"],
      b: ["eu", "2"],
      c: ["us", "1"],
      d: ["us", "2"],
      e: ["ap", "1"],
      f: ["ap", "2"],
    } as const;
    for (const [id, place] of Object.entries(places)) cluster.append(joiningAt(id, place));
    cluster.settle();
    checkRegions(cluster);
  });

  test("cuts a system that was moved here in one piece, and brings what is pinned to its region", () => {
    const attempt = "12".repeat(16);
    const identity = { ...clusterIdentity, shardCount: 4, followerCount: 1 };
    const cluster = new Cluster(
      stateAfter([
        { type: "promotion-begun", cluster: identity, attempt, log: "embedded" },
        foundingRegions(["eu", "us"]),
        joiningAt("a", ["eu"]),
        joiningAt("b", ["us"]),
        {
          type: "promotion-activated",
          attempt,
          log: "shard-0",
          incarnation: "34".repeat(16),
          parent: parentPosition("embedded"),
        },
      ]),
    );
    cluster.settle();
    checkRegions(cluster);
    assert.deepEqual(placementOf(cluster, "eu"), ["a<"]);
    assert.deepEqual(placementOf(cluster, "us"), ["b<"]);
    assert.equal(presentShards(cluster.state).length, 4 + 2 * (3 + 2) - 1);
  });

  test("settles from any state, after any crashes, in bounded rounds, with nothing outside of its region (CT8)", () => {
    let waits = 0;
    fc.assert(
      fc.property(fc.integer(), (seed) => {
        const random = new SeededRandom(seed);
        const names = random.pick([["eu"], ["eu", "us"], ["eu", "us", "ap"]]);
        const shardCount = 2 ** random.integer(6);
        const cluster = founded(names, { shardCount, followerCount: random.integer(3) });
        for (let phase = 0; phase < 5; phase++) {
          for (let events = random.between(1, 5); events > 0; events--) {
            const members = presentMembers(cluster.state).filter(({ id }) => !cluster.dead.has(id));
            const region = random.pick([...names, "elsewhere"]);
            if (members.length < 2 || random.chance(0.6)) {
              cluster.append(joiningAt(`n${phase}${events}.1`, [region, random.pick(["1", "2", "3"])]));
            } else if (random.chance(0.3)) cluster.append({ type: "draining", member: random.pick(members).id });
            else cluster.dead.add(random.pick(members).id);
            for (let rounds = random.integer(3); rounds > 0; rounds--) {
              cluster.round();
              if (random.chance(0.5)) cluster.react();
            }
          }
          if (!presentMembers(cluster.state).some(({ id, status }) => status === "live" && !cluster.dead.has(id))) {
            cluster.append(joiningAt(`rescue${phase}.1`, ["elsewhere"]));
          }
          cluster.settle(400);
          checkRegions(cluster);
          if (presentShards(cluster.state).some(({ owner }) => owner === undefined)) waits++;
        }
      }),
      { numRuns: 60 },
    );
    assert.equal(waits > 20, true, `only ${waits} times a region had nobody`);
  });
});
