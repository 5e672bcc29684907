/**
 * What a node offers to whoever calls it: the gateway, the in-process client, the command line. One request object per
 * operation, already authenticated; results only after they are durable (G3). Failures are `OnefoldError` or `Refused`.
 */
import type { Value } from "../base/value.ts";
import type { Settle } from "./settle.ts";

/** Who calls. On loopback without `authenticate`: the developer, with every scope. */
export interface Principal {
  readonly tenant: string;
  readonly subject: string;
  /** `inspect`: raw state, history, listing. `admin`: delete. `*`: everything. Others are the system's own. */
  readonly scopes: readonly string[];
}

export interface EntityAddress {
  readonly kind: string;
  readonly id: string;
}

/** A RIFL request (Lee et al., SOSP 2015): numbers grow by one per session; `lowest` is the lowest one still unanswered. */
export interface SessionRequest {
  /** A token as `mintSession` gave it. */
  readonly token: string;
  readonly number: number;
  readonly lowest: number;
}

export interface CallOptions {
  readonly principal: Principal;
  /** From now; `deadlineMsDefault` if absent. When it passes before the request began: `deadline-passed`, retry `safe`. */
  readonly deadlineMs?: number;
  /** At most one of the two: both make the request take hold at most once. */
  readonly idempotencyKey?: string;
  readonly session?: SessionRequest;
  /** The session's token where the request has no number in it: its positions are moved to what the call has done. */
  readonly sessionToken?: string;
  /** How many bytes the input took on the wire, for the bound on the queue's bytes; a guess is made if absent. */
  readonly inputBytes?: number;
}

export interface ReadOptions {
  readonly principal: Principal;
  readonly deadlineMs?: number;
  readonly read?: "strong" | "session" | "eventual";
  /** For `session`: the token whose positions the answer must have reached. */
  readonly sessionToken?: string;
}

/** A read of a list, page by page. */
export interface PageOptions extends ReadOptions {
  /** `listLimitDefault` if absent, `listLimitMax` at most. */
  readonly limit?: number;
  /** As the page before gave it; the first page if absent. */
  readonly cursor?: string;
}

/** A place in the log of one shard of a cluster. Sequences of one shard's different incarnations can't be compared. */
export interface Position {
  readonly shard: string;
  /** In hex. */
  readonly incarnation: string;
  readonly sequence: number;
}

export interface CallReply {
  readonly output: Value | undefined;
  /** The log sequence of the batch that holds the call's effects; the answer to a repeated request repeats it. */
  readonly sequence: number;
  /** Where that is, in a cluster: a session that has seen the answer has seen its shard up to here (`Service.advanceSession`). */
  readonly position?: Position;
}

export interface QueryReply {
  readonly output: Value | undefined;
  /** The answer contains everything up to this sequence of the log. */
  readonly sequence: number;
  /** As in `CallReply`. */
  readonly position?: Position;
  /** The answer is from a copy that may be so old; absent where it is not. */
  readonly staleForMs?: number;
}

export interface StateReply {
  readonly state: Value;
  /** Starts at 1; one more for each life after a `delete`. */
  readonly generation: number;
  /** Commands that changed this generation. */
  readonly version: number;
  readonly schemaVersion: number;
  readonly sequence: number;
  readonly position?: Position;
  readonly staleForMs?: number;
}

export interface ListReply {
  /** In order of their UTF-8 bytes. */
  readonly ids: readonly string[];
  /** Pass it to get the next page; absent on the last. */
  readonly cursor?: string;
}

export interface HistoryItem {
  readonly sequence: number;
  readonly timeMs: number;
  readonly generation: number;
  readonly version: number;
  /** The command's name; `delete` for a deletion from outside. */
  readonly command: string;
  /** What made it run. */
  readonly by: "call" | "transaction" | "message" | "timer" | "admin";
  readonly subject: string;
  /** Present where the command changed the root state: the state after it; null if it deleted the entity. */
  readonly state?: Value;
  /** How many items of collections it wrote or removed. */
  readonly itemCount: number;
}

export interface HistoryReply {
  /** Newest first. */
  readonly items: readonly HistoryItem[];
  readonly cursor?: string;
  /** True where older history has been trimmed from the log. */
  readonly trimmed: boolean;
}

/** One thing that happened, to which entity. */
export interface ChangeItem extends HistoryItem {
  readonly kind: string;
  readonly id: string;
}

export interface ChangesOptions extends ReadOptions {
  /** Changes behind this position: one that an earlier reply gave, or a sequence of the log. The log's end if absent. */
  readonly after?: string;
  readonly kind?: string;
  readonly id?: string;
  readonly limit?: number;
  /** Where there are none yet: waits so long for the first, at most `changesWaitMsMax`. 0 if absent. */
  readonly waitMs?: number;
  /** Ends the wait with what there is. */
  readonly signal?: AbortSignal;
}

export interface ChangesReply {
  /** In the log's order. May be empty, also before the log's end: go on from `next`. */
  readonly items: readonly ChangeItem[];
  /** The `after` of the next page. */
  readonly next: string;
  /** The incarnation of the log, in hex: positions of another one mean nothing here. */
  readonly log: string;
  /** True where changes between `after` and `next` have been trimmed from the log. */
  readonly trimmed: boolean;
}

/** A message or timer that ended without taking hold, or a message that waits for newer code. */
export interface DeadLetterItem {
  /** Its place in the log, as text: names it for ever. */
  readonly letter: string;
  /** The log's batch that recorded it. */
  readonly sequence: number;
  /** Log time at which it was recorded; 0 where that is not known. */
  readonly timeMs: number;
  /** The command that did not take hold, and the entity that it was for. */
  readonly kind: string;
  readonly id: string;
  readonly command: string;
  readonly input: Value;
  readonly by: "message" | "timer";
  /** On whose behalf it was sent. */
  readonly subject: string;
  /** The error's code, or the refusal's. */
  readonly code: string;
  readonly detail: string;
  /** It is not lost: the entity's state was written by newer code, and it is delivered when that is back. */
  readonly waits: boolean;
}

export interface DeadLettersReply {
  /** Newest first. */
  readonly items: readonly DeadLetterItem[];
  readonly cursor?: string;
  /** How many (of all tenants) were removed since the node started, because there were too many or they were too old. */
  readonly removed: number;
}

export interface Health {
  readonly state: "starting" | "ready" | "draining" | "stopped";
  /** The last durable sequence: progress, not just 'up'. */
  readonly sequence: number;
  readonly appliedSequence: number;
  readonly queuedCalls: number;
  /** Why not ready, or what an operator should look at. */
  readonly problems: readonly string[];
}

/** What `watch` gives. */
export interface Watch {
  /** The incarnation of the log that holds the entity, in hex: sequences of two different ones can't be compared. */
  readonly log: string;
  /** After it the listener is not called. Idempotent. */
  cancel(): void;
}

export interface Service {
  command(address: EntityAddress, name: string, input: unknown, options: CallOptions): Promise<CallReply>;
  transaction(name: string, input: unknown, options: CallOptions): Promise<CallReply>;
  /**
   * The two again, for whoever makes so many calls that a promise for each is felt: `settle` is answered instead. Throws what was
   * refused before it began; then nobody is answered.
   */
  beginCommand(
    address: EntityAddress,
    name: string,
    input: unknown,
    options: CallOptions,
    settle: Settle<CallReply>,
  ): void;
  beginTransaction(name: string, input: unknown, options: CallOptions, settle: Settle<CallReply>): void;
  query(address: EntityAddress, name: string, input: unknown, options: ReadOptions): Promise<QueryReply>;
  /** `not-found` before its first command and after a delete. */
  state(address: EntityAddress, options: ReadOptions): Promise<StateReply>;
  /** Ends the entity's current generation. `not-found` where there is none. */
  delete(address: EntityAddress, options: CallOptions): Promise<CallReply>;
  list(kind: string, options: PageOptions & { readonly prefix?: string }): Promise<ListReply>;
  history(address: EntityAddress, options: PageOptions): Promise<HistoryReply>;
  /** What happened to all entities of the tenant, of a kind, or to one, oldest first. `malformed` for a position of another log. */
  changes(options: ChangesOptions): Promise<ChangesReply>;
  /**
   * Calls `onChange` after each durable change of the entity, and when changes may have been missed, until cancelled. It must be
   * short and must not throw; it says nothing of what changed: read it. Throws `unknown-kind`, `invalid-id`, `not-ready`.
   */
  watch(tenant: string, address: EntityAddress, onChange: () => void): Watch;
  /** The tenant's dead letters. `unknown-kind` where the system has none of that name. */
  deadLetters(options: PageOptions & { readonly kind?: string }): Promise<DeadLettersReply>;
  /** A signed token for RIFL requests and session reads; ends `sessionMsDefault` from now. */
  mintSession(principal: Principal): string;
  /**
   * The token of the same session that has also seen `position`, which a reply to a request with that token had. Throws `malformed`
   * for a token that is none. Needs no `this`. Absent where there is one log, of which every read sees all.
   */
  readonly advanceSession?: ((token: string, position: Position) => string) | undefined;
  health(): Health;
}
