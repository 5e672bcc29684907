/** How `onefold top` shows a load: as a screen that is drawn again in its place, or as a line. */
import type { Output } from "../output.ts";
import { bytesText, countText, millisecondsText, rateText, shortened, table } from "../text.ts";
import { type ClusterLoad, isWell } from "./cluster-load.ts";
import { type Load, operationName } from "./load.ts";

/** One line, for where nothing can be drawn again. */
export function loadLine(load: Load, time: string): string {
  return [
    time,
    load.isReady ? "ready" : "NOT READY",
    `${rateText(load.operationsPerSecond)} operations/s`,
    `p50 ${millisecondsText(load.p50Ms)} ms`,
    `p99 ${millisecondsText(load.p99Ms)} ms`,
    `queue ${countText(load.queuedCalls)}`,
    `${rateText(load.appendsPerSecond)} appends/s`,
    `lag ${countText(load.storeLagBatches)}`,
    ...(load.residentBytes === undefined ? [] : [`memory ${bytesText(load.residentBytes)}`]),
    `processor ${Math.round(load.processorShare * 100)} %`,
    ...(load.problems === 0 ? [] : [`PROBLEMS ${load.problems}`]),
  ].join("  ");
}

/** The lines of a screen of this size. `problems` are those that `/readyz` names. */
export function loadScreen(
  load: Load,
  facts: {
    readonly url: string;
    readonly time: string;
    readonly problems: readonly string[];
    readonly cluster?: ClusterLoad | undefined;
  },
  size: { readonly columns: number; readonly rows: number },
  output: Output,
): readonly string[] {
  const state = load.isReady ? output.styled("good", "ready") : output.styled("bad", "not ready");
  const up = load.upSeconds === undefined ? "" : `, up ${durationText(load.upSeconds)}`;
  const head = [
    `${output.styled("strong", load.system ?? "Onefold")} at ${facts.url}: ${state}${up}, sequence ${countText(load.sequence ?? 0)}, ${facts.time}`,
    ...facts.problems.map((problem) => output.styled("bad", shortened(problem, size.columns))),
    "",
    ...named(size.columns, [
      [
        "Operations",
        `${rateText(load.operationsPerSecond)}/s, p50 ${millisecondsText(load.p50Ms)} ms, p99 ${millisecondsText(load.p99Ms)} ms`,
      ],
      [
        "Waiting",
        `${countText(load.queuedCalls)} queued, ${countText(load.openCalls)} open calls, ${countText(load.openTransactions)} open transactions, ${countText(load.outboxMessages)} messages`,
      ],
      [
        "Log",
        `${rateText(load.appendsPerSecond)} appends/s, p50 ${millisecondsText(load.appendP50Ms)} ms, p99 ${millisecondsText(load.appendP99Ms)} ms, batches of ${load.batchBytes === undefined ? "–" : bytesText(load.batchBytes)}, grows ${bytesText(load.logBytesPerSecond)}/s`,
      ],
      [
        "Lag",
        `store ${countText(load.storeLagBatches)} batches, snapshot ${bytesText(load.snapshotLagBytes)}, ${countText(load.deadLetters)} dead letters`,
      ],
      [
        "Memory",
        `${load.residentBytes === undefined ? "–" : bytesText(load.residentBytes)}, cache ${countText(load.cacheEntities)} entities in ${bytesText(load.cacheBytes)}, ${countText(load.connections)} connections, processor ${Math.round(load.processorShare * 100)} %`,
      ],
    ]),
    "",
    ...(facts.cluster === undefined ? [] : clusterLines(facts.cluster, size, output)),
  ];
  const rows = load.operations.map((operation) => [
    rateText(operation.perSecond),
    millisecondsText(operation.p50Ms),
    millisecondsText(operation.p99Ms),
    rateText(operation.refusedPerSecond),
    rateText(operation.failedPerSecond),
    operationName(operation),
  ]);
  const columns = [
    ...["PER SECOND", "P50 MS", "P99 MS", "REFUSED/S", "FAILED/S"].map((title) => ({ title, align: "right" as const })),
    { title: "OPERATION" },
  ];
  const operations = rows.length === 0 ? ["No calls yet."] : table(columns, rows, output).split("\n");
  const room = Math.max(3, size.rows - head.length - 1);
  const more = operations.length - room;
  const shown = more > 0 ? [...operations.slice(0, room - 1), `and ${more + 1} more`] : operations;
  return [...head, ...shown];
}

/** Nodes, and of the shards as many as leave room for the rest. */
function clusterLines(
  { nodes, shards }: ClusterLoad,
  { rows }: { readonly rows: number },
  output: Output,
): readonly string[] {
  const right = (title: string) => ({ title, align: "right" as const });
  const nodeTable = table(
    [{ title: "NODE" }, right("OWNS"), right("FOLLOWS"), right("BATCHES/S"), right("LAG"), { title: "STATUS" }],
    nodes.map(({ name, owned, followed, batchesPerSecond, lagBatches, status, answers, isController }) => [
      name,
      String(owned),
      String(followed),
      rateText(batchesPerSecond),
      countText(lagBatches),
      [answers ? status : `${status}, does not answer`, ...(isController ? ["controller"] : [])].join(", "),
    ]),
    output,
  );
  const shownMax = Math.max(3, Math.floor(rows / 4));
  const shown = shards.slice(0, Math.max(shownMax, shards.filter((shard) => !isWell(shard)).length));
  const hasRegions = shards.some(({ region }) => region !== null);
  const shardTable = table(
    [
      { title: "SHARD" },
      ...(hasRegions ? [{ title: "REGION" }] : []),
      { title: "OWNER" },
      right("EPOCH"),
      right("BATCHES/S"),
      right("QUEUED"),
      right("LAG"),
      { title: "STATUS" },
    ],
    shown.map(({ id, region, owner, epoch, batchesPerSecond, queuedCalls, lagBatches, status }) => [
      id,
      ...(hasRegions ? [region ?? "any"] : []),
      owner ?? "none",
      epoch === null ? "–" : countText(epoch),
      rateText(batchesPerSecond),
      countText(queuedCalls),
      countText(lagBatches),
      status,
    ]),
    output,
  );
  const more = shards.length > shown.length ? [`and ${shards.length - shown.length} more shards`] : [];
  return [...nodeTable.split("\n"), "", ...shardTable.split("\n"), ...more, ""];
}

function named(columns: number, lines: readonly (readonly [name: string, text: string])[]): readonly string[] {
  return lines.map(([name, text]) => shortened(`${name.padEnd(12)}${text}`, columns));
}

function durationText(seconds: number): string {
  if (seconds < 120) return `${Math.floor(seconds)} s`;
  if (seconds < 7200) return `${Math.floor(seconds / 60)} min`;
  return seconds < 172_800 ? `${Math.floor(seconds / 3600)} h` : `${Math.floor(seconds / 86_400)} d`;
}
