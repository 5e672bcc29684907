/** One process of a pool that simulates seeds (`seed-pool.ts`): what it is told, it does, one seed at a time, until its parent is gone. */

// What a pool of processes that simulate (`seed-pool.ts`) and one of them say to each other.

export type ParentMessage =
  /** Said once, first. */
  | { readonly type: "begin"; readonly task: unknown }
  /** One at a time. `isGuarded`: each call of user code is to have a limit of time. */
  | { readonly type: "run"; readonly seed: string; readonly isGuarded: boolean };

export type ChildMessage =
  | { readonly type: "alive" }
  | { readonly type: "result"; readonly value: unknown }
  /** What is no result: a bug, or a task that makes no sense. */
  | {
      readonly type: "threw";
      readonly error: {
        readonly message: string;
        readonly stack: string | undefined;
        readonly code: string | undefined;
      };
    };

/** Gives the result of one seed; it can be cloned. */
export type RunSeed = (seed: string, options: { readonly isGuarded: boolean }) => Promise<unknown>;

const aliveMs = 1000;

/** `begin` makes of the pool's task what runs its seeds; called once. */
export function serveSeeds(begin: (task: unknown) => Promise<RunSeed>): void {
  let begun: Promise<RunSeed> | undefined;
  process.on("message", (message: ParentMessage) => {
    switch (message.type) {
      case "begin":
        begun = begin(message.task);
        // Whoever asks for the first seed is told.
        begun.catch(() => undefined);
        return;
      case "run":
        void run(begun!, message);
    }
  });
  process.on("disconnect", () => process.exit());
  setInterval(() => say({ type: "alive" }), aliveMs);
}

async function run(
  begun: Promise<RunSeed>,
  { seed, isGuarded }: Extract<ParentMessage, { type: "run" }>,
): Promise<void> {
  try {
    const runSeed = await begun;
    say({ type: "result", value: await runSeed(seed, { isGuarded }) });
  } catch (thrown) {
    const error = thrown instanceof Error ? thrown : new Error(String(thrown));
    const code = "code" in error && typeof error.code === "string" ? error.code : undefined;
    say({ type: "threw", error: { message: error.message, stack: error.stack, code } });
  }
}

function say(message: ChildMessage): void {
  process.send?.(message);
}
