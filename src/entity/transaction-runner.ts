/** What a shard needs of who runs transactions on it: `src/transaction` has it. */
import type { OnefoldError } from "../base/errors.ts";
import type { Value } from "../base/value.ts";
import type { Settle } from "./settle.ts";
import type { DurableBatch } from "./committer.ts";
import type { TransactionDefinition } from "./definition.ts";
import type { RequestIdentity } from "./requests.ts";
import type { CallReply, Principal } from "./service.ts";

export interface TransactionRequest {
  readonly definition: TransactionDefinition;
  readonly input: unknown;
  readonly caller: Principal;
  readonly deadlineMs: number;
  readonly request: RequestIdentity | undefined;
  readonly sizeBytes: number;
  readonly settle: Settle<CallReply>;
}

export interface TransactionRunner {
  readonly openCount: number;
  readonly isInside: boolean;
  submit(request: TransactionRequest): void;
  /** Takes up what an earlier owner has left, before anything is served. Throws `damaged`. */
  load(): void;
  start(): void;
  /** Answers what another shard asks of this one; `type` begins with `transaction.`. */
  answer(type: string, body: Value): Promise<Value>;
  afterSlice(): void;
  durable(batch: DurableBatch): void;
  dropped(): void;
  failExpired(nowMs: number): void;
  stop(error: OnefoldError): void;
}
