/**
 * What may stand where the cursor is: read off the program itself (commands, options, arguments by their names), and for names
 * of the system's, asked of the running node.
 *
 * CP1  Completion never fails and never waits long: where the node doesn't answer in `askMs`, there are no names.
 */
import type { Command, Option } from "commander";
import type { ListReply } from "../../entity/service.ts";
import { CommandFailure } from "../exit-code.ts";
import { type NodeOptions, queryText, readNode } from "../node-client.ts";
import { operationsOf, readOutline, type SystemOutline } from "../system-outline.ts";

export interface Candidates {
  /** Those that begin with the word at the cursor, sorted. One that ends with a slash goes on. */
  readonly words: readonly string[];
  /** Files may stand there, too. */
  readonly takesFiles: boolean;
}

const none: Candidates = { words: [], takesFiles: false };
const askMs = 500;
const idsMax = 50;

/** `words` are those behind the program's name, the last one being the one at the cursor, perhaps empty. */
export async function candidatesFor(program: Command, words: readonly string[]): Promise<Candidates> {
  const current = words.at(-1) ?? "";
  let before = words.slice(0, -1);
  let command = program;
  while (command.commands.length > 0) {
    const inner = command.commands.find((each) => each.name() === before[0] && !isHidden(each));
    if (inner === undefined) {
      const names = command.commands.filter((each) => !isHidden(each)).map((each) => each.name());
      const offered = current.startsWith("-") ? optionNames(command) : [...names, "help"];
      return before.length === 0 ? matching(offered, current) : none;
    }
    command = inner;
    before = before.slice(1);
  }
  const typed = parse(command, before);
  if (typed.pending !== undefined) {
    const { argChoices, long } = typed.pending;
    if (argChoices !== undefined) return matching(argChoices, current);
    return fileOptions.has(long ?? "") ? { words: [], takesFiles: true } : none;
  }
  if (current.startsWith("-")) return matching(optionNames(command), current);
  const argument = command.registeredArguments[typed.positions.length];
  if (argument === undefined) return none;
  if (argument.argChoices !== undefined) return matching(argument.argChoices, current);
  if (fileArguments.has(argument.name())) return { words: [], takesFiles: true };
  return matching(await namesFor(argument.name(), typed, current), current);
}

const fileOptions: ReadonlySet<string> = new Set(["--data", "--directory", "--output", "--plan", "--transcript"]);
const fileArguments: ReadonlySet<string> = new Set(["system", "folder", "file"]);

interface Typed {
  /** Arguments that are no options. */
  readonly positions: readonly string[];
  /** The option whose value stands at the cursor. */
  readonly pending: Option | undefined;
  readonly node: NodeOptions;
}

function parse(command: Command, words: readonly string[]): Typed {
  const positions: string[] = [];
  const header: string[] = [];
  let pending: Option | undefined;
  let url = defaultUrl(command);
  for (const word of words) {
    if (pending !== undefined) {
      if (pending.long === "--url") url = word;
      if (pending.long === "--header") header.push(word);
      pending = undefined;
    } else if (word.startsWith("-")) {
      const [name = "", value] = word.split("=", 2);
      if (name === "--url" && value !== undefined) url = value;
      const option = command.options.find(({ short, long }) => short === name || long === name);
      if (option?.required === true && value === undefined) pending = option;
    } else positions.push(word);
  }
  return { positions, pending, node: { url, header } };
}

/** What an option takes where it is not given: this command has not been parsed, so its environment has not been looked at. */
function defaultUrl(command: Command): string {
  const option = command.options.find(({ long }) => long === "--url");
  const fromEnvironment = option?.envVar === undefined ? undefined : process.env[option.envVar];
  return fromEnvironment ?? (typeof option?.defaultValue === "string" ? option.defaultValue : "");
}

/** CP1. */
async function namesFor(argument: string, { positions, node }: Typed, current: string): Promise<readonly string[]> {
  try {
    const signal = AbortSignal.timeout(askMs);
    const outline = await readOutline(node, signal);
    switch (argument) {
      case "kind":
        return [...outline.kinds.keys()];
      case "kind/id":
      case "kind[/id]":
        return current.includes("/") ? await idsFor(current, node, signal) : kindsFor(argument, outline);
      case "command": {
        const [path = ""] = positions;
        const kind = outline.kinds.get(path.split("/", 1)[0]!);
        return kind === undefined ? [] : operationsOf(kind);
      }
      case "transaction":
        return outline.transactions;
      default:
        return [];
    }
  } catch (error) {
    if (error instanceof CommandFailure) return [];
    throw error;
  }
}

function kindsFor(argument: string, { kinds }: SystemOutline): readonly string[] {
  const names = [...kinds.keys()];
  const paths = names.map((kind) => `${kind}/`);
  return argument === "kind/id" ? paths : [...names, ...paths];
}

async function idsFor(current: string, node: NodeOptions, signal: AbortSignal): Promise<readonly string[]> {
  const slash = current.indexOf("/");
  const kind = current.slice(0, slash);
  const query = queryText({ prefix: current.slice(slash + 1), limit: idsMax });
  const { ids } = await readNode<ListReply>(node, `/v1/entities/${encodeURIComponent(kind)}${query}`, signal);
  // A shell would take what others hold for something of its own.
  return ids.filter((id) => /^[\w@%+=:,./-]+$/.test(id)).map((id) => `${kind}/${id}`);
}

function matching(words: readonly string[], current: string): Candidates {
  return { words: [...new Set(words)].filter((word) => word.startsWith(current)).sort(), takesFiles: false };
}

function optionNames(command: Command): readonly string[] {
  const own = command.options.filter(({ hidden }) => !hidden).flatMap(({ long }) => (long == null ? [] : [long]));
  return [...own, "--help"];
}

function isHidden(command: Command): boolean {
  return command.name().startsWith("__");
}
