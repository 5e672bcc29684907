import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { z } from "zod";
import { slotOf } from "../base/ids.ts";
import { limits } from "../base/limits.ts";
import { SeededRandom } from "../base/random.ts";
import { entity } from "../entity/define.ts";
import { entityName } from "../entity/keys.ts";
import { randomRecord } from "./random-records.fixture.ts";
import { clusterOf, founding, joining, parentPosition, records, stateAfter } from "./system.fixture.ts";
import { quarantinedEntities, quarantinedIn } from "./suspect-fold.ts";
import { checkpointOf, fold } from "./system-fold.ts";
import { decodeSystemRecords, encodeSystemRecords, type SystemRecord } from "./system-records.ts";
import {
  emptySystemState,
  isPresent,
  presentShards,
  type ParentPosition,
  type ShardState,
  type SystemState,
  shardOfSlot,
} from "./system-state.ts";

const incarnation = "77".repeat(16);

/** What is left of a shard in a transcript. */
function line(state: SystemState, id = "0"): string {
  const shard = state.shards.get(id)!;
  const followers = shard.followers.length === 0 ? "" : ` followed by ${shard.followers.join(", ")}`;
  const moving = shard.movingTo === undefined ? "" : ` moving to ${shard.movingTo}`;
  return `${shard.status} #${shard.assignment} ${shard.owner ?? "nobody"}${moving}${followers} in ${shard.log}`;
}

/** What each record makes of shard 0. */
function transcript(state: SystemState, steps: readonly SystemRecord[]): string[] {
  let present = state;
  return steps.map((record) => {
    present = stateAfter([record], present);
    return `${record.type}: ${line(present)}`;
  });
}

const assigned = (
  owner: string | undefined,
  followers: readonly string[],
  { assignment = 1, term = 1 }: { readonly assignment?: number; readonly term?: number } = {},
): SystemRecord => ({ type: "assigned", term, shard: "0", owner, followers, assignment });
const move = (to: string, assignment: number): SystemRecord => ({
  type: "move-planned",
  term: 1,
  shard: "0",
  to,
  assignment,
});
const released = (member: string, assignment: number, end?: ParentPosition): SystemRecord => ({
  type: "released",
  shard: "0",
  member,
  assignment,
  end,
});

describe("the fold of the system log", () => {
  test("makes the shard map of the founding, and of no later one", () => {
    const state = stateAfter([founding({ shardCount: 8 }), founding({ shardCount: 2 })]);
    assert.deepEqual(
      presentShards(state).map(({ id, from, to, log }) => [id, from, to, log]),
      Array.from({ length: 8 }, (_, index) => [String(index), index * 512, (index + 1) * 512, `shard-${index}`]),
    );
    assert.equal(shardOfSlot(state, 511)?.id, "0");
    assert.equal(shardOfSlot(state, 512)?.id, "1");
    assert.equal(shardOfSlot(emptySystemState, 0), undefined);
  });

  test("takes a log record once, all that stands in it together (SF1)", () => {
    const first = fold(emptySystemState, [founding(), joining("a"), joining("b")], 1);
    assert.deepEqual([...first.members.keys()], ["a", "b"]);
    assert.equal(fold(first, [joining("c")], 1), first);
    assert.equal(fold(first, [joining("c")], 2).members.get("c")?.renewedAt, 2);
  });

  test("moves a shard when its owner has released it", () => {
    assert.deepEqual(
      transcript(clusterOf(["a", "b", "c"]), [
        assigned("a", ["b"]),
        move("b", 1),
        move("c", 1),
        released("b", 1),
        released("a", 1),
        released("a", 1),
      ]),
      [
        "assigned: active #1 a followed by b in shard-0",
        "move-planned: active #1 a moving to b followed by b in shard-0",
        "move-planned: active #1 a moving to b followed by b in shard-0",
        "released: active #1 a moving to b followed by b in shard-0",
        "released: active #2 b followed by a in shard-0",
        "released: active #2 b followed by a in shard-0",
      ],
    );
  });

  test("remembers how far an owner had brought the log, until the shard goes on in another (G8)", () => {
    const at = (log: string, sequence: number) => parentPosition(log, sequence);
    const anchorAfter = (...more: readonly SystemRecord[]): number | undefined => {
      const given = [assigned("a", ["b"]), move("b", 1), released("a", 1, at("shard-0", 70)), ...more];
      const { anchor } = stateAfter(given, clusterOf(["a", "b"])).shards.get("0")!;
      return anchor?.sequence;
    };
    assert.equal(anchorAfter(), 70);
    assert.equal(anchorAfter(released("b", 2)), 70, "it was never owned there");
    assert.equal(anchorAfter(released("b", 2, at("shard-0", 60))), 70, "nothing goes back");
    assert.equal(anchorAfter(released("b", 2, at("another", 90))), 70, "nor is it of another log");
    assert.equal(anchorAfter(released("b", 2, at("shard-0", 90))), 90);
    const repaired = { type: "repaired", shard: "0", log: "r", incarnation, parent: at("shard-0", 70) } as const;
    assert.equal(anchorAfter({ type: "quarantined", shard: "0", log: "shard-0", detail: "" }, repaired), undefined);
  });

  test("leaves a shard without an owner that was released for a member that has gone", () => {
    assert.deepEqual(
      transcript(clusterOf(["a", "b", "c"]), [
        assigned("a", ["c"]),
        move("b", 1),
        { type: "left", member: "b" },
        released("a", 1),
        assigned("c", ["a"], { assignment: 3 }),
      ]),
      [
        "assigned: active #1 a followed by c in shard-0",
        "move-planned: active #1 a moving to b followed by c in shard-0",
        "left: active #1 a followed by c in shard-0",
        "released: active #2 nobody followed by c, a in shard-0",
        "assigned: active #3 c followed by a in shard-0",
      ],
    );
  });

  test("passes over decisions that are late, of an old term, or of somebody who has gone (SF3, SF4)", () => {
    const before = stateAfter([assigned("b", ["c"])], clusterOf(["a", "b", "c"]));
    for (const [what, record] of [
      ["the same once more", assigned("c", [], { assignment: 1 })],
      ["one that was made on a later state", assigned("c", [], { assignment: 3 })],
      ["one of another term", assigned("c", [], { assignment: 2, term: 2 })],
      ["one for a stranger", assigned("x", [], { assignment: 2 })],
      ["one with a stranger that follows", assigned("b", ["x"], { assignment: 1 })],
      ["one that names a member twice", assigned("c", ["b", "b"], { assignment: 2 })],
      ["one with more followers than there may be", assigned("b", ["a", "c", "b"], { assignment: 1 })],
      ["a move of an old assignment", move("c", 0)],
      ["a move to the owner itself", move("b", 1)],
      ["the expiry of who has renewed", { type: "expired", term: 1, member: "b", renewedAt: 2 }],
      ["the expiry of the controller", { type: "expired", term: 1, member: "a", renewedAt: 2 }],
      ["a term that is not the next", { type: "controller-claimed", member: "b", term: 3 }],
      ["a term of a stranger", { type: "controller-claimed", member: "x", term: 2 }],
      ["who joins once more", joining("b", "west")],
    ] as const) {
      const after = stateAfter([record], before);
      assert.deepEqual({ ...after, sequence: 0 }, { ...before, sequence: 0 }, what);
    }
    const inTermTwo = stateAfter([{ type: "controller-claimed", member: "c", term: 2 }], before);
    assert.deepEqual(
      transcript(inTermTwo, [assigned("c", [], { assignment: 2 }), assigned("c", [], { assignment: 2, term: 2 })]),
      ["assigned: active #1 b followed by c in shard-0", "assigned: active #2 c in shard-0"],
    );
    const withoutController = stateAfter([{ type: "left", member: "a" }], before);
    assert.deepEqual(transcript(withoutController, [assigned("c", [], { assignment: 2 })]), [
      "assigned: active #1 b followed by c in shard-0",
    ]);
  });

  test("keeps who is gone gone, whatever it writes (SF5), and takes what it had (SF4)", () => {
    const before = stateAfter([assigned("b", ["c"])], clusterOf(["a", "b", "c"]));
    const renewedAt = before.members.get("b")!.renewedAt;
    const after = stateAfter(
      [
        { type: "expired", term: 1, member: "b", renewedAt },
        { type: "renewed", member: "b", wallMs: 9 },
        { type: "draining", member: "b" },
        joining("b"),
      ],
      before,
    );
    assert.equal(after.members.get("b")?.status, "gone");
    assert.equal(line(after), "active #2 nobody followed by c in shard-0");
  });

  test("splits a shard among its children, once (SF6)", () => {
    const children = [
      { id: "0-0", from: 0, to: 512 },
      { id: "0-1", from: 512, to: 1024 },
    ];
    const publish = (suffix: string): SystemRecord => ({
      type: "split-published",
      shard: "0",
      log: "shard-0",
      children: children.map(({ id }) => ({
        id,
        log: `${id}${suffix}`,
        incarnation,
        parent: parentPosition("shard-0"),
      })),
    });
    const order: SystemRecord = { type: "split-ordered", term: 1, shard: "0", children };
    const asked = stateAfter(
      [assigned("a", ["b"]), { type: "split-asked", shard: "0", parts: 2 }],
      clusterOf(["a", "b"]),
    );
    assert.equal(asked.shards.get("0")?.splitInto, 2);
    assert.equal(stateAfter([publish("x")], asked).shards.has("0-0"), false, "nobody has ordered it");
    const abandoned = stateAfter([order, { type: "split-abandoned", shard: "0", log: "shard-0" }], asked);
    assert.equal(line(abandoned), "active #1 a followed by b in shard-0");
    const state = stateAfter([order, move("b", 1), publish("x"), publish("y")], asked);
    assert.equal(line(state), "retired #1 nobody in shard-0");
    assert.equal(line(state, "0-1"), "active #1 a followed by b in 0-1x");
    assert.deepEqual(state.shards.get("0-1")?.parent, parentPosition("shard-0"));
    assert.deepEqual(
      [shardOfSlot(state, 511)?.id, shardOfSlot(state, 512)?.id, shardOfSlot(state, 1024)?.id],
      ["0-0", "0-1", "1"],
    );
  });

  test("orders no split that would lose a slot or hold one twice (SF2)", () => {
    const state = stateAfter([assigned("a", [])], clusterOf(["a"]));
    for (const ranges of [
      [[0, 1024]],
      [
        [0, 500],
        [512, 1024],
      ],
      [
        [0, 512],
        [500, 1024],
      ],
      [
        [0, 512],
        [512, 1023],
      ],
      [
        [0, 512],
        [512, 1025],
      ],
      [
        [0, 0],
        [0, 1024],
      ],
      [
        [512, 1024],
        [0, 512],
      ],
    ]) {
      const children = ranges.map(([from, to], index) => ({ id: `0-${index}`, from: from!, to: to! }));
      const after = stateAfter([{ type: "split-ordered", term: 1, shard: "0", children }], state);
      assert.equal(after.shards.get("0")?.status, "active", JSON.stringify(ranges));
    }
  });

  test("repairs a quarantined shard with the first log that is published for it (SF6)", () => {
    const repaired = (log: string, of = "shard-0"): SystemRecord => {
      return { type: "repaired", shard: "0", log, incarnation, parent: parentPosition(of) };
    };
    const quarantined = (log: string): SystemRecord => ({ type: "quarantined", shard: "0", log, detail: "short" });
    assert.deepEqual(
      transcript(clusterOf(["a", "b"]), [
        assigned("a", ["b"]),
        repaired("r1"),
        quarantined("another"),
        quarantined("shard-0"),
        move("b", 1),
        repaired("r1"),
        repaired("r2"),
        quarantined("shard-0"),
        quarantined("r1"),
        repaired("r3", "r1"),
      ]),
      [
        "assigned: active #1 a followed by b in shard-0",
        "repaired: active #1 a followed by b in shard-0",
        "quarantined: active #1 a followed by b in shard-0",
        "quarantined: quarantined #1 a followed by b in shard-0",
        "move-planned: quarantined #1 a followed by b in shard-0",
        "repaired: active #1 a followed by b in r1",
        "repaired: active #1 a followed by b in r1",
        "quarantined: active #1 a followed by b in r1",
        "quarantined: quarantined #1 a followed by b in r1",
        "repaired: active #1 a followed by b in r3",
      ],
    );
  });

  test("is total: any record on any of these states", () => {
    for (const state of [emptySystemState, stateAfter([founding()]), clusterOf(["a.1", "b.1"])]) {
      for (const record of records) stateAfter([record], state);
    }
  });

  test("keeps its invariants under any sequence of records", () => {
    let changes = 0;
    fc.assert(
      fc.property(fc.integer(), (seed) => {
        const random = new SeededRandom(seed);
        let state = emptySystemState;
        for (let step = 0; step < 120; step++) {
          const record = randomRecord(state, random);
          const next = stateAfter([record], state);
          checkState(next);
          checkStep(state, next);
          if (next.shards !== state.shards) changes++;
          state = next;
        }
        const [read] = decodeSystemRecords(encodeSystemRecords([checkpointOf(state)]));
        const loaded = fold(emptySystemState, [read!], state.sequence + 1);
        const folded = fold(state, [checkpointOf(state)], state.sequence + 1);
        assert.deepEqual(loaded, folded, "who begins with a checkpoint has the same state");
      }),
      { numRuns: 300 },
    );
    assert.ok(changes > 3000, `only ${changes} records changed a shard: the property says little`);
  });

  test("counts the deaths of all nodes together, until an operator lifts the quarantine", () => {
    const entity = { tenant: "default", kind: "note", id: "ogre" };
    const died = (lastDeathMs: number, id = "ogre"): SystemRecord => ({
      type: "suspected",
      suspect: { ...entity, id, what: "eat", deaths: 1, lastDeathMs },
    });
    const held = (state: SystemState): readonly string[] => quarantinedEntities(state).map(({ id }) => id);
    const twice = stateAfter([founding(), died(1), died(1), died(2), died(3, "other")]);
    assert.deepEqual(held(twice), []);
    assert.deepEqual(held(stateAfter([{ type: "cleared", entity }, died(4), died(5)], twice)), []);
    const third = stateAfter([died(4), { type: "cleared", entity }], twice);
    assert.deepEqual(held(third), ["ogre"]);
    const of = (from: number, to: number) => quarantinedIn(third, { entities: new Map() }, { from, to }).size;
    assert.equal(of(0, 4096), 0, "a kind that this node's code doesn't know");
    assert.deepEqual(held(stateAfter([{ type: "quarantine-lifted", entity }], third)), []);
  });

  test("names those in quarantine in the shard that has their slot, and with an affinity in all", () => {
    const deaths = ["plain", "near"].map((kind): SystemRecord => {
      const suspect = { tenant: "default", kind, id: "x", what: "eat", deaths: 3, lastDeathMs: 1 };
      return { type: "suspected", suspect };
    });
    const state = stateAfter([founding(), ...deaths]);
    const plain = entity("plain").state(z.object({}), () => ({}));
    const near = entity("near")
      .state(z.object({}), () => ({}))
      .affinity((id) => id);
    const entities = new Map([plain, near].map(({ definition }) => [definition.name, definition]));
    const slot = slotOf("plain", "x", "default");
    const names = (from: number, to: number) => [...quarantinedIn(state, { entities }, { from, to })];
    const [plainName, nearName] = ["plain", "near"].map((kind) => entityName("default", kind, "x"));
    assert.deepEqual(names(slot, slot + 1), [plainName, nearName]);
    assert.deepEqual(names(slot + 1, slot + 2), [nearName]);
  });

  test("is bounded: the largest state fits in a checkpoint (SF7)", () => {
    const id = (index: number): string => `${"m".repeat(52)}${String(index).padStart(3, "0")}.${"f".repeat(8)}`;
    assert.equal(id(0).length, limits.memberIdBytesMax);
    const ids = Array.from({ length: limits.membersMax + 50 }, (_, index) => id(index));
    const state = stateAfter([founding({ shardCount: 256, followerCount: 2 }), ...ids.map((each) => joining(each))]);
    assert.equal(state.members.size, limits.membersMax, "no more may join");
    const left = stateAfter(
      ids.slice(0, 60).map((member) => ({ type: "left", member })),
      state,
    );
    assert.equal(left.members.size, limits.membersMax - 60 + limits.membersGoneMax);
    const [first, second, third, fourth] = ids.slice(60);
    const largest: ShardState = {
      ...left.shards.get("0")!,
      id: "x".repeat(limits.shardIdBytesMax),
      log: "l".repeat(limits.logNameBytesMax),
      incarnation,
      owner: first,
      followers: [second!, third!],
      movingTo: fourth,
      parent: { ...parentPosition("p".repeat(limits.logNameBytesMax), 2 ** 50), epoch: 2 ** 50 },
      anchor: { epoch: 2 ** 50, sequence: 2 ** 50, hash: parentPosition("p").hash },
      snapshot: { epoch: 2 ** 50, sequence: 2 ** 50 },
      splitInto: 4,
      children: Array.from({ length: 4 }, (_, index) => ({
        id: `${"y".repeat(limits.shardIdBytesMax - 1)}${index}`,
        from: 4000,
        to: 4096,
      })),
    };
    const sizeOf = (shards: readonly ShardState[]): number => {
      return encodeSystemRecords([checkpointOf({ ...left, shards: new Map(shards.map((shard) => [shard.id, shard])) })])
        .length;
    };
    const none = sizeOf([]);
    const suspects = Array.from({ length: limits.clusterSuspectsMax + 5 }, (_, index): SystemRecord => {
      const name = "n".repeat(limits.nameBytesMax);
      const id = `${"i".repeat(limits.idBytesMax - 3)}${String(index).padStart(3, "0")}`;
      const suspect = { tenant: name, kind: name, id, what: name, deaths: 2 ** 50, lastDeathMs: 2 ** 50 + index };
      return { type: "suspected", suspect };
    });
    const suspicious = stateAfter(suspects);
    assert.equal(suspicious.suspects.size, limits.clusterSuspectsMax);
    const spared = encodeSystemRecords([checkpointOf(emptySystemState)]).length;
    const suspectBytes = encodeSystemRecords([checkpointOf(suspicious)]).length - spared;
    assert.ok(suspectBytes <= limits.clusterSuspectsMax * limits.suspectBytesMax, `${suspectBytes}`);
    assert.ok(sizeOf([largest]) - none <= limits.shardBytesMax, `${sizeOf([largest]) - none}`);
    const retired = {
      ...largest,
      status: "retired",
      owner: undefined,
      followers: [],
      movingTo: undefined,
      splitInto: undefined,
      anchor: undefined,
      snapshot: undefined,
    } as const;
    assert.ok(sizeOf([retired]) - none <= limits.shardRetiredBytesMax, `${sizeOf([retired]) - none}`);
  });
});

function checkState(state: SystemState): void {
  if (state.cluster === undefined) return;
  let from = 0;
  for (const shard of presentShards(state)) {
    assert.equal(shard.from, from, "SF2");
    from = shard.to;
    const named = [shard.owner, ...shard.followers].filter((id) => id !== undefined);
    assert.equal(new Set(named).size, named.length, "SF4: named once");
    for (const id of [...named, ...(shard.movingTo === undefined ? [] : [shard.movingTo])]) {
      assert.ok(isPresent(state, id), `SF4: ${id}`);
    }
    assert.notEqual(shard.owner, shard.movingTo ?? "nobody");
  }
  assert.equal(from, limits.slotCount, "SF2");
}

function checkStep(before: SystemState, after: SystemState): void {
  assert.ok((after.controller?.term ?? 0) >= (before.controller?.term ?? 0), "SF3: terms");
  for (const [id, shard] of before.shards) {
    const next = after.shards.get(id)!;
    assert.ok(next.assignment >= shard.assignment, "SF3: assignments");
    const isRetired = next.status === "retired";
    assert.ok(
      next.assignment > shard.assignment || next.owner === shard.owner || isRetired,
      "a new owner has a new assignment",
    );
    if (shard.status === "retired") assert.deepEqual(next, shard);
  }
  for (const [id, member] of before.members) {
    if (member.status === "gone") assert.ok(!isPresent(after, id), "SF5");
  }
}
