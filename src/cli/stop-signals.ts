/** SIGTERM and SIGINT (Ctrl-C): the first asks for a graceful stop, the second ends the process at once. */

export interface StopSignals {
  /** Resolves with the name of the first signal. */
  readonly asked: Promise<string>;
}

const names = ["SIGTERM", "SIGINT"] as const;
/** What a shell reports for a program that a signal ended: 128 and the signal's number. */
const exitCodes = { SIGTERM: 143, SIGINT: 130 } as const;

/** Listens from now until the process ends. `onSecond` runs just before the process is ended. */
export function listenForStop(onSecond: () => void): StopSignals {
  let count = 0;
  const asked = new Promise<string>((resolve) => {
    for (const name of names) {
      process.on(name, () => {
        count++;
        if (count === 1) {
          resolve(name);
          return;
        }
        onSecond();
        process.exit(exitCodes[name]);
      });
    }
  });
  return { asked };
}
