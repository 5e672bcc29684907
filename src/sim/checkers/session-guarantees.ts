/**
 * Session guarantees (Terry et al., "Session guarantees for weakly consistent replicated data", PDIS 1994), for keys whose versions
 * are numbered: a process is a session, and a key's versions go up.
 *
 * SG1  `read-your-writes`: a read sees no version before one that its session had written.
 * SG2  `monotonic-reads`: a read sees no version before one that its session had read.
 * SG3  `monotonic-writes`: a write makes a version after those that its session had written.
 * SG4  `writes-follow-reads`: a write makes a version after those that its session had read.
 * SG5  "Had" means completed before the later one was invoked: operations of one session that overlap owe each other nothing, and
 *      those that are not `ok` are owed nothing.
 */
import { endOf, type Finding, type History, type Operation, placeOf } from "./history.ts";

export interface VersionedInput {
  readonly type: "read" | "write";
  readonly key: string;
}

/** An `ok` output is the version that was read or made. */
export type VersionedOperation = Operation<VersionedInput, number>;

/** One finding for each operation and guarantee that it breaks. */
export function checkSessions(history: History<VersionedInput, number>): readonly Finding[] {
  const sessions = new Map<string, VersionedOperation[]>();
  for (const operation of history) {
    if (operation.outcome.kind !== "ok") continue;
    const name = JSON.stringify([operation.process, operation.input.key]);
    const operations = sessions.get(name);
    if (operations === undefined) sessions.set(name, [operation]);
    else operations.push(operation);
  }
  return [...sessions.values()].flatMap((operations) => [...checkSession(operations)]);
}

/** The operations of one session on one key, walked in the order of invocation with what was completed before. */
function* checkSession(operations: readonly VersionedOperation[]): Iterable<Finding> {
  const invoked = [...operations].sort((a, b) => a.invoked - b.invoked);
  const completed = [...operations].sort((a, b) => endOf(a) - endOf(b));
  const latest: { read?: VersionedOperation; write?: VersionedOperation } = {};
  let next = 0;
  for (const operation of invoked) {
    for (; next < completed.length && endOf(completed[next]!) < operation.invoked; next++) {
      const before = completed[next]!;
      const known = latest[before.input.type];
      if (known === undefined || versionOf(before) > versionOf(known)) latest[before.input.type] = before;
    }
    for (const type of ["read", "write"] as const) {
      const before = latest[type];
      if (before === undefined || keeps(operation, versionOf(before))) continue;
      yield { anomaly: guarantees[operation.input.type][type], explanation: explain(before, operation) };
    }
  }
}

const guarantees = {
  read: { read: "monotonic-reads", write: "read-your-writes" },
  write: { read: "writes-follow-reads", write: "monotonic-writes" },
} as const;

function keeps(operation: VersionedOperation, before: number): boolean {
  return operation.input.type === "read" ? versionOf(operation) >= before : versionOf(operation) > before;
}

function versionOf({ outcome }: VersionedOperation): number {
  return outcome.kind === "ok" ? outcome.output : Number.NaN;
}

function explain(before: VersionedOperation, after: VersionedOperation): string {
  const did = ({ input }: VersionedOperation): string => (input.type === "read" ? "read" : "wrote");
  return `${placeOf(after)} ${did(after)} version ${versionOf(after)} of ${after.input.key}, after its session had ${before.input.type === "read" ? "read" : "written"} version ${versionOf(before)} at [${before.invoked}, ${before.completed}].`;
}
