/** Who answers what other shards ask of this one (`neighbours.ts`): told by the type of the request. */
import { OnefoldError } from "../base/errors.ts";
import type { Value } from "../base/value.ts";
import { mailDeliver } from "./mail-run.ts";
import type { Mailroom } from "./mailroom.ts";
import type { ShardRequest } from "./neighbours.ts";
import type { TransactionRunner } from "./transaction-runner.ts";

export interface Answerers {
  readonly mailroom: Mailroom;
  readonly transactions: Pick<TransactionRunner, "answer">;
}

/** Rejects with `malformed` for what no shard asks, and as the one who answers says. */
export async function answerTo({ type, body }: ShardRequest, { mailroom, transactions }: Answerers): Promise<Value> {
  if (type === mailDeliver) return mailroom.incoming.deliver(body);
  if (type.startsWith("transaction.")) return transactions.answer(type, body);
  throw new OnefoldError("malformed", `No shard answers '${type}'.`);
}
