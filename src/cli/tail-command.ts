/**
 * `onefold tail`: what happens on a node, as it happens: all of it, of one kind, or to one entity.
 *
 * TL1  From where it starts it shows every change once, in order, also across a restart of the node: it goes on from the
 *      position of the last page.
 * TL2  Before the first answer a node that can't be reached is an error; after it, something to wait for.
 * TL3  What it can't show (trimmed, or another log in the old one's place) it says.
 */
import type { ChangeItem, ChangesReply } from "../entity/service.ts";
import { splitKindOrEntityPath } from "./entity-path.ts";
import { CommandFailure, exitCodes } from "./exit-code.ts";
import { stateText } from "./list-commands.ts";
import { type NodeOptions, queryText, readNode } from "./node-client.ts";
import type { Output } from "./output.ts";
import { printableLine, shortened, timeText } from "./text.ts";
import { withNames } from "./unknown-name.ts";

export interface TailOptions extends NodeOptions {
  /** Where to begin: a sequence of the log; its end if absent. */
  readonly after?: string;
  /** Ends after so many changes; never if absent. */
  readonly count?: number;
}

const waitMs = 20_000;
const pageLimit = 1000;
const retryMsFirst = 250;
const retryMsMax = 4000;

/** Runs until `count` changes were shown, or the process ends. `path` is KIND, KIND/ID, or undefined for everything. */
export async function tail(path: string | undefined, options: TailOptions, output: Output): Promise<void> {
  const target = path === undefined ? undefined : splitKindOrEntityPath(path);
  const names = target === undefined ? {} : { kind: target.kind };
  let left = options.count ?? Number.POSITIVE_INFINITY;
  const ask = (after: string | undefined, wait: number): Promise<ChangesReply> => {
    const query = queryText({ ...target, after, waitMs: wait, limit: Math.min(pageLimit, left) });
    return withNames(names, options, () => readNode(options, `/v1/changes${query}`));
  };

  let page = await firstPage(options, ask);
  output.note(`Following ${path ?? "everything"} at ${options.url}; Ctrl-C ends it.`);
  for (;;) {
    if (page.trimmed) output.note("Changes have been trimmed from the log before they could be shown.");
    for (const item of page.items) show(item, options, output);
    left -= page.items.length;
    if (left <= 0) return;
    const { next, log } = page;
    const found = await patiently(() => ask(next, waitMs), output);
    if (found !== "another log" && found.log === log) {
      page = found;
      continue;
    }
    const end = await patiently(() => ask(undefined, 0), output);
    if (end === "another log") continue;
    output.note("The node has another log now, such as one restored from a backup; following it from its end.");
    page = end;
  }
}

async function firstPage(
  options: TailOptions,
  ask: (after: string | undefined, wait: number) => Promise<ChangesReply>,
): Promise<ChangesReply> {
  try {
    return await ask(options.after, 0);
  } catch (cause) {
    if (!(cause instanceof CommandFailure) || !isForeignPosition(cause)) throw cause;
    const message = `${options.after ?? ""} is not a position of this log: --after takes a sequence that it has had.`;
    throw new CommandFailure(exitCodes.usage, message, { cause, problem: cause.problem });
  }
}

function show(item: ChangeItem, options: TailOptions, output: Output): void {
  if (options.json === true) {
    output.result(JSON.stringify(item));
    return;
  }
  const { timeMs, kind, id, command, by, subject } = item;
  const time = timeText(timeMs);
  const entity = printableLine(`${kind}/${id}`);
  const origin = by === "call" ? subject : `${by}, ${subject}`;
  const rest = printableLine(`  ${command} (${origin})  ${stateText(item)}`).trimEnd();
  const room =
    output.columns === undefined ? Number.POSITIVE_INFINITY : output.columns - time.length - 2 - entity.length;
  output.result(
    `${output.styled("faint", time)}  ${output.styled("strong", entity)}${shortened(rest, Math.max(20, room))}`,
  );
}

/** TL2. Asks until there is an answer. `another log`: the node does not know the position. */
async function patiently(ask: () => Promise<ChangesReply>, output: Output): Promise<ChangesReply | "another log"> {
  for (let retryMs = retryMsFirst; ; retryMs = Math.min(2 * retryMs, retryMsMax)) {
    try {
      return await ask();
    } catch (error) {
      if (!(error instanceof CommandFailure)) throw error;
      if (isForeignPosition(error)) return "another log";
      if (error.exitCode !== exitCodes.unreachable && error.exitCode !== exitCodes.tryLater) throw error;
      if (retryMs === retryMsFirst) output.note(`${error.message}\nWaiting for the node.`);
      await new Promise((resolve) => setTimeout(resolve, retryMs));
    }
  }
}

function isForeignPosition({ problem }: CommandFailure): boolean {
  return typeof problem === "object" && problem !== null && "code" in problem && problem.code === "malformed";
}
