/** How busy a node was between two scrapes of its metrics: what `onefold top` shows. */
import { growth, quantile, type Sample, type Scrape, total } from "./scrape.ts";

export interface OperationLoad {
  readonly action: string;
  /** Absent for transactions. */
  readonly kind?: string;
  /** The command's, query's or transaction's name; absent for raw reads, lists and deletions. */
  readonly operation?: string;
  readonly perSecond: number;
  readonly refusedPerSecond: number;
  readonly failedPerSecond: number;
  readonly p50Ms: number | undefined;
  readonly p99Ms: number | undefined;
}

/** Rates are over the time between the scrapes; what is undefined the node does not tell. */
export interface Load {
  readonly system: string | undefined;
  readonly isReady: boolean;
  readonly problems: number;
  readonly operationsPerSecond: number;
  readonly p50Ms: number | undefined;
  readonly p99Ms: number | undefined;
  readonly sequence: number | undefined;
  readonly appendsPerSecond: number;
  readonly appendP50Ms: number | undefined;
  readonly appendP99Ms: number | undefined;
  readonly batchBytes: number | undefined;
  readonly logBytesPerSecond: number;
  readonly queuedCalls: number;
  readonly openCalls: number;
  readonly openTransactions: number;
  readonly outboxMessages: number;
  readonly deadLetters: number;
  readonly storeLagBatches: number;
  readonly snapshotLagBytes: number;
  readonly cacheEntities: number;
  readonly cacheBytes: number;
  readonly connections: number;
  readonly residentBytes: number | undefined;
  /** 1: one processor was busy all the time. */
  readonly processorShare: number;
  readonly upSeconds: number | undefined;
  /** The busiest first; those that were called since the node started. */
  readonly operations: readonly OperationLoad[];
}

const calls = "onefold_calls_total";
const duration = "onefold_call_duration_seconds";
const appendDuration = "onefold_log_append_duration_seconds";

/** `nowSeconds` is the time since the Unix epoch, for how long the process has been up. */
export function loadBetween(before: Scrape, now: Scrape, nowSeconds: number): Load {
  const seconds = Math.max(0.001, (now.atMs - before.atMs) / 1000);
  const rate = (name: string, labels = {}): number => growth(before, now, name, labels) / seconds;
  const gauge = (name: string): number => total(now, name) ?? 0;
  const ms = (name: string, of: number, labels = {}): number | undefined =>
    inMilliseconds(quantile(before, now, { name, labels, quantile: of }));
  const appends = growth(before, now, `${appendDuration}_count`);
  const bytes = growth(before, now, "onefold_log_batch_size_bytes_sum");
  const batches = growth(before, now, "onefold_log_batch_size_bytes_count");
  const startSeconds = total(now, "process_start_time_seconds");
  return {
    system: now.samples.get("onefold_build_info")?.[0]?.labels.system,
    isReady: gauge("onefold_ready") === 1,
    problems: gauge("onefold_problems"),
    operationsPerSecond: rate(calls),
    p50Ms: ms(duration, 0.5),
    p99Ms: ms(duration, 0.99),
    sequence: total(now, "onefold_log_sequence"),
    appendsPerSecond: appends / seconds,
    appendP50Ms: ms(appendDuration, 0.5),
    appendP99Ms: ms(appendDuration, 0.99),
    batchBytes: batches === 0 ? undefined : bytes / batches,
    logBytesPerSecond: bytes / seconds,
    queuedCalls: gauge("onefold_queued_calls"),
    openCalls: gauge("onefold_open_calls"),
    openTransactions: gauge("onefold_open_transactions"),
    outboxMessages: gauge("onefold_outbox_messages"),
    deadLetters: gauge("onefold_dead_letters"),
    storeLagBatches: gauge("onefold_store_lag_batches"),
    snapshotLagBytes: gauge("onefold_snapshot_lag_bytes"),
    cacheEntities: gauge("onefold_cache_entities"),
    cacheBytes: gauge("onefold_cache_bytes"),
    connections: gauge("onefold_connections"),
    residentBytes: total(now, "process_resident_memory_bytes"),
    processorShare: rate("process_cpu_seconds_total"),
    upSeconds: startSeconds === undefined ? undefined : Math.max(0, nowSeconds - startSeconds),
    operations: operationLoads(before, now, seconds),
  };
}

function operationLoads(before: Scrape, now: Scrape, seconds: number): readonly OperationLoad[] {
  const [partsBefore, partsNow] = [operationParts(before), operationParts(now)];
  const loads: OperationLoad[] = [];
  for (const [key, { identity, part }] of partsNow) {
    if ((total(part, calls) ?? 0) === 0) continue;
    const was = partsBefore.get(key)?.part ?? { ...before, samples: new Map() };
    const rate = (labels = {}): number => growth(was, part, calls, labels) / seconds;
    const ms = (of: number): number | undefined =>
      inMilliseconds(quantile(was, part, { name: duration, quantile: of }));
    const perSecond = rate();
    const refusedPerSecond = rate({ result: "refused" });
    loads.push({
      ...identity,
      perSecond,
      refusedPerSecond,
      failedPerSecond: Math.max(0, perSecond - refusedPerSecond - rate({ result: "done" })),
      p50Ms: ms(0.5),
      p99Ms: ms(0.99),
    });
  }
  return loads.sort((a, b) => b.perSecond - a.perSecond || compareNames(a, b));
}

type OperationIdentity = Pick<OperationLoad, "action" | "kind" | "operation">;

interface OperationPart {
  readonly identity: OperationIdentity;
  readonly part: Scrape;
}

/** Each operation's own samples, so that one of thousands is not looked for among those of all. */
function operationParts(scrape: Scrape): ReadonlyMap<string, OperationPart> {
  const parts = new Map<string, { readonly identity: OperationIdentity; readonly samples: Map<string, Sample[]> }>();
  for (const name of [calls, `${duration}_bucket`]) {
    for (const sample of scrape.samples.get(name) ?? []) {
      const { action = "", kind, operation } = sample.labels;
      const key = JSON.stringify([action, kind, operation]);
      let part = parts.get(key);
      if (part === undefined) {
        const ofKind = kind === undefined ? {} : { kind };
        const identity = { action, ...ofKind, ...(operation === undefined ? {} : { operation }) };
        part = { identity, samples: new Map() };
        parts.set(key, part);
      }
      const samples = part.samples.get(name);
      if (samples === undefined) part.samples.set(name, [sample]);
      else samples.push(sample);
    }
  }
  return new Map([...parts].map(([key, { identity, samples }]) => [key, { identity, part: { ...scrape, samples } }]));
}

function compareNames(a: OperationLoad, b: OperationLoad): number {
  return operationName(a) < operationName(b) ? -1 : 1;
}

/** `account.deposit`, `transfer`, `account (state)`. */
export function operationName({ action, kind, operation }: OperationIdentity): string {
  if (operation === undefined) return `${kind ?? ""} (${action})`;
  return kind === undefined ? operation : `${kind}.${operation}`;
}

function inMilliseconds(seconds: number | undefined): number | undefined {
  return seconds === undefined ? undefined : seconds * 1000;
}
