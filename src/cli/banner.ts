/** What a person reads when a system begins to serve. */
import { relative } from "node:path";
import type { TryCommand } from "./dev/messages.ts";

export interface BannerFacts {
  readonly system: string;
  readonly url: string;
  readonly dataDirectory: string;
  readonly tryCommands: readonly TryCommand[];
}

export function banner(facts: BannerFacts): string {
  const short = relative(process.cwd(), facts.dataDirectory);
  const data = short === "" || short.startsWith("..") ? facts.dataDirectory : short;
  const lines = [`${facts.system} is served at ${facts.url}, durable in ${data}. Ctrl-C stops it.`];
  if (facts.tryCommands.length > 0) lines.push("", "Try, in another terminal:");
  for (const { title, command } of facts.tryCommands) lines.push("", `  # ${title}`, `  ${command}`);
  return `${lines.join("\n")}\n`;
}
