/** Mutants of a cluster's backups: of the moment at which it is cut, and of what is kept for it. */
import type { Mutant } from "./mutant.ts";

export const backups: readonly Mutant[] = [
  {
    name: "logs go on while a cluster is cut",
    breaks: ["M6", "SU1", "CC1"],
    edits: [
      {
        file: "src/cluster/shard-cut.ts",
        from: "      const position = await shard.rest.begin();",
        to: "      const position = await shard.rest.begin();\n      shard.rest.end();",
      },
    ],
    trial: { kind: "tests", files: ["test/cluster-backup-simulation.test.ts"] },
  },
  {
    name: "an owner takes a cut for proven without a record of its own",
    breaks: ["SU1", "CC1"],
    edits: [
      { file: "src/cluster/shard-cut.ts", from: "      await shard.rest.prove();", to: "      shard.rest.end();" },
    ],
    trial: { kind: "tests", files: ["src/cluster/cluster-cut.test.ts"] },
  },
  {
    name: "a log rests until somebody says that it may go on",
    breaks: ["SU2", "CC3"],
    edits: [
      {
        file: "src/cluster/shard-cut.ts",
        from: "      this.#rest = timers.after(restMs, () => this.end());",
        to: "      this.#rest = timers.after(restMs * 1000, () => this.end());",
      },
    ],
    trial: { kind: "tests", files: ["src/cluster/cluster-cut.test.ts"] },
  },
  {
    name: "what a backup reads is collected with the garbage",
    breaks: ["SS4"],
    edits: [
      {
        file: "src/cluster/shard-snapshots.ts",
        from: "yield: this.#takeTurn, held: this.#held.addresses });",
        to: "yield: this.#takeTurn });",
      },
    ],
    trial: { kind: "tests", files: ["src/cluster/cluster-cut.test.ts"] },
  },
  {
    name: "a backup is restored over a cluster that there is",
    breaks: ["RF1", "RL1"],
    edits: [{ file: "src/cluster/restore-fold.ts", from: "state.cluster !== undefined || ", to: "" }],
    trial: { kind: "tests", files: ["src/cluster/restore-fold.test.ts"] },
  },
];
