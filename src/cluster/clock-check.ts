/**
 * Whether a member's wall clock can be trusted with log time (hazard 9): a log that was written under a clock far ahead stays ahead for
 * good. Pure, from what the system log says: each member's last renewal, with what its writer's clock showed. Renewals of members that
 * live are some seconds old at most, which is little beside the limit; one that has died drops out once it is declared gone.
 *
 * CK1 What counts is the median of all members that are not gone, this one included; of two in the middle the earlier, so that of two members
 *     one can always own: a clock that is behind does no harm.
 */
import { limits } from "../base/limits.ts";
import { presentMembers, type SystemState } from "./system-state.ts";

/** How far a member's clock is from the median, in milliseconds, ahead being positive; 0 for one that is not in the cluster. */
export function clockOffsetMs(state: SystemState, member: string): number {
  const walls = presentMembers(state).map(({ wallMs }) => wallMs);
  const median = walls.sort((a, b) => a - b)[Math.floor((walls.length - 1) / 2)];
  const wallMs = state.members.get(member)?.wallMs;
  return wallMs === undefined || median === undefined ? 0 : wallMs - median;
}

/** Whether a member may become an owner, as far as its clock is concerned. */
export function hasSoundClock(state: SystemState, member: string): boolean {
  return Math.abs(clockOffsetMs(state, member)) <= limits.clockSkewMsMax;
}
