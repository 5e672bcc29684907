/** One command line, from its words to its exit code: `main.ts` is the process around it. */
import { CommanderError } from "commander";
import { errorJson, errorText } from "./error-text.ts";
import { CommandFailure, type ExitCode, exitCodeOf, exitCodes } from "./exit-code.ts";
import type { Output } from "./output.ts";
import { onefoldProgram } from "./program.ts";

/**
 * Runs the command that `words` (those behind the program's name) say, prints what comes of it, and gives the exit code. Never
 * rejects. With `--json` among the words, failures are printed as JSON, too.
 */
export async function runProgram(words: readonly string[], output: Output): Promise<ExitCode> {
  const isJson = words.includes("--json");
  try {
    await onefoldProgram(output).parseAsync([...words], { from: "user" });
    return exitCodes.done;
  } catch (error) {
    output.progress("");
    if (error instanceof CommanderError) {
      // Commander has printed what is wrong, or the help that was asked for.
      if (error.exitCode === 0) return exitCodes.done;
      const failure = new CommandFailure(exitCodes.usage, error.message.replace(/^error: /, ""));
      if (isJson) printJson(failure, output);
      return exitCodes.usage;
    }
    if (isJson) printJson(error, output);
    output.note(errorText(error));
    return exitCodeOf(error);
  }
}

function printJson(error: unknown, output: Output): void {
  const text = errorJson(error);
  if (text !== undefined) output.result(text);
}
