/** The benchmark's options, parsed once: what is wrong with them is said before anything is measured. */
import { parseArgs } from "node:util";
import {
  type OnefoldEngine,
  onefoldEngines,
  type Opponent,
  opponents,
  type Transport,
  transports,
} from "./subject/subject.ts";
import { fullSizes, quickSizes, type Sizes, workloadFamilies } from "./workload/workload.ts";

export const usage = `npm run bench -- [OPTIONS]: what Onefold does on this machine, and beside what.

  --only a,b           only these workloads: ${workloadNames().join(", ")}
  --transport a,b      only over these: ${transports.join(", ")}
  --engine nats        nodes of a cluster on three synced servers of NATS, reached by a client to each node; default segment
  --nodes N            how many, 1 to 9; default 3
  --shards N           of the cluster, a power of two; default: what a cluster is founded with
  --concurrency 1,64   callers at once; default 1,64,512
  --seconds N          of each measurement; default 3
  --quick              a look in some minutes: 0.4 seconds each, a tenth of the records and customers
  --against a,b        also on these, started and ended by the benchmark: ${opponents.join(", ")}
  --json               one line of JSON a result, nothing else, on standard output
  --report FILE        where the report goes; default: a new file in reports/; none for none
  --data DIR           a folder on the disk to be measured; default: the one for temporary files. Nothing stays in it
  --memory             instead: a million entities, their memory, and the restart on them and a 1 GB log
  --help               this text`;

export interface BenchOptions {
  readonly workloads: readonly string[];
  readonly engine: OnefoldEngine;
  /** Of the cluster, with the engine `nats`. */
  readonly nodeCount: number;
  readonly shardCount: number | undefined;
  readonly transports: readonly Transport[];
  readonly concurrencies: readonly number[];
  readonly seconds: number;
  readonly isQuick: boolean;
  readonly sizes: Sizes;
  readonly against: readonly Opponent[];
  readonly json: boolean;
  /** Absent: one with a name of its own. Null: none. */
  readonly report: string | null | undefined;
  readonly dataParent: string | undefined;
  readonly memory: boolean;
  readonly help: boolean;
}

/** Throws a `TypeError` that says what is wrong with which option. */
export function parseOptions(args: readonly string[]): BenchOptions {
  const { values } = parseArgs({
    args: [...args],
    options: {
      only: { type: "string" },
      transport: { type: "string" },
      engine: { type: "string", default: "segment" },
      nodes: { type: "string" },
      shards: { type: "string" },
      concurrency: { type: "string", default: "1,64,512" },
      seconds: { type: "string" },
      quick: { type: "boolean", default: false },
      against: { type: "string" },
      json: { type: "boolean", default: false },
      report: { type: "string" },
      data: { type: "string" },
      memory: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  });
  const [engine, ...others] = chosen("engine", values.engine, onefoldEngines);
  if (others.length > 0) throw new TypeError("--engine: one at a time");
  if (engine !== "nats" && (values.nodes !== undefined || values.shards !== undefined)) {
    throw new TypeError("--nodes and --shards are of a cluster: give --engine nats");
  }
  const reachable = engine === "nats" ? transports.filter((each) => each !== "in-process") : transports;
  return {
    engine: engine!,
    nodeCount: number("nodes", values.nodes ?? "3", { isWhole: true, max: nodesMax }),
    shardCount: values.shards === undefined ? undefined : powerOfTwo("shards", values.shards),
    workloads: chosen("only", values.only, workloadNames()),
    transports: chosen("transport", values.transport, reachable),
    concurrencies: values.concurrency.split(",").map((text) => number("concurrency", text, { isWhole: true })),
    seconds: number("seconds", values.seconds ?? (values.quick ? "0.4" : "3"), { isWhole: false }),
    isQuick: values.quick,
    sizes: values.quick ? quickSizes : fullSizes,
    against: values.against === undefined ? [] : chosen("against", values.against, opponents),
    json: values.json,
    report: values.report === "none" ? null : values.report,
    dataParent: values.data,
    memory: values.memory,
    help: values.help,
  };
}

function workloadNames(): string[] {
  return workloadFamilies(fullSizes).flatMap(({ workloads }) => workloads.map(({ name }) => name));
}

/** All where nothing is named. */
function chosen<T extends string>(option: string, text: string | undefined, all: readonly T[]): readonly T[] {
  if (text === undefined) return all;
  const names = text.split(",");
  const unknown = names.find((name) => !(all as readonly string[]).includes(name));
  if (unknown !== undefined) {
    throw new TypeError(`--${option}: there is no ${JSON.stringify(unknown)}; there are ${all.join(", ")}`);
  }
  return all.filter((name) => names.includes(name));
}

const callersMax = 1024;
const nodesMax = 9;
const shardsMax = 256;

function powerOfTwo(option: string, text: string): number {
  const value = number(option, text, { isWhole: true, max: shardsMax });
  if (Number.isInteger(Math.log2(value))) return value;
  throw new TypeError(`--${option}: ${value} is no power of two`);
}

function number(
  option: string,
  text: string,
  { isWhole, max = callersMax }: { readonly isWhole: boolean; readonly max?: number },
): number {
  const value = Number(text);
  const isRight = value > 0 && value <= max && (!isWhole || Number.isInteger(value));
  if (!isRight) throw new TypeError(`--${option}: ${JSON.stringify(text)} is no number from above 0 to ${max}`);
  return value;
}
