/** Mutants of what no simulation sees: bounds, the start-up gate, formats, the real store. Tests have to fail. */
import type { Mutant } from "./mutant.ts";

export const testsAlone: readonly Mutant[] = [
  {
    name: "a barrier rides on a batch already under way",
    breaks: ["hazard 8", "G4", "M5", "design 6: the first batch whose append starts after the read arrived"],
    edits: [
      {
        file: "src/entity/committer.ts",
        from: "      this.open().held.push(work);\n      return;",
        to: "      const rides = this.#inFlight !== undefined && this.#inFlight.sequence >= sequence;\n      (rides ? this.#inFlight! : this.open()).held.push(work);\n      return;",
      },
    ],
    trial: { kind: "tests", files: ["src/entity/committer.test.ts"] },
  },
  {
    name: "a body is decided with the first yes",
    breaks: ["hazard 11", "TW1"],
    edits: [
      {
        file: "src/transaction/two-phase.ts",
        from: "  if (missing.size > 0) return",
        to: "  if (missing.size > 9) return",
      },
    ],
    trial: { kind: "tests", files: ["src/transaction/two-phase.test.ts"] },
  },
  {
    name: "a deadline undoes what is decided",
    breaks: ["hazard 12", "TW2", "design 8: expiry aborts only while undecided"],
    edits: [
      {
        file: "src/transaction/two-phase.ts",
        from: '      return event.type === "dropped" ? aborted : { phase, effects: nothing };',
        to: '      return event.type === "dropped" || event.type === "abort" ? aborted : { phase, effects: nothing };',
      },
    ],
    trial: { kind: "tests", files: ["src/transaction/two-phase.test.ts"] },
  },
  {
    name: "a number below the highest that was seen is taken for done",
    breaks: ["hazard 14", "design 6: a watermark taken as contiguous"],
    edits: [
      {
        file: "src/entity/requests.ts",
        from: "      if (request.number < session.lowest) {",
        to: "      if (request.number < session.lowest || session.hasAbove(request.number)) {",
      },
      {
        file: "src/entity/live-sessions.ts",
        from: "  get lowest(): number {",
        to: "  hasAbove(number: number): boolean {\n    return this.#highest > number;\n  }\n\n  get lowest(): number {",
      },
    ],
    trial: { kind: "tests", files: ["src/entity/session-life.test.ts"] },
  },
  {
    name: "a batch takes whatever comes",
    breaks: ["hazard 17"],
    edits: [
      {
        file: "src/entity/committer.ts",
        from: "      this.#open.sizeBytes + this.#limits.effectsBytesMax + recordOverheadBytes <= this.#limits.batchBytesMax",
        to: "      this.#open.sizeBytes > 0",
      },
    ],
    trial: { kind: "tests", files: ["src/entity/dropped-suffix.test.ts", "src/entity/commands.test.ts"] },
  },
  {
    name: "one command may do more than a batch holds",
    breaks: ["hazard 17"],
    edits: [
      {
        file: "src/entity/committer.ts",
        from: "    if (size <= this.#limits.effectsBytesMax) return { entry, sizeBytes: size };",
        to: "    if (size >= 0) return { entry, sizeBytes: size };",
      },
    ],
    trial: { kind: "tests", files: ["src/transaction/transaction.test.ts"] },
  },
  {
    name: "what the watchdog has stopped runs again for ever",
    breaks: ["hazard 18", "E1"],
    edits: [{ file: "src/entity/entity-command.ts", from: "    this.#stops++;\n", to: "" }],
    trial: { kind: "tests", files: ["src/entity/watchdog.test.ts"] },
  },
  {
    name: "an entity's poison is tried again after each restart",
    breaks: ["hazard 18"],
    edits: [
      {
        file: "src/entity/suspects.ts",
        from: "  return deaths >= suspectDeathsMax;",
        to: "  return deaths >= 1e9 * suspectDeathsMax;",
      },
    ],
    trial: { kind: "tests", files: ["src/entity/suspects.test.ts"] },
  },
  {
    name: "an entity's poison is tried again by each owner",
    breaks: ["hazard 18", "SU2", "G10"],
    edits: [
      {
        file: "src/cluster/shard-host.ts",
        from: "    const quarantined = this.#parts.quarantined();\n    const owned",
        to: "    const quarantined = new Set<string>();\n    const owned",
      },
    ],
    trial: { kind: "tests", files: ["src/cluster/shard-host.test.ts"] },
  },
  {
    name: "a death that is told twice counts twice",
    breaks: ["hazard 18", "SU1"],
    edits: [
      {
        file: "src/entity/suspects.ts",
        from: "told.lastDeathMs <= before.lastDeathMs",
        to: "told.lastDeathMs < before.lastDeathMs",
      },
    ],
    trial: { kind: "tests", files: ["src/entity/suspects.test.ts"] },
  },
  {
    name: "a shard's queue has no bound",
    breaks: ["hazard 19", "G9"],
    edits: [
      {
        file: "src/entity/executor.ts",
        from: "      this.queuedCount + this.#committer.heldCount >= this.#limits.queuedCallsMax ||\n      this.#queuedBytes + work.sizeBytes > this.#limits.queuedBytesMax",
        to: "      this.queuedCount < 0",
      },
    ],
    trial: { kind: "tests", files: ["src/entity/commands.test.ts"] },
  },
  {
    name: "a node starts on an engine that may lose what it acknowledges",
    breaks: ["hazard 21", "CN3"],
    edits: [
      {
        file: "src/cluster/cluster-node.ts",
        from: "  if (laxities.length === 0) return;",
        to: "  if (laxities.length >= 0) return;",
      },
    ],
    trial: { kind: "tests", files: ["src/cluster/start-gate.test.ts"] },
  },
  {
    name: "a record for newer readers is read all the same",
    breaks: ["hazard 22", "G11"],
    edits: [
      {
        file: "src/log/record.ts",
        from: "  if (readerVersion > readableVersionMax) {",
        to: "  if (readerVersion > 65_535) {",
      },
    ],
    trial: { kind: "tests", files: ["src/log/record.test.ts"] },
  },
  {
    name: "records of a later version's types are passed over in the system log",
    breaks: ["hazard 22", "SR2", "G11"],
    edits: [
      {
        file: "src/cluster/system-records.ts",
        from: '    return listOf(readRecord)(list, "records");',
        to: '    const known = (list as { type: string }[]).filter(({ type }) => isKnown(type));\n    return listOf(readRecord)(known as never, "records");',
      },
    ],
    trial: { kind: "tests", files: ["src/cluster/system-records.test.ts"] },
  },
  {
    name: "a store that ended the process while it was opened is opened again",
    breaks: ["hazard 23", "design 6: a crash while opening means rebuild"],
    edits: [
      {
        file: "src/store/engine/lmdb-files.ts",
        from: "      if (await exists(this.#markerPath)) {",
        to: "      if (this.#markerPath.length === 0) {",
      },
    ],
    trial: { kind: "tests", files: ["src/store/engine/lmdb.test.ts"] },
  },
];
