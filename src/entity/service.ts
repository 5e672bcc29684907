/**
 * What a node offers to whoever calls it: the gateway, the in-process client, the command line. One request object per
 * operation, already authenticated; results only after they are durable (G3). Failures are `OnefoldError` or `Refused`.
 */
import type { Value } from "../base/value.ts";

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

export interface CallReply {
  readonly output: Value | undefined;
  /** The log sequence of the batch that holds the call's effects; the answer to a repeated request repeats it. */
  readonly sequence: number;
}

export interface QueryReply {
  readonly output: Value | undefined;
  /** The answer contains everything up to this sequence of the log. */
  readonly sequence: number;
}

export interface StateReply {
  readonly state: Value;
  /** Starts at 1; one more for each life after a `delete`. */
  readonly generation: number;
  /** Commands that changed this generation. */
  readonly version: number;
  readonly schemaVersion: number;
  readonly sequence: number;
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

export interface Health {
  readonly state: "starting" | "ready" | "draining" | "stopped";
  /** The last durable sequence: progress, not just 'up'. */
  readonly sequence: number;
  readonly appliedSequence: number;
  readonly queuedCalls: number;
  /** Why not ready, or what an operator should look at. */
  readonly problems: readonly string[];
}

export interface Service {
  command(address: EntityAddress, name: string, input: unknown, options: CallOptions): Promise<CallReply>;
  transaction(name: string, input: unknown, options: CallOptions): Promise<CallReply>;
  query(address: EntityAddress, name: string, input: unknown, options: ReadOptions): Promise<QueryReply>;
  /** `not-found` before its first command and after a delete. */
  state(address: EntityAddress, options: ReadOptions): Promise<StateReply>;
  /** Ends the entity's current generation. `not-found` where there is none. */
  delete(address: EntityAddress, options: CallOptions): Promise<CallReply>;
  list(
    kind: string,
    options: ReadOptions & { readonly prefix?: string; readonly limit?: number; readonly cursor?: string },
  ): Promise<ListReply>;
  history(
    address: EntityAddress,
    options: ReadOptions & { readonly limit?: number; readonly cursor?: string },
  ): Promise<HistoryReply>;
  /** A signed token for RIFL requests and session reads; ends `sessionMsDefault` from now. */
  mintSession(principal: Principal): string;
  health(): Health;
}
