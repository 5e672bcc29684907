/**
 * What goes wrong between a simulated engine and its clients by chance, beside what follows from servers and ways that fail. All of
 * it is within the port's contract (EL1–EL3), and all of it is counted.
 */

/** Probabilities, by request or by record that a tail tells of. */
export interface EngineFaultRates {
  /** The append is carried out and its answer is lost. */
  readonly ambiguousAppend: number;
  /** The append arrives seconds after its sender gave up, and is checked against the log's end then. */
  readonly lateAppend: number;
  /** An append that fits is refused, and leaves nothing. */
  readonly falseRefusal: number;
  /** A read, or bounds, as they were some records ago. */
  readonly staleRead: number;
  /** A read that any replica answers which the server reaches, be it behind or cut off. */
  readonly replicaRead: number;
  readonly tailSkip: number;
  readonly tailRepeat: number;
  /** The tail tells nothing any more and doesn't end. */
  readonly tailSilence: number;
  readonly tailEnd: number;
  /** A request about blobs is refused as unavailable. */
  readonly blobRefusal: number;
}

export const noEngineFaults: EngineFaultRates = {
  ambiguousAppend: 0,
  lateAppend: 0,
  falseRefusal: 0,
  staleRead: 0,
  replicaRead: 0,
  tailSkip: 0,
  tailRepeat: 0,
  tailSilence: 0,
  tailEnd: 0,
  blobRefusal: 0,
};

/** Virtual milliseconds, uniform between the two. Elections and what a deposed leader answers are as measured on nats-server 2.15.1. */
export interface EngineTimes {
  /** One way between a node and a server. */
  readonly wayMs: readonly [number, number];
  /** From a leader's taking a record to its being synced on a majority. */
  readonly commitMs: readonly [number, number];
  readonly electionMs: readonly [number, number];
  /** Where the leader's server stops in good order. */
  readonly handoverMs: readonly [number, number];
  /** How long a leader without a majority goes on believing in itself. */
  readonly giveUpMs: readonly [number, number];
  /** Until a server that is back has caught up with the leader. */
  readonly catchUpMs: readonly [number, number];
  /** How long a client waits for an answer. */
  readonly answerMs: number;
  /** How much later than its sender's giving up a late append arrives. */
  readonly latenessMs: readonly [number, number];
  /** From a tail's losing its server to its end. */
  readonly tailLossMs: readonly [number, number];
}

export const engineTimes: EngineTimes = {
  wayMs: [0.1, 0.6],
  commitMs: [0.5, 3],
  electionMs: [4000, 9000],
  handoverMs: [50, 330],
  giveUpMs: [6500, 8500],
  catchUpMs: [20, 1000],
  answerMs: 2000,
  latenessMs: [0, 5000],
  tailLossMs: [2000, 10_000],
};
