/**
 * What entries say of transactions over several shards (`docs/cluster.md`), and how it is written.
 *
 * A transaction takes part in a shard by slot: each slot that it touched has a `prepared` and an `outcome` of its own, so that a
 * split takes them along.
 *
 * TP1 The effects of `prepared` are none yet. They take hold with the `outcome`, whose entry carries them as its own.
 * TP2 Only commits are decided in the log. What nobody can find a `decision` of, and nobody is about to decide, has been aborted
 *     (presumed abort: Mohan, Lindsay and Obermarck, "Transaction Management in the R* Distributed Database", 1986).
 */
import { assert } from "../base/assert.ts";
import type { EntityEffect, MessageRecord } from "./batch.ts";
import { type BinaryString, readUint16, readUint64, uint16, uint64 } from "./keys.ts";
import type { Age, LockMode } from "./locks.ts";

/** Names one attempt of a transaction, for ever: home slot (2 bytes), epoch of the home's owner (8), random (16). */
export type TransactionId = BinaryString;

export const transactionIdBytes = 26;

export function transactionId(parts: {
  readonly homeSlot: number;
  readonly homeEpoch: number;
  /** 16 bytes. */
  readonly random: BinaryString;
}): TransactionId {
  return uint16(parts.homeSlot) + uint64(parts.homeEpoch) + parts.random;
}

/** Where it is decided, and in which ownership alone it can be. */
export function homeOf(id: TransactionId): { readonly slot: number; readonly epoch: number } {
  return { slot: readUint16(id, 0), epoch: readUint64(id, 2) };
}

export interface LockRecord {
  readonly tenant: string;
  readonly kind: string;
  readonly id: string;
  readonly mode: LockMode;
}

/** What a transaction is going to do at one slot. From here on it is in the hands of its home. */
export interface PreparedPart {
  readonly type: "prepared";
  readonly id: TransactionId;
  readonly slot: number;
  /** Of the owner that has granted its locks. */
  readonly epoch: number;
  /** Which of the attempt's beginnings at that owner. */
  readonly grant: number;
  readonly age: Age;
  readonly effects: readonly EntityEffect[];
  readonly messages: readonly Omit<MessageRecord, "number">[];
  /** All of them, those of reads too. */
  readonly locks: readonly LockRecord[];
}

/** At the home: it takes hold. */
export interface DecisionPart {
  readonly type: "decision";
  readonly id: TransactionId;
  /** Who has to be told, each with the epoch in which it has voted. */
  readonly participants: readonly { readonly slot: number; readonly epoch: number }[];
}

/** What has been prepared at the slot has taken hold, or never will. */
export interface OutcomePart {
  readonly type: "outcome";
  readonly id: TransactionId;
  readonly slot: number;
  readonly isCommit: boolean;
}

/** At the home: all participants have acknowledged these. */
export interface ForgottenPart {
  readonly type: "forgotten";
  readonly ids: readonly TransactionId[];
}

export type TransactionPart = PreparedPart | DecisionPart | OutcomePart | ForgottenPart;

// -------------------------------------------------------------------------------------------------------------- encoding

type Packed = readonly unknown[];

/** How effects and messages are written; the batch's. */
export interface PreparedCodec {
  pack(prepared: Pick<PreparedPart, "effects" | "messages">): Packed;
  unpack(packed: Packed): Pick<PreparedPart, "effects" | "messages">;
}

export function packTransactionPart(part: TransactionPart, codec: PreparedCodec): Packed {
  switch (part.type) {
    case "prepared": {
      const { id, slot, epoch, grant, age } = part;
      const locks = part.locks.map(({ tenant, kind, id: of, mode }) => [tenant, kind, of, mode === "exclusive"]);
      return [0, id, slot, epoch, grant, [age.timeMs, age.count, age.owner], locks, ...codec.pack(part)];
    }
    case "decision":
      return [1, part.id, part.participants.map(({ slot, epoch }) => [slot, epoch])];
    case "outcome":
      return [2, part.id, part.slot, part.isCommit];
    case "forgotten":
      return [3, part.ids];
  }
}

export function unpackTransactionPart(packed: Packed, codec: PreparedCodec): TransactionPart {
  const [tag, ...parts] = packed;
  switch (tag) {
    case 0: {
      const [id, slot, epoch, grant, age, locks, ...rest] = parts;
      const [timeMs, count, owner] = age as [number, number, string];
      return {
        type: "prepared",
        id: id as string,
        slot: slot as number,
        epoch: epoch as number,
        grant: grant as number,
        age: { timeMs, count, owner },
        locks: (locks as [string, string, string, boolean][]).map(([tenant, kind, of, isExclusive]) => ({
          tenant,
          kind,
          id: of,
          mode: isExclusive ? "exclusive" : "shared",
        })),
        ...codec.unpack(rest),
      };
    }
    case 1: {
      const [id, participants] = parts as [string, [number, number][]];
      return { type: "decision", id, participants: participants.map(([slot, epoch]) => ({ slot, epoch })) };
    }
    case 2: {
      const [id, slot, isCommit] = parts as [string, number, boolean];
      return { type: "outcome", id, slot, isCommit };
    }
    default:
      assert(tag === 3, "a transaction's part is one of those that this version knows");
      return { type: "forgotten", ids: parts[0] as string[] };
  }
}

/** What it takes in a batch at most, without a prepared one's effects and messages. Bytes of binary strings count two. */
export function transactionPartBytesMax(part: TransactionPart): number {
  const base = 64 + 2 * transactionIdBytes;
  switch (part.type) {
    case "prepared": {
      let size = base + 80;
      for (const { tenant, kind, id } of part.locks) size += 16 + 3 * (tenant.length + kind.length + id.length);
      return size;
    }
    case "decision":
      return base + 16 * part.participants.length;
    case "outcome":
      return base;
    case "forgotten":
      return base + (2 * transactionIdBytes + 8) * part.ids.length;
  }
}
