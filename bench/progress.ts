/** What is being done, on standard error: one line that is written over on a terminal, one line each elsewhere. */

export interface Progress {
  show(what: string): void;
  /** Takes the line away, so that something else can be printed. */
  clear(): void;
}

const eraseLine = "\r\u001b[2K";

export function progressOn(stream: NodeJS.WriteStream): Progress {
  if (!stream.isTTY) return { show: (what) => stream.write(`${what}\n`), clear: () => undefined };
  return {
    show: (what) => stream.write(`${eraseLine}${what.slice(0, stream.columns - 1)}`),
    clear: () => stream.write(eraseLine),
  };
}
