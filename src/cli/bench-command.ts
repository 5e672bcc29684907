/**
 * `onefold bench`: a quick look at how many calls a second a node answers and how fast, from this one process over the socket.
 * Without arguments on a node of its own, with data that is removed afterwards; with KIND and COMMAND on a running one, where
 * it leaves what the command does to entities `bench-0`, `bench-1`, ….
 *
 * BN1  On its own node it counts along: what was acknowledged has to be there at the end, or it fails.
 */
import { parseTaggedJson } from "../base/tagged-json.ts";
import type { Value } from "../base/value.ts";
import { connectOn } from "../client/connect.ts";
import { nodePlatform } from "../client/platform/node.ts";
import { type LoopResult, runLoop } from "./bench/closed-loop.ts";
import { startTemporaryNode } from "./bench/temporary-node.ts";
import { CommandFailure, exitCodes } from "./exit-code.ts";
import { baseOf, headersOf, type NodeOptions } from "./node-client.ts";
import type { Output } from "./output.ts";
import { checkedJson } from "./request-commands.ts";
import { operationsOf, readOutline } from "./system-outline.ts";
import { bar, countText, millisecondsText, table } from "./text.ts";
import { wrongName } from "./unknown-name.ts";

export interface BenchOptions extends NodeOptions {
  /** How many callers there are, one measurement for each number. */
  readonly concurrency: readonly number[];
  /** How long each measurement takes. */
  readonly seconds: number;
  /** How many entities the calls are spread over. */
  readonly entities: number;
  /** Where the temporary node keeps its data; the system's temporary directory if absent. */
  readonly directory?: string;
}

export interface BenchTarget {
  readonly kind: string | undefined;
  /** A command's or query's name. */
  readonly operation: string | undefined;
  readonly input: string | undefined;
}

/** A client whose system is not known to the compiler. */
interface AnyClient {
  readonly [kind: string]: (id: string) => { readonly [operation: string]: (input?: Value) => Promise<unknown> };
}

interface Measurement {
  readonly operation: string;
  readonly concurrency: number;
  readonly operationsPerSecond: number;
  readonly p50Ms: number | undefined;
  readonly p99Ms: number | undefined;
  readonly p999Ms: number | undefined;
  readonly refused: number;
}

/** Prints a table, or with `json` an object for each measurement. Throws `CommandFailure`, or what a call failed with. */
export async function bench(target: BenchTarget, options: BenchOptions, output: Output): Promise<void> {
  const { kind, operation, input } = target;
  const measurements =
    kind === undefined || operation === undefined
      ? await benchOwnNode(kind, options, output)
      : await benchNode({ kind, operation, input }, options, output);
  output.progress("");
  if (options.json === true) return;
  const rows = measurements.map((each) => [
    each.operation,
    String(each.concurrency),
    countText(each.operationsPerSecond),
    millisecondsText(each.p50Ms),
    millisecondsText(each.p99Ms),
    millisecondsText(each.p999Ms),
    countText(each.refused),
  ]);
  const numbers = ["CALLERS", "PER SECOND", "P50 MS", "P99 MS", "P99.9 MS", "REFUSED"];
  const columns = [{ title: "OPERATION" }, ...numbers.map((title) => ({ title, align: "right" as const }))];
  output.result(table(columns, rows, output));
  output.note(
    "Measured in a closed loop from one process, which shares this machine with the node if that is here, too.",
  );
}

async function benchOwnNode(
  kind: string | undefined,
  options: BenchOptions,
  output: Output,
): Promise<readonly Measurement[]> {
  if (kind !== undefined)
    throw new CommandFailure(exitCodes.usage, `Name a command of ${kind}, too: onefold bench KIND COMMAND.`);
  output.progress("Starting a node");
  const node = await startTemporaryNode(options.directory);
  const { client, close } = clientOf({ url: node.url, header: [] });
  try {
    const increments = await measure(
      { kind: "counter", operation: "increment", input: undefined },
      client,
      options,
      output,
    );
    const counted = await sumOfCounters(client, options.entities);
    const acknowledged = increments.reduce((sum, { count }) => sum + count, 0);
    if (counted !== acknowledged) {
      throw new CommandFailure(
        exitCodes.internal,
        `The counters hold ${counted}, but ${acknowledged} increments were acknowledged. This is a bug; report it.`,
      );
    }
    const reads = await measure({ kind: "counter", operation: "count", input: undefined }, client, options, output);
    return [...increments, ...reads];
  } finally {
    close();
    await node.close();
  }
}

/** BN1. */
async function sumOfCounters(client: AnyClient, entities: number): Promise<number> {
  const counts = await Promise.all(
    Array.from({ length: entities }, (_, index) => client.counter!(entityId(index)).count!()),
  );
  return counts.reduce((sum: number, count) => sum + Number(count), 0);
}

async function benchNode(
  target: { readonly kind: string; readonly operation: string; readonly input: string | undefined },
  options: BenchOptions,
  output: Output,
): Promise<readonly Measurement[]> {
  const outline = await readOutline(options);
  const wrong = wrongName({ kind: target.kind, operation: target.operation }, outline);
  if (wrong !== undefined) {
    const problem = {
      code:
        operationsOf(outline.kinds.get(target.kind) ?? { commands: [], queries: [] }).length === 0
          ? "unknown-kind"
          : "unknown-command",
      detail: wrong,
      retry: "never",
    };
    throw new CommandFailure(exitCodes.refused, wrong, { problem });
  }
  const { client, close } = clientOf(options);
  try {
    return await measure(target, client, options, output);
  } finally {
    close();
  }
}

function clientOf(node: NodeOptions): { readonly client: AnyClient; readonly close: () => void } {
  const headers = Object.fromEntries(headersOf(node.header));
  const client = connectOn<unknown>(nodePlatform(), baseOf(node), { headers }) as unknown as AnyClient & {
    readonly $close: () => void;
  };
  return { client, close: () => client.$close() };
}

async function measure(
  target: { readonly kind: string; readonly operation: string; readonly input: string | undefined },
  client: AnyClient,
  options: BenchOptions,
  output: Output,
): Promise<readonly (Measurement & Pick<LoopResult, "count">)[]> {
  const { kind, operation } = target;
  const input = target.input === undefined ? undefined : parseTaggedJson(checkedJson(target.input));
  const name = `${kind}.${operation}`;
  const measurements: (Measurement & Pick<LoopResult, "count">)[] = [];
  for (const concurrency of options.concurrency) {
    const result = await runLoop({
      call: (index) => client[kind]!(entityId(index % options.entities))[operation]!(input),
      concurrency,
      durationMs: options.seconds * 1000,
      onProgress: (fraction) => {
        output.progress(`${bar(fraction, 20)} ${name}, ${concurrency} ${concurrency === 1 ? "caller" : "callers"}`);
      },
    });
    const { latencies, seconds, count, refusedCount } = result;
    const measurement: Measurement = {
      operation: name,
      concurrency,
      operationsPerSecond: count / seconds,
      p50Ms: latencies.quantileMs(0.5),
      p99Ms: latencies.quantileMs(0.99),
      p999Ms: latencies.quantileMs(0.999),
      refused: refusedCount,
    };
    if (options.json === true) output.result(JSON.stringify(measurement));
    measurements.push({ ...measurement, count });
  }
  return measurements;
}

function entityId(index: number): string {
  return `bench-${index}`;
}
