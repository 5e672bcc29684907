import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { OnefoldError } from "../base/errors.ts";
import { type Limits, limits } from "../base/limits.ts";
import { SeededRandom } from "../base/random.ts";
import { SimulatedNode } from "../sim/host.ts";
import { Scheduler } from "../sim/scheduler.ts";
import { type FakeEngine, FakeEngineStreams, type FakeFaults } from "./engine-log.fake.ts";
import { foundOrJoin } from "./founding.ts";
import { Membership } from "./membership.ts";
import { describe as describeMember, joining } from "./system.fixture.ts";
import { SystemLog } from "./system-log.ts";
import { FakeSystemPeers } from "./system-peers.fake.ts";
import type { SystemRecord } from "./system-records.ts";
import { presentMembers, presentShards, type SystemState } from "./system-state.ts";

const deadlineMs = 5000;
const withCode = (code: string) => (error: unknown) => error instanceof OnefoldError && error.code === code;

interface Member {
  readonly node: SimulatedNode;
  readonly view: FakeEngine;
  readonly log: SystemLog;
  readonly membership: Membership;
  readonly failures: unknown[];
}

/** A cluster whose members do nothing but be members, and release what they are told to. */
class World {
  readonly scheduler = new Scheduler();
  readonly random: SeededRandom;
  readonly streams: FakeEngineStreams;
  readonly peers = new FakeSystemPeers();
  readonly members = new Map<string, Member>();

  constructor(seed: string | number = "membership") {
    this.random = new SeededRandom(seed);
    this.streams = new FakeEngineStreams(this.scheduler);
  }

  async start(id: string, faults: Partial<FakeFaults> = {}, changed: Partial<Limits> = {}): Promise<Member> {
    const node = new SimulatedNode({ scheduler: this.scheduler, random: this.random.fork(id), name: id });
    const host = node.start();
    const view = this.streams.view(this.random.fork(`view-${id}`), faults);
    const failures: unknown[] = [];
    const onFailed = (error: unknown): number => failures.push(error);
    const start = async (): Promise<Member> => {
      const parts = { host, limits: { ...limits, ...changed } };
      const log = await SystemLog.open({
        ...parts,
        engine: view,
        peers: this.peers.of(id),
        node: id,
        directory: "system",
        segmentBytes: 64 * 1024,
        onFailed,
      });
      this.peers.join(id, log, () => node.alive);
      await foundOrJoin(log, host, { systemName: "bank", shardCount: 4, followerCount: 1 }, { deadlineMs });
      const member = describeMember(id);
      const membership = new Membership({
        ...parts,
        log,
        member,
        copies: () => new Map(),
        onChange: () => undefined,
        onFailed,
      });
      await membership.join({ deadlineMs });
      log.onChange((state) => this.#release(log, state, id));
      return { node, view, log, membership, failures };
    };
    const member = await this.scheduler.complete(start());
    this.members.set(id, member);
    return member;
  }

  #release(log: SystemLog, state: SystemState, id: string): void {
    for (const { id: shard, owner, movingTo, assignment } of presentShards(state)) {
      if (owner !== id || movingTo === undefined) continue;
      const isDue = (now: SystemState): boolean => now.shards.get(shard)?.assignment === assignment;
      void log.propose(
        (now) => (isDue(now) ? [{ type: "released", shard, member: id, assignment, end: undefined }] : undefined),
        {
          deadlineMs,
        },
      );
    }
  }

  async startAll(...ids: readonly string[]): Promise<void> {
    for (const id of ids) await this.start(id);
    await this.until(() => this.isSettled(...ids));
  }

  /** The state as the first member that lives sees it. */
  get state(): SystemState {
    const member = [...this.members.values()].find(({ node, membership }) => node.alive && !membership.isGone);
    assert(member !== undefined);
    return member.log.state;
  }

  /** These are the members, and all shards are where they shall be. */
  isSettled(...ids: readonly string[]): boolean {
    const present = presentMembers(this.state).map(({ id }) => id);
    const shards = presentShards(this.state);
    const counts = ids.map((id) => shards.filter(({ owner }) => owner === id).length);
    const isBalanced = Math.max(...counts) - Math.min(...counts) <= 1;
    const arePlaced = shards.every(({ owner, movingTo, followers }) => {
      return owner !== undefined && ids.includes(owner) && movingTo === undefined && followers.length === 1;
    });
    return present.join() === ids.join() && arePlaced && isBalanced;
  }

  async until(condition: () => boolean, atMostMs = 10_000): Promise<number> {
    const startMs = this.scheduler.nowMs;
    await this.scheduler.run({ untilMs: startMs + atMostMs, stopWhen: condition });
    assert.ok(condition(), `not within ${atMostMs} ms: ${condition}`);
    return this.scheduler.nowMs - startMs;
  }

  async pass(durationMs: number): Promise<void> {
    await this.scheduler.run({ untilMs: this.scheduler.nowMs + durationMs });
  }

  get controllers(): string[] {
    return [...this.members]
      .filter(([, { node, membership }]) => node.alive && membership.isController)
      .map(([id]) => id);
  }
}

describe("membership", () => {
  test("joins, elects one controller, and has all shards placed", async () => {
    const world = new World();
    await world.startAll("a", "b", "c");
    assert.equal(world.controllers.length, 1);
    for (const { membership, failures } of world.members.values()) {
      assert.equal(membership.isCutOff, false);
      assert.equal(membership.mayClaim, true);
      assert.deepEqual(failures, []);
    }
    const owners = presentShards(world.state).map(({ owner }) => owner);
    assert.deepEqual([...new Set(owners)].sort(), ["a", "b", "c"]);
    const { sequence } = world.state;
    const { shards } = world.state;
    await world.pass(30_000);
    assert.ok(world.state.sequence > sequence + 200, "renewals go on");
    assert.deepEqual(world.state.shards, shards, "and nothing else happens");
  });

  test("finds a crash and gives its shards away within two seconds, the controller's too", async () => {
    for (let seed = 0; seed < 6; seed++) {
      for (const isController of [true, false]) {
        const world = new World(seed);
        await world.startAll("a", "b", "c");
        const [controller] = world.controllers;
        const victim = [...world.members.keys()].find((id) => (id === controller) === isController)!;
        world.members.get(victim)!.node.crash();
        const rest = [...world.members.keys()].filter((id) => id !== victim);
        const tookMs = await world.until(() => world.isSettled(...rest));
        assert.ok(tookMs >= 700 && tookMs < 2000, `seed ${seed}, controller ${isController}: ${tookMs} ms`);
      }
    }
  });

  test("moves nothing in an election of the engine, whatever it does to single answers (hazard 24)", async () => {
    for (let seed = 0; seed < 6; seed++) {
      const world = new World(seed);
      await world.startAll("a", "b", "c");
      const { shards, controller } = world.state;
      for (const durationMs of [900, 4000, 9000]) {
        world.streams.get("system")!.isElecting = true;
        await world.pass(durationMs);
        const cutOff = [...world.members.values()].map(({ membership }) => membership.isCutOff);
        assert.deepEqual(
          cutOff,
          cutOff.map(() => durationMs > limits.unavailableMs + limits.leaseRenewMs),
        );
        world.streams.get("system")!.isElecting = false;
        await world.pass(5000);
        assert.deepEqual(world.state.shards, shards, `seed ${seed}, ${durationMs} ms`);
        assert.deepEqual(world.state.controller, controller);
        assert.equal(presentMembers(world.state).length, 3);
        assert.ok([...world.members.values()].every(({ membership }) => !membership.isCutOff));
      }
    }
  });

  test("stops promising when it is cut off alone, and is declared gone; what comes back is another member", async () => {
    const world = new World();
    await world.startAll("a", "b", "c");
    const [id, lonely] = [...world.members][1]!;
    lonely.view.faults.isCut = true;
    const cutAfterMs = await world.until(() => lonely.membership.isCutOff);
    assert.ok(cutAfterMs <= limits.unavailableMs + 100, `${cutAfterMs}`);
    await world.until(() => world.isSettled("a", "c"));
    await world.pass(60_000);
    assert.equal(lonely.membership.isGone, false, "it can't know");
    lonely.view.faults.isCut = false;
    await world.until(() => lonely.membership.isGone);
    assert.equal(lonely.membership.mayClaim, false);
    assert.deepEqual(lonely.failures, []);
    await world.scheduler.complete(lonely.membership.close());
    await world.start(`${id}2`);
    await world.until(() => world.isSettled("a", "c", `${id}2`));
  });

  test("expires nobody after a pause of its own, however long", async () => {
    const world = new World();
    await world.startAll("a", "b", "c");
    const [id] = world.controllers;
    const { node, membership } = world.members.get(id!)!;
    node.pause();
    await world.pass(700);
    node.resume();
    await world.pass(3000);
    assert.equal(presentMembers(world.state).length, 3, "less than a second: nobody has noticed");
    node.pause();
    await world.pass(8000);
    node.resume();
    await world.pass(5000);
    assert.equal(membership.isGone, true);
    const rest = ["a", "b", "c"].filter((each) => each !== id);
    assert.ok(world.isSettled(...rest), "only the one that was away has gone");
  });

  test("drains, and leaves with nothing in hand", async () => {
    const world = new World();
    await world.startAll("a", "b", "c");
    const { membership, log } = world.members.get("a")!;
    await world.scheduler.complete(membership.drain({ deadlineMs }));
    await world.until(() =>
      presentShards(log.state).every(({ owner, followers }) => owner !== "a" && !followers.includes("a")),
    );
    await world.scheduler.complete(membership.leave({ deadlineMs }));
    await world.until(() => world.isSettled("b", "c"));
    await world.until(() => world.controllers.length === 1);
    await world.scheduler.complete(membership.leave({ deadlineMs }));
    assert.equal(membership.isCutOff, true);
    await world.scheduler.complete(membership.close());
    await world.scheduler.complete(log.close());
  });

  test("has another one govern as soon as the controller drains, whatever becomes of that one (MB2)", async () => {
    const world = new World();
    await world.startAll("a", "b", "c");
    const [first] = world.controllers;
    const { membership } = world.members.get(first!)!;
    await world.scheduler.complete(membership.drain({ deadlineMs }));
    const beganMs = world.scheduler.nowMs;
    await world.until(() => world.controllers.length === 1 && world.controllers[0] !== first);
    const tookMs = world.scheduler.nowMs - beganMs;
    assert.equal(tookMs < limits.leaseExpireMs, true, `it took ${tookMs} ms, and nobody was silent`);
    assert.equal(membership.isCutOff, false);
  });

  test("refuses one member too many, and tells when the log is out of reach", async () => {
    const world = new World();
    const { view, membership } = await world.start("a");
    view.faults.isCut = true;
    await assert.rejects(world.scheduler.complete(membership.drain({ deadlineMs })), withCode("unavailable"));
    view.faults.isCut = false;
    const others = Array.from({ length: limits.membersMax - 1 }, (_, index): SystemRecord => joining(`x${index}`));
    await world.scheduler.complete(world.members.get("a")!.log.propose(() => others, { deadlineMs }));
    await assert.rejects(world.start("late"), withCode("overloaded"));
    await world.until(() => presentMembers(world.state).length === 1);
    await world.start("b");
    await world.until(() => world.isSettled("a", "b"));
  });

  test("keeps the system log short, whoever controls", async () => {
    const world = new World();
    for (const id of ["a", "b", "c"]) await world.start(id, {}, { checkpointRecordsMax: 100 });
    await world.pass(30_000);
    const [controller] = world.controllers;
    world.members.get(controller!)!.node.crash();
    await world.pass(60_000);
    assert.ok(world.state.sequence > 600, `${world.state.sequence}`);
    assert.ok(world.streams.get("system")!.records.size < 320, `${world.streams.get("system")!.records.size}`);
    assert.ok(world.streams.get("system")!.first > 300);
  });

  test("lives with an engine that answers badly", async () => {
    for (let seed = 0; seed < 4; seed++) {
      const world = new World(seed);
      const faults = { unknown: 0.1, lost: 0.05, falselyRefused: 0.1, skip: 0.2, repeat: 0.2 };
      for (const id of ["a", "b", "c"]) await world.start(id, faults);
      await world.until(() => world.isSettled("a", "b", "c"), 20_000);
      await world.pass(30_000);
      assert.ok(world.isSettled("a", "b", "c"), `seed ${seed}`);
      world.members.get("a")!.node.crash();
      await world.until(() => world.isSettled("b", "c"), 10_000);
      for (const { failures } of world.members.values()) assert.deepEqual(failures, []);
    }
  });
});
