import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { OnefoldError } from "../base/errors.ts";
import { type Limits, limits } from "../base/limits.ts";
import { SeededRandom } from "../base/random.ts";
import { decodeRecord, encodeRecord } from "../log/record.ts";
import { SimulatedNode } from "../sim/host.ts";
import { Scheduler } from "../sim/scheduler.ts";
import { type FakeEngine, type FakeEngineStream, FakeEngineStreams, type FakeFaults } from "./engine-log.fake.ts";
import { foundOrJoin } from "./founding.ts";
import { describe as describeMember, joining, stateAfter, successorOf } from "./system.fixture.ts";
import { SystemLog } from "./system-log.ts";
import { firstSequenceOf } from "./system-names.ts";
import { FakeSystemPeers } from "./system-peers.fake.ts";
import { encodeSystemRecords, type SystemRecord } from "./system-records.ts";

const deadlineMs = 5000;
const options = { systemName: "bank", shardCount: 4, followerCount: 1 };
const withCode = (code: string) => (error: unknown) => error instanceof OnefoldError && error.code === code;

/** Nodes with a system log each, on one stream. */
class World {
  readonly scheduler = new Scheduler();
  readonly random: SeededRandom;
  readonly streams: FakeEngineStreams;
  readonly peers = new FakeSystemPeers();
  readonly nodes = new Map<string, SimulatedNode>();

  constructor(seed: string | number = "system-log") {
    this.random = new SeededRandom(seed);
    this.streams = new FakeEngineStreams(this.scheduler);
  }

  get stream(): FakeEngineStream {
    return this.streams.get("system")!;
  }

  /** Opens the log on the node of this name, in a new life if there was one before. */
  async open(name: string, faults: Partial<FakeFaults> = {}, changed: Partial<Limits> = {}): Promise<Opened> {
    const known = this.nodes.get(name);
    known?.crash();
    const node = known ?? new SimulatedNode({ scheduler: this.scheduler, random: this.random.fork(name), name });
    this.nodes.set(name, node);
    const host = node.start();
    const view = this.streams.view(this.random.fork(`view-${name}-${this.scheduler.eventCount}`), faults);
    const failures: unknown[] = [];
    const log = await this.scheduler.complete(
      SystemLog.open({
        host,
        limits: { ...limits, ...changed },
        engine: view,
        peers: this.peers.of(name),
        node: name,
        directory: "system",
        segmentBytes: 64 * 1024,
        onFailed: (error) => failures.push(error),
      }),
    );
    this.peers.join(name, log, () => host.life.alive && !view.faults.isCut);
    return { node, host, view, log, failures };
  }

  until(condition: () => boolean, atMostMs = 60_000): Promise<void> {
    const untilMs = this.scheduler.nowMs + atMostMs;
    return this.scheduler.run({ untilMs, stopWhen: condition }).then(() => {
      assert.ok(condition(), `not within ${atMostMs} ms: ${condition}`);
    });
  }

  async found(name = "a"): Promise<Opened> {
    const opened = await this.open(name);
    await this.scheduler.complete(foundOrJoin(opened.log, opened.host, options, { deadlineMs }));
    return opened;
  }

  async pass(durationMs: number): Promise<void> {
    await this.scheduler.run({ untilMs: this.scheduler.nowMs + durationMs });
  }
}

interface Opened {
  readonly node: SimulatedNode;
  readonly host: ReturnType<SimulatedNode["start"]>;
  readonly view: FakeEngine;
  readonly log: SystemLog;
  readonly failures: unknown[];
}

const joinOnce =
  (id: string) =>
  (state: { readonly members: ReadonlyMap<string, unknown> }): readonly SystemRecord[] | undefined =>
    state.members.has(id) ? undefined : [joining(id)];

describe("the system log on a node", () => {
  test("is founded by whoever appends first; the others take that", async () => {
    const world = new World();
    const opened = [await world.open("a"), await world.open("b"), await world.open("c")];
    const identities = await world.scheduler.complete(
      Promise.all(opened.map(({ log, host }) => foundOrJoin(log, host, options, { deadlineMs }))),
    );
    assert.deepEqual(identities[1], identities[0]);
    assert.deepEqual(identities[2], identities[0]);
    assert.equal(world.stream.last, 1);
    assert.equal(decodeRecord(world.stream.records.get(1)!).kind, "genesis");
    const { log, host } = await world.open("d");
    const late = await world.scheduler.complete(foundOrJoin(log, host, { ...options, shardCount: 8 }, { deadlineMs }));
    assert.deepEqual(late, identities[0], "and its options with it");
    await assert.rejects(
      world.scheduler.complete(foundOrJoin(log, host, { ...options, systemName: "shop" }, { deadlineMs })),
      withCode("invalid-configuration"),
    );
    await assert.rejects(
      foundOrJoin(log, host, { ...options, shardCount: 3 }, { deadlineMs }),
      withCode("invalid-configuration"),
    );
  });

  test("appends each proposal once, whatever the engine answers, and tells what became of it", async () => {
    let unknowns = 0;
    for (let seed = 0; seed < 12; seed++) {
      const world = new World(seed);
      await world.found();
      const faults = { unknown: 0.3, lost: 0.2, falselyRefused: 0.2, skip: 0.3, repeat: 0.3 };
      const nodes = [await world.open("b", faults), await world.open("c", faults), await world.open("d", faults)];
      const proposals = nodes.flatMap(({ log }, index) =>
        Array.from({ length: 10 }, async (_, count) => {
          const id = `m${index}.${count}`;
          await world.scheduler.sleep(300 * count);
          return { id, outcome: await log.propose(() => [joining(id)], { deadlineMs: 60_000 }) };
        }),
      );
      const outcomes = await world.scheduler.complete(Promise.all(proposals));
      const joined = [...world.stream.records.entries()].flatMap(([sequence, bytes]) => {
        const text = Buffer.from(bytes).toString("latin1");
        return [...text.matchAll(/m\d\.\d:1/g)].map(([address]) => ({ id: address.slice(0, -2), sequence }));
      });
      assert.deepEqual(
        [...new Set(joined.map(({ id }) => id))].length,
        joined.length,
        `seed ${seed}: one stands twice`,
      );
      for (const { id, outcome } of outcomes) {
        if (outcome.kind === "unknown") unknowns++;
        else {
          assert.equal(outcome.kind, "committed");
          const sequence = outcome.kind === "committed" ? outcome.sequence : 0;
          assert.ok(
            joined.some((each) => each.id === id && each.sequence === sequence),
            `seed ${seed}: ${id}`,
          );
        }
      }
      await world.until(() => nodes.every(({ log }) => log.state.sequence === world.stream.last));
      for (const { log, failures } of nodes) {
        assert.deepEqual(log.state, nodes[0]!.log.state);
        assert.deepEqual(failures, []);
      }
    }
    assert.equal(unknowns, 0, "none was ever in doubt for a minute");
  });

  test("decides again on what has come before", async () => {
    const world = new World();
    const [a, b] = [await world.found(), await world.open("b")];
    const claim = (member: string) => {
      return (state: {
        readonly controller: { readonly term: number } | undefined;
      }): readonly SystemRecord[] | undefined =>
        state.controller === undefined ? [{ type: "controller-claimed", member, term: 1 }] : undefined;
    };
    await world.scheduler.complete(a.log.propose(() => [joining("x"), joining("y")], { deadlineMs }));
    await world.until(() => b.log.state.members.size === 2);
    const outcomes = await world.scheduler.complete(
      Promise.all([a.log.propose(claim("x"), { deadlineMs }), b.log.propose(claim("y"), { deadlineMs })]),
    );
    assert.deepEqual(outcomes.map(({ kind }) => kind).sort(), ["committed", "declined"]);
    assert.equal(world.stream.last, 3);
  });

  test("appends together what waits together, each on the state that those before it make", async () => {
    const world = new World();
    const { log } = await world.found();
    const outcomes = await world.scheduler.complete(
      Promise.all(["x", "y", "x", "z"].map((id) => log.propose(joinOnce(id), { deadlineMs }))),
    );
    assert.deepEqual(
      outcomes.map(({ kind }) => kind),
      ["committed", "committed", "declined", "committed"],
    );
    assert.equal(world.stream.last, 2);
    await assert.rejects(
      log.propose(() => [{ type: "joined", wallMs: 1, member: { ...describeMember("w"), address: "x".repeat(900) } }], {
        deadlineMs,
      }),
      withCode("too-large"),
    );
    await assert.rejects(
      log.propose(
        () => {
          throw new RangeError("of decide");
        },
        { deadlineMs },
      ),
      RangeError,
    );
    const many = Array.from({ length: limits.proposalsMax + 1 }, (_, index) =>
      log.propose(joinOnce(`n${index}`), { deadlineMs }),
    );
    await assert.rejects(many.at(-1)!, withCode("overloaded"));
    await world.scheduler.complete(Promise.all(many.slice(0, -1)));
  });

  test("sends the identical bytes through an election, and says 'unknown' only at the deadline", async () => {
    const world = new World();
    const { log, view } = await world.found();
    world.stream.isElecting = true;
    const patient = log.propose(joinOnce("x"), { deadlineMs: 20_000 });
    const hasty = log.propose(joinOnce("y"), { deadlineMs: 1000 });
    await world.scheduler.complete(hasty);
    assert.deepEqual(await hasty, { kind: "unknown" });
    await world.pass(5000);
    world.stream.isElecting = false;
    const outcome = await world.scheduler.complete(patient);
    assert.equal(outcome.kind, "committed");
    assert.ok(view.appendCount > 5);
    assert.deepEqual([...log.state.members.keys()], ["x", "y"], "one batch: 'unknown' was the truth");
  });

  test("follows by polling where the tail is silent", async () => {
    const world = new World();
    const a = await world.found();
    const b = await world.open("b", { isSilent: true });
    let told = 0;
    const stop = b.log.onChange(() => told++);
    await world.scheduler.complete(a.log.propose(joinOnce("x"), { deadlineMs }));
    await world.until(() => b.log.state.members.has("x"), 1000);
    assert.ok(told > 0);
    stop();
    told = 0;
    await world.scheduler.complete(a.log.propose(joinOnce("y"), { deadlineMs }));
    await world.until(() => b.log.state.members.has("y"), 1000);
    assert.equal(told, 0);
  });

  test("looks for the log's end where the tail is silent, though what it has itself met in its way comes in (SL3)", async () => {
    const world = new World();
    const a = await world.found();
    const b = await world.open("b", { isSilent: true });
    // The log grows as fast as one record can be appended, and each attempt of `b` finds the next of them in its way.
    let isOver = false;
    let count = 0;
    const growing = (async () => {
      for (; !isOver; count++) await a.log.propose(joinOnce(`m${count}`), { deadlineMs });
    })();
    const outcome = b.log.propose(joinOnce("late"), { deadlineMs });
    await world.pass(3000);
    const behind = world.stream.last - b.log.state.sequence;
    isOver = true;
    assert.equal((await world.scheduler.complete(outcome)).kind, "committed");
    await world.scheduler.complete(growing);
    // In the time between two looks the log grows by a hundred records.
    assert.ok(count > 800 && behind < 130, `${behind} of ${count} behind`);
  });

  test("goes on from the copy that reaches farthest, where a log was rolled back behind what a node had verified (SL2)", async () => {
    const world = new World();
    const a = await world.found();
    for (const id of ["x", "y", "z"]) await world.scheduler.complete(a.log.propose(joinOnce(id), { deadlineMs }));
    a.node.crash();
    world.stream.rollBack(2);
    const b = await world.open("b");
    await world.until(() => b.log.isReady);
    const again = await world.open("a");
    assert.deepEqual([...again.log.state.members.keys()], ["x", "y", "z"], "its copy says so");
    await world.pass(10_000);
    assert.equal(again.log.isReady, false);
    assert.ok(b.log.isReady, "it may be a server that is behind");
    await world.until(() => again.log.isReady && b.log.isReady && b.log.state.sequence > 2 ** 40);
    for (const { log, failures } of [again, b]) {
      assert.deepEqual([...log.state.members.keys()], ["x", "y", "z"]);
      assert.deepEqual(failures, []);
    }
    assert.equal(decodeRecord(world.stream.records.get(world.stream.last)!).kind, "seal");
    assert.equal((await world.scheduler.complete(b.log.propose(joinOnce("u"), { deadlineMs }))).kind, "committed");
    await world.until(() => again.log.state.members.has("u"));
  });

  test("seals a log that stays short for longer than any server is behind (SL4)", async () => {
    const world = new World();
    const a = await world.found();
    const isSealed = (): boolean => a.log.state.sequence > 2 ** 40;
    await world.scheduler.complete(a.log.propose(joinOnce("x"), { deadlineMs }));
    await world.pass(2000);
    a.view.faults.showsUpTo = 1;
    await world.pass(limits.systemLogDoubtMs - 2000);
    assert.ok(!isSealed());
    a.view.faults.showsUpTo = Number.POSITIVE_INFINITY;
    await world.pass(2000);
    a.view.faults.showsUpTo = 1;
    await world.pass(limits.systemLogDoubtMs - 2000);
    assert.ok(!isSealed(), "the doubt was over in between");
    a.view.faults.isCut = true;
    await world.pass(1000);
    a.view.faults.isCut = false;
    await world.pass(limits.systemLogDoubtMs - 2000);
    assert.ok(!isSealed(), "while it did not answer, it did not look short");
    await world.pass(10_000);
    assert.equal(a.log.isReady, false, "it has stopped");
    assert.ok(!isSealed(), "where the log only looks short, no seal is acknowledged");
    assert.equal(world.streams.get("system-1"), undefined);
    a.view.faults.showsUpTo = Number.POSITIVE_INFINITY;
    await world.until(() => a.log.isReady && isSealed());
    assert.deepEqual([...a.log.state.members.keys()], ["x"]);
  });

  test("goes on with the others' successor though its own log looks whole, and what was sent meanwhile is unknown", async () => {
    const world = new World();
    const a = await world.found();
    await world.scheduler.complete(a.log.propose(joinOnce("x"), { deadlineMs }));
    const first = firstSequenceOf(1);
    const { bytes } = successorOf(decodeRecord(world.stream.records.get(2)!), a.log.state);
    world.streams.make("system-1", first).append(first, bytes);
    a.view.faults.lost = 1;
    const sent = a.log.propose(joinOnce("y"), { deadlineMs: 60_000 });
    await world.until(() => a.log.isReady && a.log.state.sequence === first, 10_000);
    a.view.faults.lost = 0;
    assert.deepEqual(await world.scheduler.complete(sent), { kind: "unknown" });
    assert.equal((await world.scheduler.complete(a.log.propose(joinOnce("z"), { deadlineMs }))).kind, "committed");
    assert.deepEqual([...a.log.state.members.keys()], ["x", "z"]);
    assert.equal(world.stream.last, 2);
    const again = await world.open("a");
    assert.deepEqual(again.log.state, a.log.state, "its copy is the successor's");
  });

  test("never takes a log that is out of reach for a damaged one, and goes on when it is back", async () => {
    const world = new World();
    const a = await world.found();
    a.view.faults.isCut = true;
    assert.deepEqual(await world.scheduler.complete(a.log.propose(joinOnce("x"), { deadlineMs })), { kind: "unknown" });
    await world.pass(120_000);
    assert.deepEqual(a.failures, []);
    a.view.faults.isCut = false;
    assert.equal((await world.scheduler.complete(a.log.propose(joinOnce("y"), { deadlineMs }))).kind, "committed");
  });

  test("never takes a fork, wrong bytes or a hole: the log goes on in another once they stay, from the copies of others (SL4)", async () => {
    const damage: readonly [string, number, (world: World) => void][] = [
      [
        "fork",
        5000,
        (world) => {
          const previous = decodeRecord(world.stream.records.get(2)!);
          const forged = encodeRecord(
            { ...previous, sequence: 3, previousHash: new Uint8Array(32).fill(1) },
            encodeSystemRecords([joining("x")]),
          );
          world.stream.records.set(3, forged.bytes);
        },
      ],
      [
        "wrong bytes",
        limits.systemLogDoubtMs + 5000,
        (world) => {
          const bytes = new Uint8Array(world.stream.records.get(3)!);
          bytes[150]! ^= 1;
          world.stream.records.set(3, bytes);
        },
      ],
      ["hole", limits.systemLogDoubtMs + 5000, (world) => world.stream.records.delete(3)],
    ];
    for (const [what, atMostMs, harm] of damage) {
      const world = new World();
      const a = await world.found();
      for (const id of ["x", "y", "z"]) await world.scheduler.complete(a.log.propose(joinOnce(id), { deadlineMs }));
      harm(world);
      const b = await world.open("b");
      const isRepaired = ({ log }: Opened): boolean => log.isReady && log.state.sequence > 2 ** 40;
      await world.until(() => isRepaired(a) && isRepaired(b), atMostMs);
      assert.deepEqual(b.log.state, a.log.state, what);
      assert.deepEqual([...b.log.state.members.keys()], ["x", "y", "z"], what);
      assert.ok(b.log.state.sequence > 2 ** 40, what);
      assert.deepEqual([...a.failures, ...b.failures], []);
    }
  });

  test("takes a node with a later version's records out", async () => {
    const world = new World();
    const a = await world.found();
    const previous = decodeRecord(world.stream.records.get(1)!);
    const { bytes } = encodeRecord(
      { ...previous, kind: "batch", sequence: 2, previousHash: previous.hash },
      // Of a type that only a later version would have.
      encodeSystemRecords([{ type: "renamed" } as unknown as SystemRecord]),
    );
    world.stream.append(2, bytes);
    await world.until(() => a.failures.length > 0);
    assert.ok(withCode("unsupported-version")(a.failures[0]));
  });

  test("is trimmed behind the older of two checkpoints; newcomers and those who were away begin there", async () => {
    const world = new World();
    const few = { checkpointRecordsMax: 10 };
    const a = await world.open("a", {}, few);
    await world.scheduler.complete(foundOrJoin(a.log, a.host, options, { deadlineMs }));
    const away = await world.open("away", {}, few);
    await world.until(() => away.log.isReady);
    const awayState = away.log.state;
    await world.scheduler.complete(away.log.close());
    const kinds: string[] = [];
    for (let index = 0; index < 45; index++) {
      await world.scheduler.complete(a.log.propose(() => [joining(`m${index}`)], { deadlineMs }));
      kinds.push((await world.scheduler.complete(a.log.checkpoint({ deadlineMs }))).kind);
      await world.scheduler.complete(a.log.trim());
    }
    assert.equal(kinds.filter((kind) => kind === "committed").length, 4);
    assert.equal(world.stream.first, a.log.state.checkpoints[0]);
    assert.ok(world.stream.records.size < 25, `${world.stream.records.size}`);
    const b = await world.open("b", {}, few);
    await world.until(() => b.log.isReady);
    assert.deepEqual(b.log.state, a.log.state);
    assert.equal(b.log.state.members.size, 45);
    const back = await world.open("away", {}, few);
    await world.until(() => back.log.isReady);
    assert.deepEqual(back.log.state, a.log.state);
    assert.ok(awayState.sequence < world.stream.first);
    assert.deepEqual([...b.failures, ...back.failures], []);
  });

  test("begins at a checkpoint also where records before it are still there, or another incarnation has taken its place", async () => {
    const world = new World();
    const few = { checkpointRecordsMax: 10 };
    const a = await world.open("a", {}, few);
    await world.scheduler.complete(foundOrJoin(a.log, a.host, options, { deadlineMs }));
    for (let index = 0; index < 12; index++) {
      await world.scheduler.complete(a.log.propose(() => [joining(`m${index}`)], { deadlineMs }));
      await world.scheduler.complete(a.log.checkpoint({ deadlineMs }));
    }
    await world.pass(2000);
    world.stream.trim(5);
    const b = await world.open("b", {}, few);
    await world.until(() => b.log.isReady);
    assert.deepEqual(b.log.state, a.log.state);
    await world.pass(2000);
    a.node.crash();
    b.node.crash();
    const other = new World("other");
    const c = await other.open("c", {}, few);
    await other.scheduler.complete(foundOrJoin(c.log, c.host, options, { deadlineMs }));
    for (let index = 0; index < 30; index++) {
      await other.scheduler.complete(c.log.propose(() => [joining(`m${index}`)], { deadlineMs }));
      await other.scheduler.complete(c.log.checkpoint({ deadlineMs }));
    }
    world.stream.records.clear();
    world.stream.last = other.stream.last;
    for (const [sequence, bytes] of other.stream.records) world.stream.records.set(sequence, bytes);
    world.stream.first = 1;
    world.stream.trim(c.log.state.checkpoints[0]!);
    assert.ok(world.stream.first > 15);
    const back = await world.open("b", {}, few);
    await world.until(() => back.failures.length > 0);
    assert.ok(withCode("damaged")(back.failures[0]), "its anchor is of another incarnation");
  });

  test("refuses a checkpoint that is not what its records make", async () => {
    const world = new World();
    const a = await world.found();
    const wrong = stateAfter([joining("nobody")], a.log.state);
    await world.scheduler.complete(
      a.log.propose(
        (state) => [
          {
            type: "checkpoint",
            state: {
              ...wrong,
              sequence: state.sequence,
              members: [...wrong.members.values()],
              shards: [...wrong.shards.values()],
              suspects: [],
            },
          },
        ],
        { deadlineMs },
      ),
    );
    assert.ok(withCode("damaged")(a.failures[0]));
  });

  test("ends everything with `close`, and what is under way is unknown", async () => {
    const world = new World();
    const { log, view } = await world.found();
    view.faults.lost = 1;
    const pending = log.propose(joinOnce("x"), { deadlineMs: 60_000 });
    await world.pass(500);
    await world.scheduler.complete(log.close());
    await log.close();
    assert.deepEqual(await pending, { kind: "unknown" });
    assert.equal(await world.scheduler.run({ untilMs: world.scheduler.nowMs + 600_000 }), "quiescent");
    assert.equal(world.stream.tails.size, 0);
  });
});
