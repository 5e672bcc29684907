/** What the parent of `onefold dev` and its workers say to each other. Plain JSON over the channel that `fork` makes. */

/** How a worker serves; the same for all workers of one parent. */
export interface WorkerOptions {
  /** Absolute path of the system's module. */
  readonly systemPath: string;
  readonly dataDirectory: string;
}

export type ToWorker =
  /** Import the system's code; nothing else is touched. Answered by `loaded` or `failed`. */
  | { readonly kind: "load"; readonly options: WorkerOptions }
  /** Take the data directory and serve on a port of loopback. Answered by `serving` or `failed`. May come again after `released`. */
  | { readonly kind: "open" }
  /** Finish what was accepted and let go of the data directory. Answered by `released` or `failed`. */
  | { readonly kind: "release" };

export type FromWorker =
  | { readonly kind: "loaded"; readonly system: string; readonly tryCommands: readonly TryCommand[] }
  | { readonly kind: "serving"; readonly port: number }
  | { readonly kind: "released" }
  | { readonly kind: "failed"; readonly message: string; readonly exitCode: number };

/** A command to try, once its address is known: `{url}` stands for it. */
export interface TryCommand {
  readonly title: string;
  readonly command: string;
}
