/** What a pool of processes that simulate (`seed-pool.ts`) and one of them (`seed-child.ts`) say to each other. */

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
