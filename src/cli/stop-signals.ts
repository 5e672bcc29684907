/**
 * SIGTERM and SIGINT (Ctrl-C): the first asks for a graceful stop, the second ends the process at once.
 *
 * Under `npm start` a SIGTERM to npm reaches the shell between npm and this program, and ends there: the program would go on
 * without anybody knowing. So under npm the end of the parent is a request to stop, too, and so it is where `endsWithParent` is set in
 * the environment, as `onefold cluster up` does for what it starts.
 */

/** The name of the variable that says so. */
export const endsWithParent = "ONEFOLD_ENDS_WITH_PARENT";

export interface StopSignals {
  /** Resolves when a stop is asked for. */
  readonly asked: Promise<void>;
}

const names = ["SIGTERM", "SIGINT"] as const;
/** What a shell reports for a program that a signal ended: 128 and the signal's number. */
const exitCodes = { SIGTERM: 143, SIGINT: 130 } as const;

/** Listens from now until the process ends. `onSecond` runs just before the process is ended. */
export function listenForStop(onSecond: () => void): StopSignals {
  let count = 0;
  const asked = new Promise<void>((resolve) => {
    for (const name of names) {
      process.on(name, () => {
        count++;
        if (count === 1) {
          resolve();
          return;
        }
        onSecond();
        process.exit(exitCodes[name]);
      });
    }
    const isWatched = process.env.npm_lifecycle_event !== undefined || process.env[endsWithParent] === "1";
    if (isWatched) whenParentEnds(resolve);
  });
  return { asked };
}

const parentIntervalMs = 250;

function whenParentEnds(notice: () => void): void {
  const parent = process.ppid;
  const timer = setInterval(() => {
    if (process.ppid === parent) return;
    clearInterval(timer);
    notice();
  }, parentIntervalMs);
  timer.unref();
}
