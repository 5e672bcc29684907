import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { SeededRandom } from "../../base/random.ts";
import type { EngineLog } from "../../log/engine-log.ts";
import { chooseSwarm } from "../faults.ts";
import type { Obstacle } from "../network.ts";
import { EngineWorld, record, textOf } from "./engine.fixture.ts";
import { noEngineFaults } from "./engine-faults.ts";

const servers = ["e1", "e2", "e3"] as const;
const nodes = ["n1", "n2", "n3"] as const;
const disturbances = ["crash", "stop", "pause", "lag", "cut", "one-way", "clog", "lead", "rates"] as const;

/** One seed's storm: writers that race for every sequence while servers and ways fail, and what they were told is appended. */
class Storm {
  readonly world: EngineWorld;
  readonly random: SeededRandom;
  readonly swarm: ReadonlySet<(typeof disturbances)[number]>;
  /** Bytes that were said to be appended, by sequence. */
  readonly appended = new Map<number, string>();
  readonly obstacles: Obstacle[] = [];
  isOver = false;

  constructor(seed: number) {
    this.world = new EngineWorld(seed);
    this.random = new SeededRandom(seed).fork("storm");
    this.swarm = chooseSwarm(this.random, disturbances);
  }

  async run(): Promise<void> {
    const { scheduler, engine, network } = this.world;
    const handles: EngineLog[] = [];
    for (const node of nodes) handles.push(await this.world.connect(node).create("log", { firstSequence: 1 }));
    const writing = handles.map((log, index) => this.#write(log, nodes[index]!));
    for (let strike = 0; strike < 25; strike++) {
      await scheduler.sleep(this.random.next() * 3000);
      this.#strike();
    }
    this.isOver = true;
    for (const obstacle of this.obstacles) obstacle.clear();
    network.heal();
    engine.heal();
    await Promise.all(writing);
    await scheduler.sleep(20_000);
    await this.#judge(handles[0]!);
  }

  /** Appends as the port asks: the identical bytes until some record stands there. */
  async #write(log: EngineLog, node: string): Promise<void> {
    const random = this.random.fork(node);
    for (let sequence = 1; !this.isOver; sequence++) {
      const bytes = record(`${sequence} of ${node}`);
      for (;;) {
        const { kind } = await log.append(sequence, bytes);
        if (kind === "appended") {
          const other = this.appended.get(sequence);
          assert.ok(
            other === undefined || other === textOf(bytes),
            `EL2 at ${sequence}: ${other} and ${textOf(bytes)}`,
          );
          this.appended.set(sequence, textOf(bytes)!);
          break;
        }
        await this.world.scheduler.sleep(random.next() * 30);
        const standing = await log.read(sequence).catch(() => undefined);
        if (standing !== undefined || this.isOver) break;
      }
      await this.world.scheduler.sleep(random.next() * 40);
    }
  }

  #strike(): void {
    const { engine, network } = this.world;
    const server = this.random.pick(servers);
    const other = this.random.pick([...servers, ...nodes].filter((name) => name !== server));
    const obstruct = (kind: "cut" | "clog", isBothWays: boolean) =>
      this.obstacles.push(
        network.obstruct({ kind, from: [server], ...(this.random.chance(0.5) ? { to: [other] } : {}), isBothWays }),
      );
    // What was broken is mended half of the time, so that the engine works most of the time.
    if (this.random.chance(0.5)) {
      engine.resumeServer(server);
      engine.restartServer(server);
      engine.lagServer(server, false);
      this.obstacles.shift()?.clear();
      return;
    }
    const kinds = [...this.swarm];
    if (kinds.length === 0) return;
    const kind = this.random.pick(kinds);
    if (kind === "crash") engine.crashServer(server);
    else if (kind === "stop") engine.stopServer(server);
    else if (kind === "pause") engine.pauseServer(server);
    else if (kind === "lag") engine.lagServer(server, true);
    else if (kind === "cut") obstruct("cut", true);
    else if (kind === "one-way") obstruct("cut", false);
    else if (kind === "clog") obstruct("clog", true);
    else if (kind === "lead") this.world.group.lead(server);
    else {
      const rate = () => this.random.pick([0, 0.05, 0.3]);
      engine.rates = {
        ...noEngineFaults,
        ambiguousAppend: rate(),
        lateAppend: rate(),
        falseRefusal: rate(),
        staleRead: rate(),
        replicaRead: rate(),
      };
    }
  }

  /** SM1 and SM3. */
  async #judge(log: EngineLog): Promise<void> {
    const { last } = await log.bounds();
    for (const [sequence, text] of this.appended) {
      assert.ok(sequence <= last, `${sequence} of ${last} is lost`);
      assert.equal(textOf(await log.read(sequence)), text);
    }
    assert.equal((await log.append(last + 1, record("after"))).kind, "appended");
    await this.world.scheduler.sleep(2000);
    for (const { commit, last: end } of this.world.group.replicas)
      assert.deepEqual([commit, end], [last + 1, last + 1]);
  }
}

describe("a simulated engine in a storm", () => {
  test("keeps what it has said to be appended, says it once for a sequence, and serves again once all is healed", async () => {
    let appendedCount = 0;
    const kinds = new Set<string>();
    for (let seed = 0; seed < 40; seed++) {
      const storm = new Storm(seed);
      try {
        await storm.world.run(() => storm.run());
      } catch (error) {
        throw new Error(`seed ${seed}`, { cause: error });
      }
      appendedCount += storm.appended.size;
      for (const [kind] of storm.world.engine.counts.entries()) kinds.add(kind);
    }
    assert.ok(appendedCount > 4000, `only ${appendedCount} appended`);
    for (const kind of ["election", "late-append", "late-commit", "discarded-append", "stale-read", "quorum-loss"]) {
      assert.ok(kinds.has(kind), `no ${kind} in ${[...kinds]}`);
    }
  });

  test("of one seed is the same every time", async () => {
    for (const seed of [1, 2, 3]) {
      const hashes: string[] = [];
      for (let time = 0; time < 2; time++) {
        const storm = new Storm(seed);
        await storm.world.run(() => storm.run());
        hashes.push(storm.world.scheduler.traceHash);
      }
      assert.equal(hashes[0], hashes[1]);
    }
  });

  test("takes at most three events for an append", async () => {
    const world = new EngineWorld("events");
    await world.run(async () => {
      const log = await world.logOf(1);
      const before = world.scheduler.eventCount;
      for (let sequence = 2; sequence <= 101; sequence++) await log.append(sequence, record(sequence));
      assert.ok(world.scheduler.eventCount - before <= 300);
    });
  });
});
