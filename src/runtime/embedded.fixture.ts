/** What the tests of an embedded node share: a notebook on a simulated node, its disk, its store, and what it traces. */
import assert from "node:assert/strict";
import { SeededRandom } from "../base/random.ts";
import { makeNotebook } from "../entity/notebook.fixture.ts";
import type { OnefoldError } from "../base/errors.ts";
import { DiskError } from "../host/host.ts";
import { type SimulatedHost, SimulatedNode, type TraceLine } from "../sim/host.ts";
import type { CrashMoment } from "../sim/life.ts";
import { Scheduler } from "../sim/scheduler.ts";
import { type MemoryStoreEngine, memoryStore } from "../store/engine/memory.ts";
import { decodeManifest, type Manifest } from "../store/manifest.ts";
import type { Store, StoreEngine } from "../store/store.ts";
import { dataLayout } from "./data-layout.ts";
import { EmbeddedNode, type EmbeddedOptions } from "./embedded.ts";
import { inProcessClient } from "./in-process-client.ts";

export const principal = { tenant: "default", subject: "tester", scopes: ["*"] };

const boundMs = 120_000;

function roomy(store: Store, hasRoom: () => boolean): Store {
  return {
    get position() {
      return store.position;
    },
    get: (key) => store.get(key),
    range: (options) => store.range(options),
    view: () => store.view(),
    close: () => store.close(),
    apply: async (writes, position) => {
      if (!hasRoom()) throw new DiskError("full", "The store has no room; nothing was applied.");
      await store.apply(writes, position);
    },
  };
}

export class Place {
  readonly scheduler = new Scheduler({ eventsMax: 3_000_000 });
  readonly node: SimulatedNode;
  readonly store: MemoryStoreEngine;
  readonly traced: TraceLine[] = [];
  readonly stops: OnefoldError[] = [];
  readonly #made = makeNotebook();
  readonly #options: Partial<EmbeddedOptions>;
  #host: ReturnType<SimulatedNode["start"]>;

  constructor(seed: string, options: Partial<EmbeddedOptions> = {}) {
    const random = new SeededRandom(seed);
    this.#options = options;
    this.node = new SimulatedNode({
      scheduler: this.scheduler,
      random: random.fork("node"),
      onTrace: (line) => this.traced.push(line),
    });
    this.#host = this.node.start();
    this.store = memoryStore({
      timers: {
        after: (delayMs, callback) => this.#host.timers.after(delayMs, callback),
        soon: (callback) => this.#host.timers.soon(callback),
      },
      random: random.fork("store"),
    });
  }

  /** Runs a test in this place's virtual time. */
  static run(
    seed: string,
    body: (place: Place) => Promise<void>,
    options: Partial<EmbeddedOptions> = {},
  ): Promise<void> {
    const place = new Place(seed, options);
    return place.scheduler.complete(body(place));
  }

  open(options: Partial<EmbeddedOptions> = {}): Promise<EmbeddedNode> {
    return EmbeddedNode.open({
      system: this.#made.notebook,
      host: this.#host,
      storeEngine: this.store,
      segmentBytes: 4 << 20,
      reserveBytes: 0,
      onStopped: (error) => this.stops.push(error),
      ...this.#options,
      ...options,
    });
  }

  /** The process dies, and the next one opens what it has left. */
  reopen(options: { readonly losesStore?: boolean } = {}): Promise<EmbeddedNode> {
    this.node.crash();
    this.store.crash();
    if (options.losesStore === true) this.store.lose();
    this.#host = this.node.start();
    return this.open();
  }

  /** The same, and the node crashes at this operation of the start; resolves with the node where that has fewer. */
  async reopenAndCrash(operation: number, moment: CrashMoment): Promise<EmbeddedNode | undefined> {
    this.node.crash();
    this.store.crash();
    this.#host = this.node.start();
    this.node.crashAt(operation, { moment });
    let opened: EmbeddedNode | undefined;
    this.open().then(
      (node) => {
        opened = node;
      },
      (error: unknown) => assert.fail(error as Error),
    );
    await this.until("the start has ended", () => opened !== undefined || !this.node.alive);
    return opened;
  }

  /** Of the present life. */
  get host(): SimulatedHost {
    return this.#host;
  }

  get hooks(): ReturnType<typeof makeNotebook>["hooks"] {
    return this.#made.hooks;
  }

  client(node: EmbeddedNode) {
    return inProcessClient(this.#made.notebook, node.service, principal);
  }

  /** Of the snapshot that is published, if one is; read past the node, which may be at work on the next. */
  newestManifest(): Manifest | undefined {
    const { disk } = this.node;
    const pointer = disk.paths().find((path) => path.endsWith("newest-snapshots.pointer"));
    if (pointer === undefined) return undefined;
    const address = Buffer.from(disk.content(pointer)).toString("latin1").slice(0, 64);
    return decodeManifest(disk.content(`${dataLayout.snapshots}/${address}`));
  }

  async until(what: string, condition: () => boolean | Promise<boolean>): Promise<void> {
    const endMs = this.scheduler.nowMs + boundMs;
    while (!(await condition())) {
      assert.ok(this.scheduler.nowMs < endMs, `${what} did not come about; ${this.traces()}`);
      await this.scheduler.sleep(50);
    }
  }

  /** The store's engine, as if it shared the node's disk: an apply needs so much room there. */
  storeThatNeeds(roomBytes: () => number): StoreEngine {
    const { store, node } = this;
    const hasRoom = () => node.disk.freeBytes >= roomBytes();
    return {
      open: async () => roomy(await store.open(), hasRoom),
      destroy: () => store.destroy(),
    };
  }

  /** Whether a line of the node's log begins so. */
  hasTraced(begin: string): boolean {
    return this.traced.some(({ message }) => message.startsWith(begin));
  }

  traces(): string {
    return this.traced.map(({ level, message }) => `${level}: ${message}`).join("\n");
  }
}
