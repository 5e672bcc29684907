/** Cluster mutants: what the engine's answers are taken for, what is told before it may be, and what is believed unverified. */
import type { Mutant } from "./mutant.ts";

export const engine: readonly Mutant[] = [
  {
    name: "an append without an answer counts as done",
    breaks: ["hazard 3", "SN1"],
    edits: [
      {
        file: "src/cluster/sending.ts",
        from: '  if (found === undefined) return "unknown";',
        to: '  if (found === undefined) return "ours";',
      },
    ],
    trial: { kind: "cluster", regime: "doubt" },
  },
  {
    name: "an append that was refused counts as done",
    breaks: ["hazard 4", "SN1"],
    edits: [
      {
        file: "src/cluster/sending.ts",
        from: '  if (outcome.kind === "appended") return "ours";',
        to: '  if (outcome.kind !== "unknown") return "ours";',
      },
    ],
    trial: { kind: "cluster", regime: "doubt" },
  },
  {
    name: "another's record at the sequence is taken for one's own",
    breaks: ["hazard 4", "hazard 7", "G2", "SN1"],
    edits: [
      {
        file: "src/cluster/sending.ts",
        from: '  return equalBytes(found.hash, hash) ? "ours" : "other";',
        to: '  return "ours";',
      },
    ],
    trial: { kind: "cluster", regime: "zombies" },
  },
  {
    name: "an own record that the engine shows late is told to be done before the node's copy has it",
    breaks: ["hazard 3", "G8", "OL1"],
    edits: [
      {
        file: "src/cluster/owned-log.ts",
        from: "    if (sequence > (copy.end?.sequence ?? 0)) return undefined;",
        to: "    if (sequence > (copy.end?.sequence ?? 0)) return readValid(this.#replica.log, sequence);",
      },
      {
        file: "src/cluster/owned-log.ts",
        from: 'import { sendOnce } from "./sending.ts";',
        to: 'import { readValid, sendOnce } from "./sending.ts";',
      },
    ],
    trial: { kind: "tests", files: ["src/cluster/shard-host.test.ts"] },
  },
  {
    name: "an owner of many machines answers before the batch is durable",
    breaks: ["hazard 6", "G3", "M1"],
    edits: [
      {
        file: "src/entity/committer.ts",
        from: "    if (mayTellDurable && sequence <= this.#end.sequence) return work.release();",
        to: "    if (sequence >= 0) return work.release();",
      },
    ],
    trial: { kind: "cluster", regime: "crashes" },
  },
  {
    name: "who waits for a batch that another owner's record has displaced is told that it was done",
    breaks: ["hazard 6", "hazard 7", "M3"],
    edits: [
      {
        file: "src/entity/committer.ts",
        from: "    for (const work of inFlight?.held ?? []) work.fail(doubt);",
        to: "    for (const work of inFlight?.held ?? []) work.release();",
      },
    ],
    trial: { kind: "tests", files: ["src/cluster/shard-host.test.ts", "src/entity/ambiguous-append.test.ts"] },
  },
  {
    name: "what is durable is told without a barrier",
    breaks: ["hazard 8", "G4", "M5"],
    edits: [
      {
        file: "src/cluster/cluster-node.ts",
        from: "mayTellDurable: () => leaseReads !== undefined && membership.holdsLease(leaseReads.clockDriftPpmMax),",
        to: "mayTellDurable: () => true,",
      },
    ],
    trial: { kind: "tests", files: ["src/cluster/strong-read.test.ts"] },
  },
  {
    name: "an empty batch that somebody waits for is not appended",
    breaks: ["hazard 8", "M5"],
    edits: [
      {
        file: "src/entity/committer.ts",
        from: "  return entries.length === 0 && held.length === 0;",
        to: "  return entries.length === 0 && held.length < 2;",
      },
    ],
    trial: { kind: "cluster", regime: "calm" },
  },
  {
    name: "a claim's log time is its owner's clock",
    breaks: ["hazard 9", "design 7: log time is the maximum of the last batch's and the owner's clock", "C2"],
    edits: [
      {
        file: "src/cluster/shard-records.ts",
        from: "  const timeMs = Math.max(previous.timeMs, wallMs);",
        to: "  const timeMs = wallMs;",
      },
    ],
    trial: { kind: "cluster", regime: "clocks" },
  },
  {
    name: "an owner's batches are timed by its clock alone",
    breaks: ["hazard 9", "M4"],
    edits: [
      {
        file: "src/entity/committer.ts",
        from: "    this.#saidTimeMs = Math.max(this.#saidTimeMs, this.#clock.wallMs());",
        to: "    this.#saidTimeMs = this.#clock.wallMs();",
      },
    ],
    trial: { kind: "cluster", regime: "clocks" },
  },
  {
    name: "what a record follows is not looked at",
    breaks: ["hazard 2", "hazard 10", "C1"],
    edits: [
      {
        file: "src/log/chain.ts",
        from: "  const expected = previous === null ? 1 : previous.sequence + 1;",
        to: "  if (next.sequence > 0) return undefined;\n  const expected = previous === null ? 1 : previous.sequence + 1;",
      },
    ],
    trial: { kind: "tests", files: ["src/log/engine/segment/damage.test.ts"] },
  },
  {
    name: "a record's checksums are not looked at",
    breaks: ["hazard 2", "hazard 10", "SN2"],
    edits: [
      {
        file: "src/log/record.ts",
        from: "  if (view.getUint32(at.payloadCrc, true) !== crc32(payload)) {",
        to: "  if (view.getUint32(at.payloadCrc, true) < 0) {",
      },
      {
        file: "src/log/record.ts",
        from: "  if (view.getUint32(at.headerCrc, true) !== crc32(bytes.subarray(0, at.headerCrc))) {",
        to: "  if (view.getUint32(at.headerCrc, true) < 0) {",
      },
    ],
    trial: { kind: "tests", files: ["src/log/record.test.ts"] },
  },
  {
    name: "a hole in the engine's log is the log's end",
    breaks: ["hazard 2", "RE3"],
    edits: [
      {
        file: "src/cluster/replica.ts",
        from: '      if (records.length === 0) throw new LogFault("hole", this.log.name, next,',
        to: '      if (records.length === 0) return next - 1;\n      if (records.length < 0) throw new LogFault("hole", this.log.name, next,',
      },
    ],
    trial: { kind: "cluster", regime: "damaged engine" },
  },
  {
    name: "a follower waits for its tail alone",
    breaks: ["FO1", "EL3"],
    edits: [
      { file: "src/cluster/follower.ts", from: "        if (atMostMs >= pollMs) this.#mustLook = true;", to: "" },
      {
        file: "src/cluster/follower.ts",
        from: "      this.#inboxBytes = 0;\n      this.#mustLook = true;\n      return undefined;",
        to: "      this.#inboxBytes = 0;\n      return undefined;",
      },
    ],
    trial: { kind: "tests", files: ["src/cluster/shard-host.test.ts"] },
  },
  {
    name: "a follower sleeps though something came while it waited to fold",
    breaks: ["FO1"],
    edits: [
      {
        file: "src/cluster/follower.ts",
        from: "if (replica.hasUnfolded) return await this.#fold();",
        to: "if (replica.hasUnfolded) await this.#fold();",
      },
    ],
    trial: { kind: "tests", files: ["src/cluster/shard-host.test.ts"] },
  },
  {
    name: "the log is trimmed beyond the older snapshot",
    breaks: ["hazard 15", "SS1"],
    edits: [
      {
        file: "src/cluster/shard-snapshots.ts",
        from: "    await log.trim(older.position.sequence + 1);",
        to: "    await log.trim((log.end?.sequence ?? 0) + 1);",
      },
    ],
    trial: { kind: "cluster", regime: "snapshots" },
  },
  {
    name: "a node that was away while the log was trimmed takes that for a fault of the log",
    breaks: ["hazard 15", "design 7: a log is trimmed only behind the older of two verified ones"],
    edits: [
      {
        file: "src/cluster/shard-host.ts",
        from: '    kind === "trimmed" && this.#parts.newestSnapshotSequence() >= sequence;',
        to: '    kind === "trimmed" && this.#parts.newestSnapshotSequence() < sequence;',
      },
    ],
    trial: { kind: "tests", files: ["src/cluster/shard-host.test.ts"] },
  },
  {
    name: "a snapshot leaves out what has changed since the one before",
    breaks: ["hazard 16", "design 7: snapshots are incremental by slot"],
    edits: [
      {
        file: "src/cluster/shard-snapshots.ts",
        from: "        ...(previous === undefined ? {} : { previous, dirtySlots }),",
        to: "        ...(previous === undefined ? {} : { previous, dirtySlots: new Set<number>() }),",
      },
    ],
    trial: { kind: "cluster", regime: "snapshots" },
  },
  {
    name: "a snapshot says that it is newer than what it holds",
    breaks: ["hazard 16", "hazard 15"],
    edits: [
      {
        file: "src/store/snapshot.ts",
        from: "  const manifest: Manifest = { formatVersion, position, stateHash",
        to: "  const manifest: Manifest = { formatVersion, position: { ...position, sequence: position.sequence + 1 }, stateHash",
      },
    ],
    trial: { kind: "cluster", regime: "snapshots" },
  },
];
