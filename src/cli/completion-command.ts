/** `onefold completion`: the script for a shell, and the answers to what that script asks. */
import type { Command } from "commander";
import { candidatesFor } from "./completion/candidates.ts";
import { type Shell, shellScripts } from "./completion/shell-scripts.ts";
import type { Output } from "./output.ts";

/** Prints the script. */
export function completion(shell: Shell, output: Output): void {
  output.result(shellScripts[shell].trimEnd());
}

/** Prints what may stand in the place of the last of `words`, those behind the program's name; nothing where nothing may. */
export async function complete(program: Command, words: readonly string[], output: Output): Promise<void> {
  const { words: found, takesFiles } = await candidatesFor(program, words);
  const lines = [...(takesFiles ? [":files"] : []), ...found];
  if (lines.length > 0) output.result(lines.join("\n"));
}
