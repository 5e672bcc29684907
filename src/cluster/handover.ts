/**
 * What the owner of a shard and the member that it moves to tell each other directly, so that the shard stands still only from the owner's last
 * append to the next one's claim.
 *
 *     owner, serving ──handover.prepare(end)──▶ next: takes what its copy lacks of that
 *                    ◀─────────ready───────────
 *     stops, commits, releases
 *                    ──handover.released(end)─▶ next: claims right behind that end
 *     tells the system log, which says the same a moment later
 *
 * HO1 Nothing rests on it. What is not told, or told wrongly, costs time only: the system log tells whom a shard is assigned to, and the claim's
 *     compare-and-set, its reading back and the anchors decide who owns it (`claim.ts`).
 * HO2 Who is asked answers `handover.prepare` when it has what was asked for, or after `handoverReadyMs`: the owner waits no longer.
 */
import { fromHex, toHex } from "../base/bytes.ts";
import { OnefoldError } from "../base/errors.ts";
import type { Limits } from "../base/limits.ts";
import type { Value } from "../base/value.ts";
import type { LogPosition } from "../log/log.ts";
import type { Peers } from "./peers.ts";
import type { Handed } from "./shard-host.ts";
import type { SystemState } from "./system-state.ts";

/** What a node does about a log that it has here, or is to have. */
export interface HandoverReceiver {
  /** Resolves when its copy reaches so far, or `atMostMs` have passed. */
  hasReached(log: string, sequence: number, atMostMs: number): Promise<void>;
  handed(log: string, handed: Handed): void;
}

const prepareMethod = "handover.prepare";
const releasedMethod = "handover.released";

export function handleHandovers(peers: Peers, limits: Limits, receiver: () => HandoverReceiver | undefined): void {
  peers.handle(prepareMethod, async (body) => {
    const { log, sequence } = body as { readonly log: string; readonly sequence: number };
    await receiver()?.hasReached(String(log), Number(sequence), limits.handoverReadyMs);
    return null;
  });
  peers.handle(releasedMethod, async (body) => {
    const { log, assignment, sequence, hash } = body as { readonly [name: string]: Value };
    const end = { sequence: Number(sequence), hash: fromHex(String(hash)) };
    receiver()?.handed(String(log), { assignment: Number(assignment), end });
    return null;
  });
}

/** Tells the member that a shard moves to, as far as `state` knows it. Both never reject: whoever does not answer finds out later (HO1). */
export class HandoverSender {
  readonly #peers: Peers;
  readonly #limits: Limits;

  constructor(peers: Peers, limits: Limits) {
    this.#peers = peers;
    this.#limits = limits;
  }

  prepare(state: SystemState, shardId: string, log: string, { sequence }: LogPosition): Promise<void> {
    return this.#tell(state, shardId, prepareMethod, { log, sequence }, this.#limits.handoverReadyMs);
  }

  released(state: SystemState, shardId: string, log: string, { assignment, end }: Handed): Promise<void> {
    const body = { log, assignment, sequence: end.sequence, hash: toHex(end.hash) };
    return this.#tell(state, shardId, releasedMethod, body, this.#limits.handoverTellMs);
  }

  async #tell(state: SystemState, shardId: string, method: string, body: Value, deadlineMs: number): Promise<void> {
    const next = state.shards.get(shardId)?.movingTo;
    const member = next === undefined ? undefined : state.members.get(next);
    if (member === undefined || member.status === "gone") return;
    try {
      await this.#peers.call(member.address, method, body, { deadlineMs });
    } catch (error) {
      if (!(error instanceof OnefoldError)) throw error;
    }
  }
}
