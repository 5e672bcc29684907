/**
 * What shards ask each other for a transaction, and how it stands in a request's body (`docs/cluster.md`).
 *
 * Every question names the attempt, which holds the epoch of its home, and where that matters the epoch and the grant of the
 * participant. So one that comes late or twice is known for what it is: nothing of an attempt counts for another one.
 */
import { OnefoldError } from "../base/errors.ts";
import type { Value } from "../base/value.ts";
import { type BinaryString, binaryOfBytes, bytesOfBinary } from "../entity/keys.ts";
import type { Age } from "../entity/locks.ts";
import type { Principal } from "../entity/service.ts";
import { type TransactionId, transactionIdBytes } from "../entity/transaction-parts.ts";

/** What a participant has told about itself: who has granted its locks, and in which of its beginnings there. */
export interface Granted {
  readonly epoch: number;
  readonly grant: number;
}

/** At a participant: run one step. Those of one attempt at one slot come one after the other, numbered from 1. */
export interface StepQuestion {
  readonly id: TransactionId;
  readonly slot: number;
  readonly number: number;
  /** Known from the first answer on. */
  readonly granted: Granted | undefined;
  readonly age: Age;
  /** Which of the transaction's attempts this is, from 1; all have one age. */
  readonly attempt: number;
  readonly caller: Principal;
  readonly kind: string;
  readonly entityId: string;
  readonly target: "command" | "query";
  readonly name: string;
  readonly input: Value | undefined;
}

/** `outcome` as requests keep theirs. `lost`: the participant has let go, or never began; so the attempt can't commit. */
export type StepAnswer = ({ readonly kind: "ran"; readonly outcome: Uint8Array } & Granted) | { readonly kind: "lost" };

/** At a participant: `prepare` for the decision, or `confirm` that what the attempt has seen there stands, and is durable. */
export interface VoteQuestion {
  readonly id: TransactionId;
  readonly slot: number;
  readonly granted: Granted;
  /** How many steps it must have run. */
  readonly steps: number;
  /** The transaction's name, and its caller: for the entry. */
  readonly command: string;
  readonly subject: string;
}

/** A no may say that it would never be a yes, as requests keep their failures. */
export type VoteAnswer = { readonly isYes: boolean; readonly failure?: Uint8Array };

/** At a participant, answered with null once it is durable there. */
export interface OutcomeQuestion {
  readonly id: TransactionId;
  readonly slot: number;
  readonly isCommit: boolean;
  /** In which it has voted yes; 0 for an abort. */
  readonly epoch: number;
}

/** At the home. `wait`: it is not decided, or not durably. */
export type DecisionAnswer = "commit" | "abort" | "wait";

type Body = { readonly [key: string]: Value | undefined };

export const bodyOf = {
  step: (q: StepQuestion): Value => ({
    ...named(q),
    number: q.number,
    granted: q.granted && { ...q.granted },
    age: { ...q.age, owner: bytesOfBinary(q.age.owner) },
    attempt: q.attempt,
    caller: { ...q.caller },
    kind: q.kind,
    entityId: q.entityId,
    target: q.target,
    name: q.name,
    input: q.input,
  }),
  vote: (q: VoteQuestion): Value => ({
    ...named(q),
    granted: { ...q.granted },
    steps: q.steps,
    command: q.command,
    subject: q.subject,
  }),
  outcome: (q: OutcomeQuestion): Value => ({ ...named(q), isCommit: q.isCommit, epoch: q.epoch }),
  id: (id: TransactionId): Value => ({ id: bytesOfBinary(id) }),
} as const;

function named({ id, slot }: { readonly id: TransactionId; readonly slot: number }) {
  return { id: bytesOfBinary(id), slot };
}

// ---------------------------------------------------------------------------------------------------------------- parsing

/** All throw `malformed` for what is no such question. */
export const parse = {
  step(value: Value): StepQuestion {
    const body = record(value);
    const age = record(body.age);
    const caller = record(body.caller);
    const target = text(body.target);
    if (target !== "command" && target !== "query") throw malformed();
    if (!Array.isArray(caller.scopes)) throw malformed();
    return {
      ...namedIn(body),
      number: whole(body.number),
      granted: body.granted === undefined ? undefined : granted(body.granted),
      age: { timeMs: whole(age.timeMs), count: whole(age.count), owner: bytes(age.owner) },
      attempt: whole(body.attempt),
      caller: { tenant: text(caller.tenant), subject: text(caller.subject), scopes: caller.scopes.map(text) },
      kind: text(body.kind),
      entityId: text(body.entityId),
      target,
      name: text(body.name),
      input: body.input,
    };
  },
  vote(value: Value): VoteQuestion {
    const body = record(value);
    return {
      ...namedIn(body),
      granted: granted(body.granted),
      steps: whole(body.steps),
      command: text(body.command),
      subject: text(body.subject),
    };
  },
  outcome(value: Value): OutcomeQuestion {
    const body = record(value);
    if (typeof body.isCommit !== "boolean") throw malformed();
    return { ...namedIn(body), isCommit: body.isCommit, epoch: whole(body.epoch) };
  },
  id: (value: Value): TransactionId => idIn(record(value)),
} as const;

function record(value: Value | undefined): Body {
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw malformed();
  return value as Body;
}

function text(value: Value | undefined): string {
  if (typeof value !== "string") throw malformed();
  return value;
}

function whole(value: Value | undefined): number {
  if (typeof value !== "number" || !Number.isSafeInteger(value) || value < 0) throw malformed();
  return value;
}

function bytes(value: Value | undefined): BinaryString {
  if (!(value instanceof Uint8Array)) throw malformed();
  return binaryOfBytes(value);
}

function granted(value: Value | undefined): Granted {
  const { epoch, grant } = record(value);
  return { epoch: whole(epoch), grant: whole(grant) };
}

function idIn(body: Body): TransactionId {
  const id = bytes(body.id);
  if (id.length !== transactionIdBytes) throw malformed();
  return id;
}

function namedIn(body: Body): { readonly id: TransactionId; readonly slot: number } {
  return { id: idIn(body), slot: whole(body.slot) };
}

function malformed(): OnefoldError {
  return new OnefoldError("malformed", "This is nothing that one shard asks another about a transaction.");
}
