/** Results as a table for people, a line at a time while they come. */
import type { ResultLine } from "./result.ts";
import { isOnefold } from "./subject/subject.ts";

interface Column {
  readonly title: string;
  readonly width: number;
  readonly cell: (line: ResultLine) => string;
}

const milliseconds = (ms: number) => ms.toFixed(3);
const ratio = (value: number | null) => (value === null ? "" : value.toFixed(2));

const ownColumns: readonly Column[] = [
  { title: "workload", width: -9, cell: (line) => line.workload },
  { title: "over", width: -12, cell: (line) => (isOnefold(line.engine) ? line.transport : line.engine) },
  { title: "conc.", width: 5, cell: (line) => String(line.concurrency) },
  { title: "operations/s", width: 12, cell: (line) => line.operations_per_second.toLocaleString("en") },
  { title: "p50 ms", width: 9, cell: (line) => milliseconds(line.p50_ms) },
  { title: "p99 ms", width: 9, cell: (line) => milliseconds(line.p99_ms) },
  { title: "p99.9 ms", width: 9, cell: (line) => milliseconds(line.p999_ms) },
  { title: "limit", width: 6, cell: (line) => ratio(line.limit_ratio) },
  { title: "p50/append", width: 10, cell: (line) => ratio(line.p50_to_bare_append) },
  { title: "load CPU", width: 8, cell: (line) => line.load_cpu.toFixed(2) },
];

const clusterColumns: readonly Column[] = [
  { title: "×stream", width: 8, cell: (line) => ratio(line.plain_stream_throughput_ratio) },
  { title: "×counter", width: 8, cell: (line) => ratio(line.counter_throughput_ratio) },
];

const redisColumns: readonly Column[] = [
  { title: "×Redis", width: 7, cell: (line) => ratio(line.redis_throughput_ratio) },
  { title: "its p50", width: 7, cell: (line) => ratio(line.redis_p50_ratio) },
];

const postgresColumns: readonly Column[] = [
  { title: "×Postgres", width: 9, cell: (line) => ratio(line.postgres_throughput_ratio) },
  { title: "its p50", width: 7, cell: (line) => ratio(line.postgres_p50_ratio) },
];

/** How to write the table: its head, then each line. */
export interface Table {
  readonly head: string;
  row(line: ResultLine): string;
}

export function table(against: {
  readonly cluster: boolean;
  readonly redis: boolean;
  readonly postgres: boolean;
}): Table {
  const columns = [
    ...ownColumns,
    ...(against.cluster ? clusterColumns : []),
    ...(against.redis ? redisColumns : []),
    ...(against.postgres ? postgresColumns : []),
  ];
  const write = (cells: readonly string[]) =>
    columns
      .map(({ width }, i) => (width < 0 ? cells[i]!.padEnd(-width) : cells[i]!.padStart(width)))
      .join(" ")
      .trimEnd();
  return {
    head: write(columns.map(({ title }) => title)),
    row: (line) => write(columns.map(({ cell }) => cell(line))),
  };
}
