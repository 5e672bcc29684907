/** The commands that ask a running node for one thing: `call`, `run` and `get`. */
import { randomUUID } from "node:crypto";
import { entityRoute, splitEntityPath } from "./entity-path.ts";
import { CommandFailure, exitCodes } from "./exit-code.ts";
import { askNode, type NodeAnswer, type NodeOptions } from "./node-client.ts";
import type { Output } from "./output.ts";
import { prettyJson } from "./text.ts";
import { withNames } from "./unknown-name.ts";

export interface RequestOptions extends NodeOptions {
  /** Makes a repeated call take hold once; a fresh one if absent. */
  readonly key?: string;
}

/** Runs a command (or a query) of one entity and prints what it returned. */
export async function call(
  target: { readonly path: string; readonly name: string; readonly input: string | undefined },
  options: RequestOptions,
  output: Output,
): Promise<void> {
  const { kind, id } = splitEntityPath(target.path);
  const answer = await withNames({ kind, operation: target.name }, options, () =>
    post({ kind, id, name: target.name }, target.input, options),
  );
  printAnswer(answer, options, output);
}

/** Runs a transaction and prints what it returned. */
export async function run(
  target: { readonly name: string; readonly input: string | undefined },
  options: RequestOptions,
  output: Output,
): Promise<void> {
  const answer = await withNames({ transaction: target.name }, options, () =>
    post({ transaction: target.name }, target.input, options),
  );
  printAnswer(answer, options, output);
}

/** Prints the raw state of one entity. */
export async function get(path: string, options: NodeOptions, output: Output): Promise<void> {
  const address = splitEntityPath(path);
  const answer = await withNames({ kind: address.kind }, options, () =>
    askNode({ node: options, method: "GET", path: entityRoute("/v1/entities", address) }),
  );
  printAnswer(answer, options, output);
}

async function post(
  target: Readonly<Record<string, string>>,
  input: string | undefined,
  options: RequestOptions,
): Promise<NodeAnswer> {
  const body = JSON.stringify(target);
  return await askNode({
    node: options,
    method: "POST",
    path: "/v1/call",
    // The user's text goes in as it stands: parsing and printing it again would change large numbers.
    body: input === undefined ? body : `${body.slice(0, -1)},"input":${checkedJson(input)}}`,
    headers: [`Idempotency-Key: ${options.key ?? randomUUID()}`],
  });
}

/** The same text. Throws `CommandFailure` (usage) for text that is not JSON. */
export function checkedJson(text: string): string {
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

function printAnswer(answer: NodeAnswer, options: NodeOptions, output: Output): void {
  output.result(output.isTerminal && options.json !== true ? prettyJson(answer.body) : answer.body);
}
