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
  /** Slots of a region that kinds can be pinned to. A change would move every key of those kinds: never. */
  regionSlotCount: 64,

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
  /** Messages of one pair of slots that one request carries to another shard. */
  mailRunMessagesMax: 256,
  mailRunBytesMax: 256 * KiB,
  /** Requests with messages that are under way at once; at most half of them to where the last one has failed. */
  mailRequestsOpenMax: 64,
  /** How long a request with messages may take, and how soon the receiver answers what it has consumed until then. */
  mailRequestMs: 10_000,
  mailAnswerMs: 5_000,
  /** The rest of a pair after a request that failed: doubled each time, up to the second. */
  mailRetryMsMin: 50,
  mailRetryMsMax: 5_000,
  /** Acknowledgements are gathered for so long, that one entry may record many. */
  mailRecordDelayMs: 50,
  /** Pairs, and messages, that one such entry removes from the outbox. */
  mailRecordPairsMax: 1024,
  mailRecordMessagesMax: 8192,
  /** Messages from other shards that wait for their delivery; beyond it, their senders are told to wait. */
  incomingMessagesMax: 16_384,
  incomingBytesMax: 32 * MiB,
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
  /** How far a request's number may be ahead of its session's lowest unanswered one: so far that one slow request holds up no other. */
  sessionRequestsOpenMax: 8192,
  idempotencyMsDefault: 24 * 3_600_000,
  idempotencyKeysMax: 100_000,
  idempotencyKeyBytesMax: 255,

  // ---- transactions
  transactionParticipantsMax: 256,
  transactionAttemptsMax: 16,
  transactionsOpenMax: 4096,
  /** Bodies that run at once while they make progress: more of them mostly wound each other. See docs/performance.md. */
  transactionsRunningMax: 32,
  /** Transactions of other shards that have begun here and are not prepared; each slot that one touches counts. */
  participationsMax: 4096,
  /** Prepared here, by slot, and what they are going to do: above it, others are not prepared, and are tried again. */
  preparedMax: 4096,
  preparedBytesMax: 64 * MiB,
  /** Decided here, and not acknowledged by all participants: above it, no others are decided. */
  decisionsMax: 16_384,
  /** One request between shards; repeated until the transaction's deadline. */
  transactionAskMs: 2_000,
  /** A participant that has heard nothing of its transaction for so long asks its home. */
  transactionInquiryMs: 1_000,
  /** One that is not prepared, and whose home has not been reached for so long, lets go. */
  participationSilenceMs: 10_000,
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
  /** No shard's log rests longer than this for the cut of a cluster's backup; what is not cut by then is tried again. */
  backupRestMs: 2000,
  /** So often a cut is tried, with `backupCutRetryMs` in between, before the backup is given up. */
  backupCutAttemptsMax: 20,
  backupCutRetryMs: 500,
  /** An owner keeps what a backup reads for so long after it was last told that somebody does. */
  backupKeepMs: 30_000,
  /** Time to write a shard's part of a backup into the engine. */
  backupPartMs: 3_600_000,

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

  // ---- calls between nodes (`cluster/peers.ts`), for each peer unless it says otherwise
  /** The body of one call or answer, encoded. */
  peerBodyBytesMax: 768 * KiB,
  /** Calls that are unanswered at once, and about the bytes that they and their answers take; either way. */
  peerCallsMax: 4096,
  peerCallBytesMax: 32 * MiB,
  /** Requests of one life of a peer that are known again if the network repeats them, the newest. */
  peerRequestsKnownMax: 4096,
  /** Lives of peers, of all together, whose requests are known again. */
  peerLivesMax: 1024,
  /** Who has not said which life it is in is asked again after this long. */
  peerHelloMs: 200,

  // ---- finding the owner (`cluster/router.ts`), for each node
  /** Calls that look for an owner or wait for one's answer, and about the memory that their inputs take. */
  routedCallsMax: 16_384,
  routedBytesMax: 64 * MiB,
  /** What may be repeated is sent again when no answer came for so long; then after twice as long, and so on. */
  routeAttemptMs: 2_000,
  /** Longest wait between two attempts of a call that certainly did not begin. */
  routeRetryMsMax: 250,
  /** An owner that has been replaced may answer what it had taken for so long. */
  ownerChangeGraceMs: 500,
  /** Between two looks whether this node is cut off. */
  cutOffCheckMs: 100,
  /** Calls of users' code (affinities, homes of transactions) that wait for their turn. */
  slotLookupsMax: 16_384,
  /** Shards whose positions a session's token names. */
  sessionPositionsMax: 32,
  /** Shards that one page of a scattered read may name in its cursor. */
  scatteredShardsMax: 256,
  /** Between two looks for changes on all shards. */
  scatterPollMs: 250,
  /** Watches of one node on shards that others own. */
  remoteWatchesMax: 65_536,
  /** An owner answers a node that waits for changes after so long at the latest, and forgets one that has not asked for thrice that. */
  watchFeedMs: 5_000,

  // ---- the cluster's state: all of it must fit in one record, its checkpoint
  /** Members that are not gone. */
  membersMax: 100,
  /** Members that are gone and still told of; beyond it, those go that joined first. */
  membersGoneMax: 12,
  /** One member, encoded: name, addresses, labels. */
  memberBytesMax: 720,
  /** Shards that hold slots; as many again may be retired, at most. */
  shardsMax: 256,
  /** The same in a cluster with regions, which are a part of its state, too. */
  shardsWithRegionsMax: 240,
  /** Of one cluster. */
  regionsMax: 8,
  /** Kinds of a cluster with regions, those that are not pinned included: all that it has ever had. */
  kindsWithRegionsMax: 128,
  /** The regions of a cluster and the kinds in them, encoded. */
  regionsBytesMax: 16 * KiB,
  /** One shard that holds slots, encoded, and one that is retired. */
  shardBytesMax: 1040,
  shardRetiredBytesMax: 608,
  /** Entities that a cluster suspects, or has in quarantine, at once; beyond it, those go whose last death is the oldest. */
  clusterSuspectsMax: 10,
  /** One of them, encoded. */
  suspectBytesMax: 832,
  nodeNameBytesMax: 55,
  memberIdBytesMax: 64,
  shardIdBytesMax: 26,
  logNameBytesMax: 48,
  followersMax: 2,
  /** Shards that one split makes of one. */
  splitPartsMax: 4,
  /** Between two checkpoints: about what a node that starts has to read twice of. */
  checkpointRecordsMax: 4096,
  /** Proposals of one node to the system log that wait at once. */
  proposalsMax: 64,
  /** Sendings of one record to the system log that are under way at once. */
  systemSendsMax: 4,
  /** Of logs that a shard's log continues, what one call reads to verify what it was asked for. */
  pastBytesMax: 32 * MiB,
  /** Decisions of the controller in one record. */
  controllerDecisionsMax: 16,
  /** Planned moves that are under way at once. */
  movesMax: 4,

  /**
   * What a shard that is given up has accepted is finished within this; the rest was not begun, and goes to its next owner. Without it two
   * shards could wait for one another: transactions that nobody can reach any more hold what those wait for that are to be finished.
   */
  handoverMs: 1000,

  /** The owner of a shard that is to move serves on until the next one is ready, or for so long. */
  handoverReadyMs: 2000,
  /** So long the owner tries to tell the next one that it may claim; then the system log does. */
  handoverTellMs: 500,
  /** A call that comes to a node which is about to own its shard waits there for so long. */
  ownerAwaitedMs: 1000,

  // ---- leases of members
  leaseRenewMs: 300,
  /** A member that was not heard of for so long, while the observer's own renewals committed, is silent. */
  leaseExpireMs: 1000,
  /** Own renewals that must have committed meanwhile, so that one slow append is no silence of others. */
  leaseRenewalsMin: 4,
  /** After own renewals did not commit for `leaseExpireMs`, others get so much longer: their connections come back later. */
  leaseGraceMs: 2000,
  /** Without a renewal of its own that was sent within so long, a member serves no writes and no strong reads. */
  unavailableMs: 1500,
  /** So much longer are these four times in a cluster with regions: whose renewals come from far lose to those from nearby, again and again. */
  leaseRegionsFactor: 5,
  /** A wall clock that is farther from those of the others than this does not become an owner's. */
  clockSkewMsMax: 10_000,
  /** What a log lacks or shows wrongly for longer is no stale server: 25 s were measured (`direct get` until a partition heals). */
  systemLogDoubtMs: 30_000,
  /** A damaged system log's successor waits so long for every node's copy; then a majority's will do. */
  systemSuccessionMs: 30_000,

  // ---- the engine of a cluster's logs (`log/engine/nats`), for each connection unless it says otherwise
  /** Appends that are under way at once, and their bytes: above it, the next ones are not sent. */
  engineAppendsMax: 8192,
  engineAppendBytesMax: 64 * MiB,
  /** An append that was not answered for so long is one of unknown outcome. */
  engineAppendMs: 2_000,
  /** Any other question to the engine; then it is unavailable. */
  engineAnswerMs: 2_000,
  /** Making a log, or a place for blobs. */
  engineMakeMs: 10_000,
  /** Reads of single records that one reading of many has under way. */
  engineReadsMax: 256,
  /** A server that has answered nothing for twice so long is left for another. */
  enginePingMs: 1_000,
  /** A tail on which not even its heartbeat was heard for so long is made anew. */
  engineTailSilenceMs: 3_000,
  /** A tail that could not be made anew for so long ends. */
  engineTailRepairMs: 30_000,
  /** What one message of the engine holds of a blob. */
  engineBlobPartBytes: 512 * KiB,
  /** Parts of one blob that are under way at once. */
  engineBlobPartsOpenMax: 8,

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
  /** From the signal to the end of the process: for what was accepted, for handing over, and some more. */
  stopMs: 70_000,

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
  assert(l.stateBytesMax <= l.outputBytesMax, "a query may give the whole root state");
  assert(l.outputBytesMax <= l.effectsBytesMax, "an output must fit in one command's effects");
  assert(l.outboxSoftMax < l.outboxHardMax, "deliveries need room above the soft limit of the outbox");
  assert(l.outboxSoftBytesMax < l.outboxHardBytesMax, "deliveries need room above the soft limit of the outbox");
  assert(
    l.mailRunMessagesMax <= l.incomingMessagesMax &&
      Math.max(l.mailRunBytesMax, l.effectsBytesMax) <= l.incomingBytesMax,
    "a receiver must have room for a run of messages",
  );
  assert(
    2 * Math.max(l.mailRunBytesMax, l.effectsBytesMax) <= l.networkMessageBytesMax,
    "a run of messages must fit in a message between nodes",
  );
  assert(l.mailRunMessagesMax <= l.mailRecordMessagesMax, "one entry must be able to record a run");
  assert(l.mailRequestsOpenMax >= 2, "there must be requests left where others fail");
  assert(l.mailAnswerMs < l.mailRequestMs, "a receiver must answer before the sender gives up");
  assert(l.mailRetryMsMin <= l.mailRetryMsMax, "a rest can't be longer than the longest");
  assert(l.deadLettersPerSlotMax <= l.deadLettersMax, "a slot's dead letters are some of the shard's");
  assert(l.effectsBytesMax <= l.deadLetterBytesMax, "there must be room for any one dead letter");
  assert(l.sliceMs < l.commandMs, "a slice's own time must stay below one command's limit");
  assert(l.sessionRequestsOpenMax >= 4 * l.socketCallsMax, "one slow request must not hold up a connection's others");
  assert(
    l.sessionRequestsOpenMax <= 0x8000,
    "each outcome that is kept has a place, whose number has two bytes in its key",
  );
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
  assert(
    l.transactionInquiryMs + l.transactionAskMs < l.participationSilenceMs,
    "a participant must have asked before it lets go",
  );
  assert(l.effectsBytesMax <= l.preparedBytesMax, "there must be room for any one prepared transaction");
  assert(l.deadlineMsDefault <= l.deadlineMsMax, "the default deadline must be allowed");
  assert(l.backupRestMs * 2 < l.deadlineMsDefault, "calls must outlive the rest of a shard's log");
  assert(l.backupRestMs < l.backupKeepMs, "what is kept for a backup must outlive its cut");
  assert(l.networkMessageBytesMax * 2 <= l.networkQueueBytesMax, "a queue of messages must hold several");
  assert(l.networkRedialMs < l.networkAnswerMs, "a peer that is back must be found sooner than one is given up");
  assert(l.batchBytesMax < l.networkMessageBytesMax, "a batch must fit in a message");
  assert(
    l.peerBodyBytesMax + recordOverheadMax <= l.networkMessageBytesMax,
    "a call between nodes must fit in a message",
  );
  assert(l.batchBytesMax + recordOverheadMax <= l.peerBodyBytesMax, "a batch must fit in a call between nodes");
  assert(l.peerBodyBytesMax * 4 <= l.peerCallBytesMax, "several calls of any size must be allowed at once");
  assert(l.peerCallsMax <= l.peerRequestsKnownMax, "what is under way must be known again");
  assert(l.outputBytesMax * 2 <= l.peerBodyBytesMax, "one item of a page must fit in an answer between nodes");
  assert(l.bodyBytesMax <= l.receivingBytesMax, "the budget for receiving must hold at least one body");
  assert(l.bodyBytesMax < l.socketFrameBytesMax, "an input of any allowed size must fit in a frame");
  assert(l.socketFrameBytesMax <= l.socketCallBytesMax, "a frame's calls must be allowed to be unanswered at once");
  assert(
    l.socketBufferedBytesPause < l.socketBufferedBytesMax && l.socketBufferedBytesMax <= l.socketBufferedBytesTotalMax,
    "a connection must be held back before it is ended, and one alone must not fill the room of all",
  );
  assert(l.nodeNameBytesMax + 9 <= l.memberIdBytesMax, "a member's id is its node's name, a dot and 8 digits");
  assert(l.membersMax <= l.networkPeersMax, "a member must be able to talk to all others");
  assert(
    l.leaseRenewMs * (l.leaseRenewalsMin - 1) < l.leaseExpireMs,
    "who is silent must have been missed several times by then",
  );
  assert(l.batchBytesMax * 8 <= l.engineAppendBytesMax, "several batches of any size must be under way to the engine");
  assert(
    l.enginePingMs * 2 <= l.engineTailSilenceMs,
    "a server that is away must be left before its tails are made anew",
  );
  assert(l.ownerAwaitedMs < l.routeAttemptMs, "who waits at the next owner must be answered before it is given up");
  assert(l.leaseExpireMs < l.unavailableMs, "a member must not give its work up before others can take it over");
  assert(l.membersMax * 4 <= l.checkpointRecordsMax, "checkpoints must be rare beside renewals");
  assert(l.slotCount === 4096, "the number of slots is part of the format");
  assert(l.regionSlotCount === 64, "the number of a region's slots is part of the format");
}

/** The same for what only a cluster needs: a lone node may have smaller batches. */
export function assertClusterLimits(l: Limits): void {
  const recordOverheadMax = 4 * KiB;
  assert(
    (l.membersMax + l.membersGoneMax) * l.memberBytesMax +
      l.shardsMax * (l.shardBytesMax + l.shardRetiredBytesMax) +
      l.clusterSuspectsMax * l.suspectBytesMax +
      recordOverheadMax <=
      l.batchBytesMax,
    "a cluster's whole state must fit in its checkpoint",
  );
  assert(
    l.regionsBytesMax <= (l.shardsMax - l.shardsWithRegionsMax) * (l.shardBytesMax + l.shardRetiredBytesMax),
    "the regions take the room of the shards that there can't be with them",
  );
}

assertLimits(limits);
assertClusterLimits(limits);
