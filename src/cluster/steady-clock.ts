/**
 * The wall clock as a node of a cluster uses it: it goes on by the monotonic clock, and follows the wall only in small steps. So a jump
 * of the wall, an hour ahead for a minute, does not take log time along, where it could never go back (hazard 9). What the wall showed
 * when the node began is held against the others' clocks before the node may own anything (`clock-check.ts`).
 */
import type { Clock, Host } from "../host/host.ts";

/** Steps up to here are how clocks are set right; farther ones are not followed. */
const stepMsMax = 1000;

export function steadyClock(clock: Clock): Clock {
  let wallAtMs = clock.wallMs();
  let monotonicAtMs = clock.monotonicMs();
  return {
    monotonicMs: () => clock.monotonicMs(),
    wallMs: () => {
      const nowMs = clock.monotonicMs();
      const steadyMs = Math.floor(wallAtMs + nowMs - monotonicAtMs);
      const shownMs = clock.wallMs();
      if (Math.abs(shownMs - steadyMs) > stepMsMax) return steadyMs;
      wallAtMs = shownMs;
      monotonicAtMs = nowMs;
      return shownMs;
    },
  };
}

/** The same host with a steady clock. */
export function withSteadyClock(host: Host): Host {
  const { timers, random, guard, trace, disk, network } = host;
  const clock = steadyClock(host.clock);
  return { clock, timers, random, guard, trace, disk, network, newScope: () => host.newScope() };
}
