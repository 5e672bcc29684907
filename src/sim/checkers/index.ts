/**
 * Checkers of histories: pure functions from what was observed to what is wrong with it. Which checks what is in `docs/simulation.md`.
 */
export { type AcknowledgedOptions, checkAcknowledged, type HeldEntry } from "./acknowledged.ts";
export { type ChainedRecord, checkChain } from "./chain-integrity.ts";
export { type Balances, type Conserved, checkConservation } from "./conservation.ts";
export { checkConvergence, type Replica } from "./convergence.ts";
export { type Applied, checkExactlyOnce, checkTotals, type Increment, type TaggedInput } from "./exactly-once.ts";
export { decodeHistory, encodeHistory, type Finding, type History, type Operation, type Outcome } from "./history.ts";
export { HistoryRecorder, type Invocation } from "./history-recorder.ts";
export { checkLinearizability, type LinearizabilityOptions } from "./linearizability.ts";
export { checkListAppend } from "./list-append.ts";
export { checkRegisterTransactions } from "./register-transactions.ts";
export {
  type AccountInput,
  type AccountOutput,
  account,
  type CounterInput,
  type CounterOutput,
  counter,
  type Effect,
  impossible,
  type RegisterInput,
  type RegisterOutput,
  register,
  type SequentialModel,
  unknownOutput,
} from "./sequential-model.ts";
export { checkSessions, type VersionedInput, type VersionedOperation } from "./session-guarantees.ts";
export type { ListStep, ListTransaction, RegisterStep, RegisterTransaction, Scalar } from "./transaction-steps.ts";
