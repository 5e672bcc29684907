/**
 * The wall clock as a node of a cluster uses it: it goes on by the monotonic clock, and follows the wall only in small steps. So a jump
 * of the wall, an hour ahead for a minute, does not take log time along, where it could never go back (hazard 9). What the wall showed
 * when the node began is held against the others' clocks before the node may own anything (`clock-check.ts`).
 *
 * ST1 A far step is followed only where this clock is too far from the others' to own by it, and the step takes it near to them: a node that
 *     began while its wall was wrong takes part again once that is set right, and needn't be restarted for it.
 */
import { limits } from "../base/limits.ts";
import type { Clock, Host } from "../host/host.ts";

/** Steps up to here are how clocks are set right; farther ones are not followed. */
const stepMsMax = 1000;

/** `offsetMs`: how far this clock is from the others', as far as is known, in milliseconds; ahead is positive. */
export function steadyClock(clock: Clock, offsetMs: () => number = () => 0): Clock {
  let wallAtMs = clock.wallMs();
  let monotonicAtMs = clock.monotonicMs();
  return {
    monotonicMs: () => clock.monotonicMs(),
    wallMs: () => {
      const nowMs = clock.monotonicMs();
      const steadyMs = Math.floor(wallAtMs + nowMs - monotonicAtMs);
      const shownMs = clock.wallMs();
      const stepMs = shownMs - steadyMs;
      if (Math.abs(stepMs) > stepMsMax && !isMend(offsetMs(), stepMs)) return steadyMs;
      wallAtMs = shownMs;
      monotonicAtMs = nowMs;
      return shownMs;
    },
  };
}

/** ST1. */
function isMend(offsetMs: number, stepMs: number): boolean {
  return Math.abs(offsetMs) > limits.clockSkewMsMax && Math.abs(offsetMs + stepMs) <= limits.clockSkewMsMax;
}

/** The same host with a steady clock. */
export function withSteadyClock(host: Host, offsetMs?: () => number): Host {
  const { timers, random, guard, trace, disk, network } = host;
  const clock = steadyClock(host.clock, offsetMs);
  return { clock, timers, random, guard, trace, disk, network, newScope: () => host.newScope() };
}
