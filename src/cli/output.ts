/**
 * What the program prints. Results go to the standard output, everything about how it goes to the standard error, so that
 * `onefold get account/alice | jq` sees the result alone.
 */

/** Where a command prints to. */
export interface Output {
  /** One line (or several) of result. */
  result(text: string): void;
  /** One line about how it goes. */
  note(text: string): void;
  /** Replaces the progress line; an empty text removes it. Nothing where nobody watches. */
  progress(text: string): void;
  /** True where a person reads the results. */
  readonly isTerminal: boolean;
}

/** The process's own streams. */
export function processOutput(): Output {
  const { stdout, stderr } = process;
  // A reader that has seen enough (`| head`) closes the pipe; that ends the program, it is not an error.
  stdout.on("error", (error) => {
    process.exit("code" in error && error.code === "EPIPE" ? 0 : 1);
  });
  let progressShown = false;
  const clear = (): void => {
    if (progressShown) stderr.write("\r\u001b[K");
    progressShown = false;
  };
  return {
    isTerminal: stdout.isTTY === true,
    result(text) {
      clear();
      stdout.write(`${text}\n`);
    },
    note(text) {
      clear();
      stderr.write(`${text}\n`);
    },
    progress(text) {
      if (stderr.isTTY !== true) return;
      clear();
      if (text === "") return;
      stderr.write(text.slice(0, Math.max(20, (stderr.columns ?? 80) - 1)));
      progressShown = true;
    },
  };
}

/** JSON for a person: indented where it is more than a plain value. */
export function prettyJson(text: string): string {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch (error) {
    if (error instanceof SyntaxError) return text;
    throw error;
  }
}
