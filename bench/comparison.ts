/** What is not equal when Onefold is held against something else. Printed with every comparison. */
import { availableParallelism } from "node:os";
import { poolConnectionsMax } from "./subject/postgres.ts";
import type { Opponent } from "./subject/subject.ts";

/** True of every comparison. */
const general = [
  "All of it runs on one machine: the load takes a processor that a server of its own would have to itself.",
  "The load is a closed loop in one Node process, with each system's own client for Node; load_cpu near 1 says that the client was the limit.",
  "Onefold checks every input and every state against its schema, keeps what happened as history, and chains what it writes by SHA-256.",
  "Over the WebSocket every Onefold command takes hold exactly once, also when it is sent again; Redis's and PostgreSQL's clients, and plain HTTP, promise nothing of the kind.",
];

const particular: Readonly<Record<Opponent, readonly string[]>> = {
  redis: [
    `Redis runs with appendfsync always over ${availableParallelism()} connections, pipelined by ioredis; its snapshots are off, its rewriting of the log is as it comes.`,
    "Redis has no schema, no history, no transaction with code of one's own but Lua scripts, which are what the workloads use.",
    "Redis keeps everything in memory; Onefold and PostgreSQL need not.",
    "A YCSB update logs one field in Redis, but the whole state of 1 kB in Onefold.",
  ],
  postgres: [
    `PostgreSQL runs with default settings over a pool of at most ${poolConnectionsMax} connections: more callers than that wait for one.`,
    "PostgreSQL's transactions are of the level that it has by default, read committed, with explicit locks where a workload needs them; Onefold's are strictly serializable.",
    "A PostgreSQL transaction takes a trip to the server for each statement, 4 for a transfer; a stored function would take one.",
    "PostgreSQL checks types and keys, keeps no history and answers any other question by SQL, which Onefold does not.",
  ],
};

/** Sentences, for these opponents. */
export function inequalities(against: readonly Opponent[]): readonly string[] {
  if (against.length === 0) return [];
  return [...general, ...against.flatMap((opponent) => particular[opponent])];
}
