/**
 * What members tell each other of their copies: how far each reaches. It is an anchor for whoever claims (G8), a fact for the controller,
 * and how the longest copy is found for a repair.
 */
import { fromHex, toHex } from "../base/bytes.ts";
import { OnefoldError } from "../base/errors.ts";
import type { Value } from "../base/value.ts";
import type { LogPosition } from "../log/log.ts";
import type { CopyReach } from "./copy-reach.ts";
import type { Peers } from "./peers.ts";
import { presentMembers, type SystemState } from "./system-state.ts";

/** A member's copy of one log; `position` is null where it has none, or nothing in it. */
export interface ToldPosition {
  readonly member: string;
  readonly position: LogPosition | null;
  /** See `CopyReach`; 0 where it has none. */
  readonly contentSequence: number;
}

const method = "copy.position";
const askMs = 600;

/** Answers what other nodes ask of this node's copies. */
export function handlePositions(peers: Peers, reachOf: (log: string) => CopyReach | null): void {
  peers.handle(method, async (body) => encodeReach(reachOf((body as { readonly log: string }).log)));
}

/**
 * What the other members tell of their copies of this log. Who does not answer is left out: the result is all that could be learnt,
 * and `isComplete` says whether every member answered.
 */
export async function askPositions(
  peers: Peers,
  state: SystemState,
  self: string,
  log: string,
): Promise<{ readonly told: readonly ToldPosition[]; readonly isComplete: boolean }> {
  const others = presentMembers(state).filter(({ id }) => id !== self);
  const answers = await Promise.all(
    others.map(async ({ id, address }) => {
      try {
        const answer = await peers.call(address, method, { log }, { deadlineMs: askMs });
        return { member: id, ...decodeReach(answer) };
      } catch (error) {
        if (error instanceof OnefoldError) return undefined;
        throw error;
      }
    }),
  );
  const told = answers.filter((answer) => answer !== undefined);
  return { told, isComplete: told.length === others.length };
}

function encodeReach(reach: CopyReach | null): Value {
  if (reach === null) return null;
  const { incarnation, epoch, sequence, hash } = reach.end;
  const contentSequence = reach.content.sequence;
  return { incarnation: toHex(incarnation), epoch, sequence, hash: toHex(hash), contentSequence };
}

function decodeReach(value: Value): Pick<ToldPosition, "position" | "contentSequence"> {
  if (value === null) return { position: null, contentSequence: 0 };
  const { incarnation, epoch, sequence, hash, contentSequence } = value as { readonly [name: string]: string | number };
  const position = {
    incarnation: fromHex(String(incarnation)),
    epoch: Number(epoch),
    sequence: Number(sequence),
    hash: fromHex(String(hash)),
  };
  // A node of an earlier version does not say it.
  return { position, contentSequence: Number(contentSequence ?? sequence) };
}
