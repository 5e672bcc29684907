/** Mutants that the simulation of one node finds: batches, the fold, the store, snapshots, transactions at home. */
import type { Mutant } from "./mutant.ts";

export const oneNode: readonly Mutant[] = [
  {
    name: "answers before the batch is durable",
    breaks: ["G3", "hazard 6", "M1"],
    edits: [
      {
        file: "src/entity/committer.ts",
        from: "    if (mayTellDurable && sequence <= this.#end.sequence) return work.release();",
        to: "    if (mayTellDurable) return work.release();",
      },
    ],
    trial: {
      kind: "program",
    },
  },
  {
    name: "reads do not wait for what they saw",
    breaks: ["G3", "hazard 6"],
    edits: [
      {
        file: "src/entity/read-call.ts",
        from: "    this.#core.committer.hold(this, sequence);",
        to: "    this.#core.committer.hold(this, sequence * 0);",
      },
    ],
    trial: {
      kind: "program",
    },
  },
  {
    name: "refusals do not wait for what they saw",
    breaks: ["G3", "hazard 6"],
    edits: [
      {
        file: "src/entity/command-call.ts",
        from: "!isKept(error)) return this.#hold({ error }, sequence);",
        to: "!isKept(error)) return this.#hold({ error }, sequence * 0);",
      },
    ],
    trial: { kind: "tests", files: ["src/entity/reading.test.ts"] },
  },
  {
    name: "memory keeps what a failed append dropped",
    breaks: ["hazard 6", "M3"],
    edits: [
      {
        file: "src/entity/shard.ts",
        from: "    working.clear();",
        to: "",
      },
    ],
    trial: {
      kind: "program",
    },
  },
  {
    name: "outcomes of requests are not kept",
    breaks: ["hazard 14"],
    edits: [
      {
        file: "src/entity/fold.ts",
        from: "  if (entry.result !== null) foldResult(entry.result, writes);",
        to: "",
      },
    ],
    trial: {
      kind: "program",
    },
  },
  {
    name: "the receiver's high-water mark does not move in the store",
    breaks: ["hazard 13"],
    edits: [
      {
        file: "src/entity/fold.ts",
        from: "    writes.put(keys.inboxNumber(toSlot, fromSlot), packr.pack(number));",
        to: "",
      },
    ],
    trial: {
      kind: "program",
    },
  },
  {
    name: "a timer that fired is not removed in the same entry",
    breaks: ["A1"],
    edits: [
      {
        file: "src/entity/alarm-clock.ts",
        from: "    const timers = isSetAgain ? result.timers : [...result.timers, this.#removal];",
        to: "    const timers = isSetAgain ? result.timers : result.timers;",
      },
    ],
    trial: {
      kind: "program",
    },
  },
  {
    name: "the fold forgets that an item was removed",
    breaks: ["the fold"],
    edits: [
      {
        file: "src/entity/fold.ts",
        from: "  for (const item of effect.items) {",
        to: "  for (const item of effect.items.filter(({ value }) => value !== null)) {",
      },
    ],
    trial: {
      kind: "program",
    },
  },
  {
    name: "transactions take no locks",
    breaks: ["design 8: two-phase locking"],
    edits: [
      {
        file: "src/transaction/transaction.ts",
        from: "      if (!lock.acquire(this, mode, waiter)) return undefined;",
        to: "      lock.acquire(this, mode, waiter);",
      },
    ],
    trial: {
      kind: "program",
    },
  },
  {
    name: "plain commands ignore locks",
    breaks: ["design 8: plain commands queue behind locks"],
    edits: [
      {
        file: "src/entity/entity-command.ts",
        from: "    if (lock === undefined || lock.isFree) return true;",
        to: "    if (lock !== null) return true;",
      },
    ],
    trial: {
      kind: "program",
    },
  },
  {
    name: "the store says that it is ahead of what it holds",
    breaks: ["hazard 23", "design 6: (incarnation, sequence, hash) in the same transaction"],
    edits: [
      {
        file: "src/entity/portion.ts",
        from: "    foldBatch(entries, position.sequence, this.writes);",
        to: "    if (this.batches.length !== 2) foldBatch(entries, position.sequence, this.writes);",
      },
    ],
    trial: {
      kind: "program",
    },
  },
  {
    name: "log time goes back with the wall clock between the steps of a transaction",
    breaks: ["hazard 9", "M4"],
    edits: [
      {
        file: "src/entity/committer.ts",
        from: "    return this.#saidTimeMs;",
        to: "    return Math.max(this.#inFlight?.timeMs ?? 0, this.#clock.wallMs());",
      },
    ],
    trial: {
      kind: "program",
    },
  },
  {
    name: "a shard that stops forgets to append what it has answered for",
    breaks: ["the fold"],
    edits: [
      {
        file: "src/entity/executor.ts",
        from: "    if (this.#current === undefined) this.#committer.kick();",
        to: "",
      },
    ],
    trial: { kind: "tests", files: ["src/transaction/transaction.test.ts"] },
  },
  {
    name: "damage that is found while opening ends the node",
    breaks: ["hazard 23"],
    edits: [
      {
        file: "src/runtime/embedded.ts",
        from: "      if (!(error instanceof StoreDamage)) throw error;",
        to: "      if (error !== undefined) throw error instanceof StoreDamage ? error.damage : error;",
      },
    ],
    trial: {
      kind: "program",
    },
  },
  {
    name: "two snapshots are taken at once",
    breaks: ["hazard 16"],
    edits: [
      {
        file: "src/runtime/snapshots.ts",
        from: "    const before = this.#underWay ?? Promise.resolve();",
        to: "    const before = Promise.resolve();",
      },
    ],
    trial: {
      kind: "program",
    },
  },
  {
    name: "a new life sees the items of the one before",
    breaks: ["the fold"],
    edits: [
      {
        file: "src/entity/run-command.ts",
        from: "    generation: exists ? view.generation : view.generation + 1,",
        to: "    generation: exists ? view.generation : Math.max(1, view.generation),",
      },
    ],
    trial: {
      kind: "program",
    },
  },
  {
    name: "a transaction's third entity is left out of its entry",
    breaks: ["T2"],
    edits: [
      {
        file: "src/transaction/transaction.ts",
        from: "entity !== undefined; entity = entity.next) entity.addEffects(effects);",
        to: "entity !== undefined && effects.length < 2; entity = entity.next) entity.addEffects(effects);",
      },
    ],
    trial: {
      kind: "program",
    },
  },
  {
    name: "what a lost transaction decoded and changed serves the next command",
    breaks: ["T2"],
    edits: [
      {
        file: "src/transaction/transaction.ts",
        from: "    this.#aborted = reason;",
        to: "    this.#aborted = reason;\n    for (let entity = this.#first; entity !== undefined; entity = entity.next) entity.giveBackDraft();",
      },
    ],
    trial: {
      kind: "program",
    },
  },
  {
    name: "slots that the replay changed are not dumped again",
    breaks: ["hazard 16"],
    edits: [
      {
        file: "src/runtime/opening.ts",
        from: "    shard.applier.returnDirtySlots(replayedSlots);",
        to: "    shard.applier.returnDirtySlots(new Set());",
      },
    ],
    trial: {
      kind: "program",
    },
  },
  {
    name: "the log is trimmed behind the newest snapshot alone",
    breaks: ["hazard 15"],
    edits: [
      {
        file: "src/runtime/snapshots.ts",
        from: "    await log.trim(older.position.sequence + 1);",
        to: "    await log.trim((this.#newest ?? older).position.sequence + 1);",
      },
    ],
    trial: {
      kind: "damage",
    },
  },
  {
    name: "the log is not held against the store's position and the snapshots",
    breaks: ["hazard 1", "hazard 23"],
    edits: [
      {
        file: "src/runtime/opening.ts",
        from: "[store.position, ...manifests.map(({ position }) => position)].filter(",
        to: "[...(manifests.length < 0 ? manifests.map(({ position }) => position) : [])].filter(",
      },
    ],
    trial: {
      kind: "damage",
    },
  },
  {
    name: "the store's checksums are not looked at",
    breaks: ["hazard 23", "design 6: values carry checksums"],
    edits: [
      {
        file: "src/store/checked-value.ts",
        from: '  if (readChecksum(sealed, length) !== entryChecksum(key, value)) throw damagedValue(key, "its checksum does not hold");',
        to: "",
      },
    ],
    trial: {
      kind: "damage",
    },
  },
];
