/** The commands that ask a running node: `call`, `run` and `get`. */
import { randomUUID } from "node:crypto";
import { splitEntityPath } from "./entity-path.ts";
import { CommandFailure, exitCodes } from "./exit-code.ts";
import { askNode, type NodeAnswer } from "./node-client.ts";
import { type Output, prettyJson } from "./output.ts";

export interface RequestOptions {
  readonly url: string;
  readonly header: readonly string[];
  /** Makes a repeated call take hold once; a fresh one if absent. */
  readonly key?: string;
  readonly json?: boolean;
}

/** Runs a command (or a query) of one entity and prints what it returned. */
export async function call(
  target: { readonly path: string; readonly name: string; readonly input: string | undefined },
  options: RequestOptions,
  output: Output,
): Promise<void> {
  const { kind, id } = splitEntityPath(target.path);
  const answer = await post("/v1/call", { kind, id, name: target.name }, target.input, options);
  printAnswer(answer, options, output);
}

/** Runs a transaction and prints what it returned. */
export async function run(
  target: { readonly name: string; readonly input: string | undefined },
  options: RequestOptions,
  output: Output,
): Promise<void> {
  const answer = await post("/v1/call", { transaction: target.name }, target.input, options);
  printAnswer(answer, options, output);
}

/** Prints the raw state of one entity. */
export async function get(path: string, options: RequestOptions, output: Output): Promise<void> {
  const { kind, id } = splitEntityPath(path);
  if (id === "." || id === "..") throw new CommandFailure(exitCodes.usage, `${id} is not an id.`);
  const route = `/v1/entities/${encodeURIComponent(kind)}/${encodeURIComponent(id)}`;
  const answer = await askNode({ url: options.url, method: "GET", path: route, headers: options.header });
  printAnswer(answer, options, output);
}

async function post(
  path: string,
  target: Readonly<Record<string, string>>,
  input: string | undefined,
  options: RequestOptions,
): Promise<NodeAnswer> {
  const body = JSON.stringify(target);
  const key = options.key ?? randomUUID();
  return await askNode({
    url: options.url,
    method: "POST",
    path,
    // The user's text goes in as it stands: parsing and printing it again would change large numbers.
    body: input === undefined ? body : `${body.slice(0, -1)},"input":${checkedJson(input)}}`,
    headers: [...options.header, `Idempotency-Key: ${key}`],
  });
}

function checkedJson(text: string): string {
  try {
    JSON.parse(text);
    return text;
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new CommandFailure(
      exitCodes.usage,
      `The input is not JSON (${reason}). In a shell, put it in single quotes: '{"cents": 500}'.`,
      { cause },
    );
  }
}

function printAnswer(answer: NodeAnswer, options: RequestOptions, output: Output): void {
  output.result(output.isTerminal && options.json !== true ? prettyJson(answer.body) : answer.body);
}
