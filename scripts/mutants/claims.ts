/** Cluster mutants: how a shard gets its owner, loses it, and what is done about a log that is not whole. */
import type { Mutant } from "./mutant.ts";

export const claims: readonly Mutant[] = [
  {
    name: "an owner serves before it has applied what came before its claim",
    breaks: ["hazard 7", "SH2", "design 7: the new owner applies everything up to its claim"],
    edits: [
      {
        file: "src/cluster/claim.ts",
        from: "  await replica.fold();\n  return true;",
        to: "  return true;",
      },
    ],
    trial: { kind: "cluster", regime: "moves" },
  },
  {
    name: "a claim is not read back",
    breaks: ["hazard 7", "CL1"],
    edits: [
      {
        file: "src/cluster/claim.ts",
        from: "  await replica.take(found);",
        to: "",
      },
      {
        file: "src/cluster/claim.ts",
        from: "  if (!equalBytes(replica.end!.hash, record.hash)) return false;",
        to: "",
      },
    ],
    trial: { kind: "cluster", regime: "moves" },
  },
  {
    name: "a claim keeps the epoch of the owner before",
    breaks: ["hazard 7", "design 7: new epoch"],
    edits: [
      {
        file: "src/cluster/claim.ts",
        from: '    { kind: "claim", epoch: end.epoch + 1, wallMs: host.clock.wallMs() },',
        to: '    { kind: "claim", epoch: end.epoch, wallMs: host.clock.wallMs() },',
      },
    ],
    trial: { kind: "tests", files: ["src/cluster/shard-host.test.ts"] },
  },
  {
    name: "an owner releases the shard before what it has accepted is durable",
    breaks: ["SH3", "design 7: the owner commits, releases in its log"],
    edits: [
      {
        file: "src/cluster/shard-host.ts",
        from: "    let failure: { readonly error: unknown } | undefined;\n",
        to: "    await this.#release(replica, assignment, epoch);\n    let failure: { readonly error: unknown } | undefined;\n",
      },
      {
        file: "src/cluster/shard-host.ts",
        from: "          if (!isKept) await this.#release(replica, assignment, epoch);",
        to: "          if (isKept === undefined) return;",
      },
    ],
    trial: { kind: "tests", files: ["src/cluster/shard-host.test.ts", "src/cluster/cluster.test.ts"] },
  },
  {
    name: "a follower goes on working on the copy that its node has begun to own",
    breaks: ["SH1", "RE4"],
    edits: [
      {
        file: "src/cluster/shard-host.ts",
        from: "      await follower.stop({ leavesUnfolded: this.#mayOwn });",
        to: "      void follower;",
      },
    ],
    trial: { kind: "cluster", regime: "moves" },
  },
  {
    name: "a follower counts its doubts, however fast they come",
    breaks: ["FO3", "design 7: only a committed seal proves a rollback, an isolated replica may merely look short"],
    edits: [
      {
        file: "src/cluster/follower.ts",
        from: " || nowMs - this.#doubtSinceMs < doubtsMax * retryMs) return;",
        to: " || nowMs < this.#doubtSinceMs) return;",
      },
    ],
    trial: { kind: "tests", files: ["src/cluster/shard-host.test.ts"] },
  },
  {
    name: "a release is not told",
    breaks: ["design 7: a planned move is a handoff"],
    edits: [
      {
        file: "src/cluster/shard-host.ts",
        from: "    this.#parts.onReleased(assignment, replica.reach ?? undefined);",
        to: "",
      },
    ],
    trial: { kind: "cluster", regime: "moves" },
  },
  {
    name: "a node goes on owning what is no longer assigned to it",
    breaks: ["CL2", "design 7: claims"],
    edits: [
      {
        file: "src/cluster/shard-host.ts",
        from: '    const isToGoOn = (): boolean => !isStopped() && isWanted() && this.#intent === "serve";',
        to: "    const isToGoOn = (): boolean => !isStopped() && !this.#isClosing;",
      },
    ],
    trial: { kind: "cluster", regime: "moves" },
  },
  {
    name: "the log's anchors at other members are not asked for",
    breaks: ["hazard 1", "CL1", "design 7: every anchor it can learn of"],
    edits: [
      {
        file: "src/cluster/claim.ts",
        from: "  for (const anchor of anchors) {",
        to: "  for (const anchor of anchors.slice(0, 0)) {",
      },
    ],
    trial: { kind: "tests", files: ["src/cluster/shard-host.test.ts"] },
  },
  {
    name: "an anchor is compared by its sequence alone",
    breaks: ["hazard 1", "design 6: compares hashes", "G8"],
    edits: [
      {
        file: "src/cluster/replica.ts",
        from: "    return record !== undefined && equalBytes(record.hash, position.hash);",
        to: "    return record !== undefined;",
      },
    ],
    trial: { kind: "tests", files: ["src/cluster/shard-host.test.ts"] },
  },
  {
    name: "a log that ends before the own copy is claimed at the copy's end",
    breaks: ["hazard 1", "CL3"],
    edits: [
      {
        file: "src/cluster/claim.ts",
        from: "  if (last < end.sequence)\n",
        to: "  if (last < 0)\n",
      },
    ],
    trial: { kind: "cluster", regime: "rollback" },
  },
  {
    name: "a rolled-back log is taken as it is, copy and store made anew",
    breaks: ["hazard 1", "G8", "CL3"],
    edits: [
      {
        file: "src/cluster/claim.ts",
        from: '    return new LogFault("short", log.name, last,',
        to: '    throw new OnefoldError("damaged", "It is made anew.");\n  if (last < 0)\n    return new LogFault("short", log.name, last,',
      },
      {
        file: "src/cluster/shard-host.ts",
        from: '    if (error instanceof OnefoldError && error.code === "damaged") await storeEngine.destroy();',
        to: '    if (error instanceof OnefoldError && error.code === "damaged") {\n      await storeEngine.destroy();\n      const { directory } = this.#parts;\n      for (const name of await host.disk.list(directory)) await host.disk.remove([directory, name].join("/"));\n    }',
      },
    ],
    trial: { kind: "tests", files: ["src/cluster/shard-host.test.ts"] },
  },
  {
    name: "a sealed log is claimed over",
    breaks: ["hazard 1", "design 7: the seal fences every writer"],
    edits: [
      {
        file: "src/cluster/claim.ts",
        from: '  if (ownership?.kind === "seal") return { kind: "sealed", seal: ownership.payload };',
        to: "",
      },
      {
        file: "src/cluster/shard-host.ts",
        from: "    if (this.#isSealed) return;\n    this.#isSealed = true;\n    this.#parts.onSealed(seal);",
        to: "    if (seal === undefined) this.#parts.onSealed(seal);",
      },
    ],
    trial: { kind: "cluster", regime: "rollback" },
  },
  {
    name: "whoever comes first repairs a shard from its copy, however short",
    breaks: ["hazard 1", "hazard 2", "RP1", "RP2", "design 7: repair copies the verified log"],
    edits: [
      {
        file: "src/cluster/shard-repair.ts",
        from: "  if (!isLongest) return undefined;",
        to: "",
      },
      {
        file: "src/cluster/shard-repair.ts",
        from: "  if (end === null || !isComplete) return undefined;",
        to: "  if (end === null) return undefined;",
      },
    ],
    trial: { kind: "cluster", regime: "rollback" },
  },
  {
    name: "a shard that was found not whole is never repaired",
    breaks: ["hazard 2", "NS2"],
    edits: [{ file: "src/cluster/node-shards.ts", from: "      this.#repair(shard.id);", to: "" }],
    trial: { kind: "cluster", regime: "rollback" },
  },
];
