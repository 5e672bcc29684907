/** What a running node's system has, by name: read from its OpenAPI document, which whoever may call may read. */
import { CommandFailure, exitCodes } from "./exit-code.ts";
import { type NodeOptions, readNode } from "./node-client.ts";

export interface KindOutline {
  readonly commands: readonly string[];
  readonly queries: readonly string[];
}

export interface SystemOutline {
  readonly system: string;
  /** In the order of their definition. */
  readonly kinds: ReadonlyMap<string, KindOutline>;
  readonly transactions: readonly string[];
}

interface OpenApi {
  readonly info?: { readonly title?: unknown };
  readonly paths?: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
}

const operationPattern = /^\/v1\/entities\/([^/{}]+)\/\{id\}\/([^/{}]+)$/;
const transactionPattern = /^\/v1\/transactions\/([^/{}]+)$/;

/** Throws `CommandFailure` as `askNode` does, and where what answers has no such document. */
export async function readOutline(node: NodeOptions, signal?: AbortSignal): Promise<SystemOutline> {
  const document = await readNode<OpenApi>(node, "/openapi.json", signal);
  if (typeof document.info?.title !== "string" || document.paths === undefined) {
    throw new CommandFailure(exitCodes.unreachable, `${node.url} answered, but not as a Onefold node does.`);
  }
  return outlineOf(document.info.title, document.paths);
}

function outlineOf(system: string, paths: NonNullable<OpenApi["paths"]>): SystemOutline {
  const kinds = new Map<string, { readonly commands: string[]; readonly queries: string[] }>();
  const transactions: string[] = [];
  for (const [path, item] of Object.entries(paths)) {
    const [, transaction] = transactionPattern.exec(path) ?? [];
    if (transaction !== undefined) transactions.push(transaction);
    const [, kind, name] = operationPattern.exec(path) ?? [];
    if (kind === undefined || name === undefined) continue;
    const outline = kinds.get(kind) ?? { commands: [], queries: [] };
    kinds.set(kind, outline);
    if ("post" in item) outline.commands.push(name);
    if ("get" in item) outline.queries.push(name);
  }
  return { system, kinds, transactions };
}

/** What the kind answers to: its commands, then its queries. */
export function operationsOf({ commands, queries }: KindOutline): readonly string[] {
  return [...commands, ...queries];
}
