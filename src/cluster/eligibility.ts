/** Whether a member may become an owner: what the controller asks before it gives it a shard, and the member before it claims one. */
import { hasSoundClock } from "./clock-check.ts";
import { hasDeployedCode } from "./deployed-code.ts";
import type { SystemState } from "./system-state.ts";

/** False also for one that is not in the cluster. */
export function mayOwn(state: SystemState, member: string): boolean {
  const known = state.members.get(member);
  return known !== undefined && hasSoundClock(state, member) && hasDeployedCode(state, known);
}
