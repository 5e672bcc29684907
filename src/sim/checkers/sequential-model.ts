/**
 * Sequential models: what one key does when its operations come one at a time.
 *
 * SM1  `step` is a pure function, and states are values that JSON can tell apart.
 * SM2  Given a known output, `step` says whether the operation can give it in this state; given `unknownOutput`, what the
 *      operation leaves behind, whatever it answers. Only one state can come of either.
 */

/** Stands for the output of an operation that nobody saw the end of. */
export const unknownOutput: unique symbol = Symbol("unknown output");
/** What `step` returns where the operation can't have given its output in this state. */
export const impossible: unique symbol = Symbol("impossible");

/**
 * What an operation with this output does to states; a promise that makes the search faster. When in doubt: `changes`.
 * - `reads`: it leaves every state in which it is possible as it was.
 * - `overwrites`: it is possible in every state, and leaves the same state behind whichever was there.
 */
export type Effect = "reads" | "overwrites" | "changes";

export interface SequentialModel<State, Input, Output> {
  readonly init: State;
  /** The key that an operation is about: operations on different keys have nothing to do with one another. */
  key(input: Input): string;
  step(state: State, input: Input, output: Output | typeof unknownOutput): State | typeof impossible;
  effect(input: Input, output: Output | typeof unknownOutput): Effect;
}

type Scalar = string | number | boolean | null;

export type RegisterInput =
  | { readonly type: "read"; readonly key: string }
  | { readonly type: "write"; readonly key: string; readonly value: Scalar }
  | { readonly type: "cas"; readonly key: string; readonly from: Scalar; readonly to: Scalar };

/** Of a read the value, of a write null, of a compare-and-set whether it took hold. */
export type RegisterOutput = Scalar;

/** A register that holds null at first. */
export const register: SequentialModel<Scalar, RegisterInput, RegisterOutput> = {
  init: null,
  key: ({ key }) => key,
  step(state, input, output) {
    switch (input.type) {
      case "read":
        return output === unknownOutput || output === state ? state : impossible;
      case "write":
        return input.value;
      case "cas": {
        const takesHold = state === input.from;
        if (output !== unknownOutput && output !== takesHold) return impossible;
        return takesHold ? input.to : state;
      }
    }
  },
  effect({ type }, output) {
    if (type === "read" || (type === "cas" && output === false)) return "reads";
    return type === "write" ? "overwrites" : "changes";
  },
};

export type CounterInput =
  | { readonly type: "read"; readonly key: string }
  | { readonly type: "add"; readonly key: string; readonly by: number };

/** The count, for an addition the one that it left; null for an addition that does not tell. */
export type CounterOutput = number | null;

/** A counter from 0. */
export const counter: SequentialModel<number, CounterInput, CounterOutput> = {
  init: 0,
  key: ({ key }) => key,
  step(state, input, output) {
    const next = input.type === "add" ? state + input.by : state;
    const isTold = output !== unknownOutput && (input.type === "read" || output !== null);
    return isTold && output !== next ? impossible : next;
  },
  effect: ({ type }) => (type === "read" ? "reads" : "changes"),
};

export type AccountInput =
  | { readonly type: "balance"; readonly key: string }
  | { readonly type: "deposit" | "withdraw"; readonly key: string; readonly cents: number };

/** The balance, for a change the one that it left; `insufficient` for a withdrawal that was refused for want of money. */
export type AccountOutput = number | "insufficient";

/** A bank account, empty at first, which is never overdrawn and refuses only what would overdraw it. */
export const account: SequentialModel<number, AccountInput, AccountOutput> = {
  init: 0,
  key: ({ key }) => key,
  step(state, input, output) {
    const isRefused = input.type === "withdraw" && input.cents > state;
    const next = input.type === "balance" || isRefused ? state : state + signOf(input.type) * input.cents;
    if (output === unknownOutput) return next;
    return output === (isRefused ? "insufficient" : next) ? next : impossible;
  },
  effect: ({ type }, output) => (type === "balance" || output === "insufficient" ? "reads" : "changes"),
};

function signOf(type: "deposit" | "withdraw"): number {
  return type === "deposit" ? 1 : -1;
}
