/**
 * The commands to try that `onefold start` and `dev` print: what the system's module exports as `examples`, or where it
 * exports no such list, its first commands and queries that need no input.
 *
 * A module says: `export const examples = [{ title: "Open an account", entity: "account/alice", command: "deposit",
 * input: { cents: 500 } }, …]`; `query` or `transaction` in the place of `command`.
 */
import { z } from "zod";
import type { SystemDefinition } from "../entity/definition.ts";
import { splitEntityPath } from "./entity-path.ts";
import { quoted } from "./text.ts";

const title = z.string().min(1).max(200);
const exampleSchema = z.union([
  z.strictObject({ title, entity: z.string(), command: z.string(), input: z.unknown().optional() }),
  z.strictObject({ title, entity: z.string(), query: z.string() }),
  z.strictObject({ title, transaction: z.string(), input: z.unknown().optional() }),
]);

export type Example = z.infer<typeof exampleSchema>;

const examplesMax = 16;
const examplesSchema = z.array(exampleSchema).max(examplesMax);

/** `exported` is the module's `examples`, whatever that is: an export of another meaning is not an error. */
export function examplesOf(definition: SystemDefinition, exported: unknown): readonly Example[] {
  const parsed = examplesSchema.safeParse(exported);
  if (parsed.success) return parsed.data;
  const examples: Example[] = [];
  for (const entity of definition.entities.values()) {
    const path = `${entity.name}/one`;
    const command = [...entity.commands.values()].find((candidate) => candidate.input === undefined);
    const query = [...entity.queries.values()].find((candidate) => candidate.input === undefined);
    if (command !== undefined) {
      examples.push({ title: `Run ${command.name} on a new ${entity.name}`, entity: path, command: command.name });
    }
    if (query !== undefined) examples.push({ title: `Read its ${query.name}`, entity: path, query: query.name });
    if (examples.length >= 3) break;
  }
  return examples.slice(0, 3);
}

/** A command line for any POSIX shell that has curl, and its answer on a line of its own. */
export function curlCommand(example: Example, url: string): string {
  const route = url + routeOf(example);
  if ("query" in example) return `curl -sS -w '\\n' ${quoted(route)}`;
  const head = `curl -sS -w '\\n' -X POST ${quoted(route)}`;
  if (example.input === undefined) return head;
  return `${head} -H 'content-type: application/json' -d ${quoted(JSON.stringify(example.input))}`;
}

function routeOf(example: Example): string {
  if ("transaction" in example) return `/v1/transactions/${encodeURIComponent(example.transaction)}`;
  const { kind, id } = splitEntityPath(example.entity);
  const name = "query" in example ? example.query : example.command;
  return `/v1/entities/${[kind, id, name].map(encodeURIComponent).join("/")}`;
}
