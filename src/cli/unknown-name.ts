/** "no kind 'acount'; did you mean 'account'?": what people read who have mistyped a name of the system's. */
import { closest } from "../base/ids.ts";
import { CommandFailure } from "./exit-code.ts";
import type { NodeOptions } from "./node-client.ts";
import { operationsOf, readOutline, type SystemOutline } from "./system-outline.ts";

/** What was asked for. */
export interface AskedNames {
  readonly kind?: string;
  /** A command's or query's. */
  readonly operation?: string;
  readonly transaction?: string;
}

/** Names that a message lists where none is near. */
const listedMax = 8;

/**
 * Runs `work`; where it fails because the node has no such name, fails with the same code and problem, and a message that tells
 * what the node has.
 */
export async function withNames<T>(asked: AskedNames, node: NodeOptions, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof CommandFailure) || !isAboutName(error.problem)) throw error;
    const message = await explained(asked, node);
    if (message === undefined) throw error;
    throw new CommandFailure(error.exitCode, message, { problem: error.problem, cause: error });
  }
}

/** What is wrong with the names, in a sentence; undefined if nothing is. */
export function wrongName(asked: AskedNames, outline: SystemOutline): string | undefined {
  const { kind, operation, transaction } = asked;
  if (transaction !== undefined && !outline.transactions.includes(transaction)) {
    const isKind = outline.kinds.has(transaction);
    const hint = isKind ? `; it is a kind: onefold call ${transaction}/ID COMMAND` : undefined;
    return `no transaction '${transaction}'${hint ?? suggestion(transaction, outline.transactions)}`;
  }
  if (kind === undefined) return undefined;
  const ofKind = outline.kinds.get(kind);
  if (ofKind === undefined) return `no kind '${kind}'${suggestion(kind, [...outline.kinds.keys()])}`;
  const operations = operationsOf(ofKind);
  if (operation === undefined || operations.includes(operation)) return undefined;
  return `${kind} has no command or query '${operation}'${suggestion(operation, operations)}`;
}

async function explained(asked: AskedNames, node: NodeOptions): Promise<string | undefined> {
  try {
    return wrongName(asked, await readOutline(node));
  } catch (error) {
    // Whatever keeps the outline from us, the node's own words are there.
    if (error instanceof CommandFailure) return undefined;
    throw error;
  }
}

function suggestion(name: string, candidates: readonly string[]): string {
  const near = closest(name, candidates);
  if (near !== undefined) return `; did you mean '${near}'?`;
  if (candidates.length === 0) return "; there is none";
  const listed = candidates.slice(0, listedMax).join(", ");
  return `; there ${candidates.length === 1 ? "is" : "are"}: ${listed}${candidates.length > listedMax ? ", …" : ""}`;
}

const codes: ReadonlySet<unknown> = new Set([
  "unknown-kind",
  "unknown-command",
  "unknown-query",
  "unknown-transaction",
]);

function isAboutName(problem: unknown): boolean {
  return typeof problem === "object" && problem !== null && "code" in problem && codes.has(problem.code);
}
