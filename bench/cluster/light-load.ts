/**
 * A light load on every shard of a cluster while it is disturbed: writers that increment counters, one call after the other with a pause
 * between, through clients that know all nodes. What is acknowledged when tells how long writes of a shard stood still.
 *
 * LL1 Each increment that was acknowledged is counted once, and each that failed once at most: `check` asks the counters.
 */
import assert from "node:assert/strict";
import { slotOfEntity } from "../../src/base/ids.ts";
import { OnefoldError } from "../../src/base/errors.ts";
import { connect } from "../../src/client/index.ts";
import type { ShardView } from "../../src/wire/cluster-view.ts";
import type { RemoteClient } from "../../src/client/types.ts";
import { benchSystem } from "../system.ts";

/** One write of a shard that was answered; monotonic milliseconds. */
export interface Answer {
  readonly beganMs: number;
  readonly endedMs: number;
  /** Undefined where it was acknowledged. */
  readonly error: string | undefined;
}

export interface LightLoadOptions {
  readonly urls: readonly string[];
  readonly shards: readonly ShardView[];
  readonly clientCount: number;
  readonly pauseMs: number;
}

type LoadClient = RemoteClient<typeof benchSystem>;

const tenant = "default";
const answersMax = 10_000;

export class LightLoad {
  readonly #clients: readonly LoadClient[];
  readonly #options: LightLoadOptions;
  readonly #writers: readonly Writer[];
  #running: Promise<void> | undefined;
  #isOver = false;

  constructor(options: LightLoadOptions) {
    this.#options = options;
    this.#clients = Array.from({ length: options.clientCount }, () => connect<typeof benchSystem>(options.urls));
    this.#writers = options.shards.map(({ id, slots }, index) => ({
      shard: id,
      id: idIn(slots),
      client: this.#clients[index % this.#clients.length]!,
      answers: [],
      acknowledged: 0,
      failed: 0,
    }));
  }

  start(): void {
    this.#running ??= Promise.all(this.#writers.map((writer) => this.#write(writer))).then(() => undefined);
  }

  /** The newest of the shard's answers, in the order in which they came. */
  answers(shard: string): readonly Answer[] {
    return this.#writerOf(shard).answers;
  }

  /** Resolves with when each of the shards had acknowledged a write that began after `afterMs`. Rejects after `atMostMs`. */
  async untilAcknowledged(shards: readonly string[], afterMs: number, atMostMs: number): Promise<void> {
    const untilMs = performance.now() + atMostMs;
    for (const shard of shards) {
      const { answers } = this.#writerOf(shard);
      while (!answers.some(({ beganMs, error }) => error === undefined && beganMs > afterMs)) {
        if (performance.now() > untilMs) throw new Error(`the shard ${shard} acknowledges no writes any more`);
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
    }
  }

  /** LL1. Ends the load. */
  async check(): Promise<void> {
    this.#isOver = true;
    await this.#running;
    for (const { client, id, acknowledged, failed } of this.#writers) {
      const value = await client.counter(id).value();
      const isRight = acknowledged <= value && value <= acknowledged + failed;
      assert.equal(
        isRight,
        true,
        `${id} is ${value} after ${acknowledged} acknowledged and ${failed} failed increments`,
      );
    }
  }

  close(): void {
    this.#isOver = true;
    for (const client of this.#clients) client.$close();
  }

  #writerOf(shard: string): Writer {
    const writer = this.#writers.find((each) => each.shard === shard);
    assert.ok(writer !== undefined, `there is a writer for the shard ${shard}`);
    return writer;
  }

  async #write(writer: Writer): Promise<void> {
    while (!this.#isOver) {
      const beganMs = performance.now();
      let error: string | undefined;
      try {
        await writer.client.counter(writer.id).increment();
        writer.acknowledged++;
      } catch (thrown) {
        if (!(thrown instanceof OnefoldError)) throw thrown;
        if (this.#isOver) return;
        error = thrown.code;
        writer.failed++;
      }
      writer.answers.push({ beganMs, endedMs: performance.now(), error });
      if (writer.answers.length > answersMax) writer.answers.splice(0, answersMax / 2);
      await new Promise((resolve) => setTimeout(resolve, this.#options.pauseMs));
    }
  }
}

interface Writer {
  readonly shard: string;
  readonly id: string;
  readonly client: LoadClient;
  readonly answers: Answer[];
  acknowledged: number;
  failed: number;
}

/** A counter whose slot is one of these. */
function idIn({ from, to }: ShardView["slots"]): string {
  const definition = benchSystem.definition.entities.get("counter")!;
  for (let index = 0; ; index++) {
    const id = `light-${index}`;
    const slot = slotOfEntity(definition, id, tenant);
    if (from <= slot && slot < to) return id;
  }
}
