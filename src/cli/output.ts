/**
 * What the program prints. Results go to the standard output, everything about how it goes to the standard error, so that
 * `onefold get account/alice | jq` sees the result alone.
 */

/** How a part of a result stands out, on a terminal only. */
export type Style = "strong" | "faint" | "good" | "bad";

/** Where a command prints to. */
export interface Output {
  /** One line (or several) of result. */
  result(text: string): void;
  /** One line about how it goes. */
  note(text: string): void;
  /** Replaces the progress line; an empty text removes it. Nothing where nobody watches. */
  progress(text: string): void;
  /** `text` in this style; unchanged where the results don't go to a terminal, or NO_COLOR is set. */
  styled(style: Style, text: string): string;
  /** True where a person reads the results. */
  readonly isTerminal: boolean;
  /** How wide the terminal is just now; undefined where results go elsewhere. */
  readonly columns: number | undefined;
}

/** Select Graphic Rendition (ECMA-48): what begins a style, and what ends it. */
const codes: Readonly<Record<Style, readonly [begin: number, end: number]>> = {
  strong: [1, 22],
  faint: [2, 22],
  good: [32, 39],
  bad: [31, 39],
};

/** The process's own streams. */
export function processOutput(): Output {
  const { stdout, stderr } = process;
  // A reader that has seen enough (`| head`) closes the pipe; that ends the program, it is not an error.
  stdout.on("error", (error) => {
    process.exit("code" in error && error.code === "EPIPE" ? 0 : 1);
  });
  const isTerminal = stdout.isTTY === true;
  const isStyled = isTerminal && (process.env.NO_COLOR ?? "") === "" && process.env.TERM !== "dumb";
  let progressShown = false;
  const clear = (): void => {
    if (progressShown) stderr.write("\r\u001b[K");
    progressShown = false;
  };
  return {
    isTerminal,
    get columns() {
      // Some pseudo-terminals say 0.
      return isTerminal ? stdout.columns || 80 : undefined;
    },
    styled(style, text) {
      const [begin, end] = codes[style];
      return isStyled ? `\u001b[${begin}m${text}\u001b[${end}m` : text;
    },
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
      stderr.write(text.slice(0, (stderr.columns || 80) - 1));
      progressShown = true;
    },
  };
}
