/**
 * Every bound of the system in one place, with the relations among them asserted below. At a limit the caller gets a
 * named error (see `errors.ts`); nothing is ever dropped silently (G9).
 *
 * The limits on data are the same with every engine, so that a history can move between engines. The others can be
 * lowered per node (tests do), never raised past what the relations allow.
 */
import { assert } from "./assert.ts";

const KiB = 1024;
const MiB = 1024 * KiB;

export const limits = {
  /** Fixed number of slots that keys hash to. A change would move every key: never. */
  slotCount: 4096,

  // ---- data
  batchBytesMax: 512 * KiB,
  /** The encoded effects of one command (state, items, messages, timers, output), or of one transaction. */
  effectsBytesMax: 384 * KiB,
  stateBytesMax: 256 * KiB,
  itemBytesMax: 128 * KiB,
  itemKeyBytesMax: 512,
  idBytesMax: 512,
  nameBytesMax: 64,
  /** Result or refusal details of one call. */
  outputBytesMax: 256 * KiB,
  valueDepthMax: 64,
  /** No value, whatever it is for, has more parts (properties and elements) or encodes to about more bytes. */
  valuePartsMax: 1_048_576,
  valueBytesMax: 4 * MiB,
  /** Two's complement, sign included: some 19,700 decimal digits. Converting more takes time quadratic in their number. */
  valueBigintBitsMax: 65_536,

  // ---- one command
  commandMs: 250,
  /** A slice of commands yields to the event loop after this long. */
  sliceMs: 4,
  sliceCommandsMax: 256,
  /** Deaths of the whole process with one entity as the suspect; after so many it is quarantined. */
  suspectDeathsMax: 3,
  /** Two deaths that are farther apart than this are two accidents. */
  suspectMs: 24 * 3_600_000,
  /** Entities that are suspects or quarantined at once; beyond it, those go whose last death is the oldest. */
  suspectsMax: 1024,
  /** A program that serves ends itself when its main thread has been away from its event loop for so long. */
  hangMs: 10_000,
  messagesPerCommandMax: 1024,
  timersPerCommandMax: 1024,

  // ---- one shard
  queuedCallsMax: 16_384,
  queuedBytesMax: 64 * MiB,
  /** Calls that wait behind one locked entity. */
  waitingPerEntityMax: 4096,
  /** Undelivered messages: above it, calls from outside that send are refused as `overloaded`. */
  outboxSoftMax: 65_536,
  outboxSoftBytesMax: 32 * MiB,
  /** Above it, a delivery or timer that sends becomes a dead letter. */
  outboxHardMax: 131_072,
  outboxHardBytesMax: 64 * MiB,
  /** Dead letters of one slot; beyond it, its oldest goes with each that comes. */
  deadLettersPerSlotMax: 1024,
  /** Dead letters of a shard, and what they take; beyond it, the oldest go. */
  deadLettersMax: 16_384,
  deadLetterBytesMax: 64 * MiB,
  /** A dead letter is kept this long at most. */
  deadLetterMs: 30 * 24 * 3_600_000,
  /** Messages that wait for newer code; beyond it, what would have to wait becomes a dead letter. */
  waitingMessagesMax: 16_384,
  waitingMessagesBytesMax: 32 * MiB,
  /** Callers that wait for changes at once. */
  changesWaitingMax: 64,
  changesWaitMsMax: 20_000,
  /** What one page of changes reads of the log, and about how many bytes of states it holds. */
  changesBatchesMax: 1024,
  changesBytesMax: 1 * MiB,
  /** Memory that durable batches take which are not yet in the store: above it, the executor waits. */
  unappliedBytesMax: 16 * MiB,
  /** Timers kept in memory, the nearest ones; the others stay in the store. */
  timerWindow: 4096,
  /** Inputs of timers that have gone off and are not durably done: above it, the next ones wait in the store. */
  timersFiringBytesMax: 16 * MiB,
  entityCacheBytesDefault: 64 * MiB,

  /** Between two looks for outcomes, letters and messages that have expired. */
  housekeepingIntervalMs: 1000,

  // ---- sessions and idempotency
  sessionMsDefault: 24 * 3_600_000,
  sessionRequestsOpenMax: 1024,
  idempotencyMsDefault: 24 * 3_600_000,
  idempotencyKeysMax: 100_000,
  idempotencyKeyBytesMax: 255,

  // ---- transactions
  transactionParticipantsMax: 256,
  transactionAttemptsMax: 16,
  transactionsOpenMax: 4096,
  /** Bodies that run at once while they make progress: more of them mostly wound each other. See docs/performance.md. */
  transactionsRunningMax: 32,
  deadlineMsDefault: 30_000,
  deadlineMsMax: 300_000,

  // ---- log
  segmentBytesDefault: 64 * MiB,
  reserveBytesDefault: 16 * MiB,
  /** A segment for a few batches, where there is no room for a whole one. */
  shortSegmentBytes: 2 * MiB,
  anchorIntervalMs: 1000,

  // ---- backups
  /** That are under way at once on a node: each keeps the pieces of its snapshot on the disk until it is over. */
  backupsOpenMax: 2,

  // ---- network between nodes, for each endpoint
  networkMessageBytesMax: 1 * MiB,
  /** Sent to one peer and not confirmed by it. */
  networkQueueBytesMax: 8 * MiB,
  /** Peers that are sent to at once, and as many that are received from. */
  networkPeersMax: 256,
  /** A peer that confirms nothing of what was sent to it for this long is taken to be away. */
  networkAnswerMs: 10_000,
  /** After a failed attempt to reach a peer, what is sent to it is lost for this long, before the next attempt. */
  networkRedialMs: 100,

  // ---- gateway
  bodyBytesMax: 1 * MiB,
  headerBytesMax: 16 * KiB,
  connectionsMax: 4096,
  requestsOpenMax: 4096,
  requestReceiveMs: 10_000,
  /** Requests of one connection that are under way at once: the bound on pipelining. */
  requestsPerConnectionMax: 64,
  /** Bodies that are being received, beyond the first `bodyBytesFree` of each; and again for the frames of sockets. */
  receivingBytesMax: 64 * MiB,
  bodyBytesFree: 16 * KiB,
  /** A connection that takes nothing of its reply for this long is destroyed. */
  replyStalledMs: 10_000,
  keepAliveMs: 60_000,
  /** After a reply that ends a connection in the middle of a request: reads on so long, so that the reply arrives. */
  lingerMs: 2_000,
  drainMs: 30_000,

  // ---- the socket (`/v1/socket`), for each connection unless it says otherwise
  /** One frame: the largest input, and what is around it. */
  socketFrameBytesMax: 1 * MiB + 64 * KiB,
  /** Calls that are unanswered at once, and the bytes that they came in. */
  socketCallsMax: 1024,
  socketCallBytesMax: 8 * MiB,
  /** Calls of all connections that are unanswered at once. */
  socketCallsOpenMax: 16_384,
  /** About the memory that their inputs take. */
  socketCallsMemoryBytesMax: 256 * MiB,
  socketSubscriptionsMax: 256,
  /** About the memory that the inputs of a connection's subscriptions take. */
  socketSubscriptionsMemoryBytesMax: 256 * KiB,
  /** Values that a subscription may send ahead of the client's credit for them. */
  socketCreditMax: 1024,
  /** Reads for subscriptions that are under way at once, on all connections: what a call waits behind at most. */
  socketSubscriptionReadsMax: 32,
  /** Sent and not taken by the client: above it nothing more is read from it. */
  socketBufferedBytesPause: 1 * MiB,
  /** Above it, the connection is ended. */
  socketBufferedBytesMax: 32 * MiB,
  /** The same of all connections together: above it, the one that has most is ended. */
  socketBufferedBytesTotalMax: 256 * MiB,
  /** From the connection to the hello. */
  socketHelloMs: 10_000,
  /** The hello; before it nobody knows whose bytes these are. */
  socketHelloBytesMax: 32 * KiB,
  /** A connection on which nothing was heard for this long is ended; after half of it, it is pinged. */
  socketSilenceMs: 60_000,
  listLimitDefault: 100,
  listLimitMax: 1000,
} as const;

export type Limits = { readonly [name in keyof typeof limits]: number };

/** Throws an `AssertionFailure` that names the broken relation. Called once for the defaults and for every override. */
export function assertLimits(l: Limits): void {
  const recordOverheadMax = 4 * KiB;
  assert(l.effectsBytesMax + recordOverheadMax <= l.batchBytesMax, "one command's effects must fit in a batch");
  assert(l.stateBytesMax <= l.effectsBytesMax, "a root state must fit in one command's effects");
  assert(l.itemBytesMax <= l.stateBytesMax, "an item must fit in one command's effects");
  assert(l.outputBytesMax <= l.effectsBytesMax, "an output must fit in one command's effects");
  assert(l.outboxSoftMax < l.outboxHardMax, "deliveries need room above the soft limit of the outbox");
  assert(l.outboxSoftBytesMax < l.outboxHardBytesMax, "deliveries need room above the soft limit of the outbox");
  assert(l.deadLettersPerSlotMax <= l.deadLettersMax, "a slot's dead letters are some of the shard's");
  assert(l.effectsBytesMax <= l.deadLetterBytesMax, "there must be room for any one dead letter");
  assert(l.sliceMs < l.commandMs, "a slice's own time must stay below one command's limit");
  assert(l.batchBytesMax * 4 <= l.segmentBytesDefault, "a segment must hold several batches");
  assert(l.batchBytesMax * 3 <= l.shortSegmentBytes, "a short segment must hold more than one batch");
  assert(l.shortSegmentBytes < l.segmentBytesDefault, "a short segment must be shorter than others");
  assert(
    l.shortSegmentBytes * 2 <= l.reserveBytesDefault,
    "the reserve must hold a short segment and a small snapshot",
  );
  assert(
    l.changesWaitMsMax < l.deadlineMsDefault,
    "who waits for changes must be answered within the default deadline",
  );
  assert(l.deadlineMsDefault <= l.deadlineMsMax, "the default deadline must be allowed");
  assert(l.networkMessageBytesMax * 2 <= l.networkQueueBytesMax, "a queue of messages must hold several");
  assert(l.networkRedialMs < l.networkAnswerMs, "a peer that is back must be found sooner than one is given up");
  assert(l.batchBytesMax < l.networkMessageBytesMax, "a batch must fit in a message");
  assert(l.bodyBytesMax <= l.receivingBytesMax, "the budget for receiving must hold at least one body");
  assert(l.bodyBytesMax < l.socketFrameBytesMax, "an input of any allowed size must fit in a frame");
  assert(l.socketFrameBytesMax <= l.socketCallBytesMax, "a frame's calls must be allowed to be unanswered at once");
  assert(
    l.socketBufferedBytesPause < l.socketBufferedBytesMax && l.socketBufferedBytesMax <= l.socketBufferedBytesTotalMax,
    "a connection must be held back before it is ended, and one alone must not fill the room of all",
  );
  assert(l.slotCount === 4096, "the number of slots is part of the format");
}

assertLimits(limits);
