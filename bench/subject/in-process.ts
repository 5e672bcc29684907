/** Onefold in the load's own process: no transport at all. Its limit is the bare loop of `bare-log.ts`. */
import type { Trace } from "../../src/host/host.ts";
import { inProcessClient } from "../../src/runtime/in-process-client.ts";
import { type OnefoldNode, openNode } from "../../src/runtime/node.ts";
import { benchSystem } from "../system.ts";
import { bareAppendP50Ms, bareReadRate, measureBareAppends } from "./bare-log.ts";
import { onefoldOperations } from "./onefold-operations.ts";
import type { Limit, LimitQuestion, Subject } from "./subject.ts";

const developer = { tenant: "default", subject: "developer", scopes: ["*"] } as const;

/** Only what has gone wrong, on standard error. */
export const errorsOnly: Trace = (level, message, fields) => {
  if (level === "error") console.error(message, fields);
};

/** Opens a node on `directory`, which is made. Rejects as `openNode` does. */
export async function openInProcess(directory: string): Promise<Subject> {
  const node = await openNode({ system: benchSystem, dataDirectory: directory, trace: errorsOnly });
  return {
    operations: onefoldOperations(inProcessClient(benchSystem, node.service, developer)),
    mark: () => {
      const fromSequence = node.service.health().sequence + 1;
      return (question) => limit(node, fromSequence, question);
    },
    close: () => node.close(),
  };
}

async function limit(node: OnefoldNode, fromSequence: number, question: LimitQuestion): Promise<Limit | undefined> {
  const { concurrency, seconds, workload } = question;
  const { readsPerOperation, writesPerOperation } = workload;
  const { disk } = node.host;
  const { log } = node.embedded;
  // One operation takes as long as what it writes and what it reads, each at its own rate.
  let secondsPerOperation = 0;
  if (readsPerOperation > 0) secondsPerOperation += readsPerOperation / (await bareReadRate(concurrency, seconds));
  if (writesPerOperation === 0) return { operationsPerSecond: 1 / secondsPerOperation };
  const bare = await measureBareAppends({ log, fromSequence, disk, seconds });
  secondsPerOperation += writesPerOperation / bare.entriesPerSecond;
  const operationsPerSecond = 1 / secondsPerOperation;
  if (concurrency > 1 || readsPerOperation > 0) return { operationsPerSecond };
  return { operationsPerSecond, appendP50Ms: await bareAppendP50Ms(disk, bare.recordBytes, seconds) };
}
