/** What an operator may ask of the cluster's quarantine of entities (`suspect-fold.ts`). */
import { OnefoldError } from "../base/errors.ts";
import type { Suspect } from "../entity/suspects.ts";
import type { SystemLog } from "./system-log.ts";
import type { SystemState } from "./system-state.ts";

const proposeMs = 5000;

/** Of all tenants, where none is named. */
export interface LiftedEntity {
  readonly kind: string;
  readonly id: string;
  readonly tenant?: string | undefined;
}

/**
 * Lets an entity serve again on every node, and forgets its deaths. Resolves, with how many it was (one of each tenant), when that stands in
 * the system log. Throws `not-found` (retry never) where it is no suspect, `unavailable` (safe).
 */
export async function liftQuarantine(log: SystemLog, entity: LiftedEntity): Promise<number> {
  let lifted = 0;
  const outcome = await log.propose(
    (state) => {
      const meant = suspectsOf(state, entity);
      lifted = meant.length;
      if (lifted === 0) return undefined;
      return meant.map(({ tenant, kind, id }) => ({ type: "quarantine-lifted", entity: { tenant, kind, id } }));
    },
    { deadlineMs: proposeMs },
  );
  if (outcome.kind === "unknown") {
    throw new OnefoldError(
      "unavailable",
      "The system log can't be written now. Look whether the quarantine was lifted, and ask again.",
    );
  }
  if (lifted > 0) return lifted;
  throw new OnefoldError("not-found", `The entity ${entity.kind}/${entity.id} is not in quarantine, and no suspect.`);
}

function suspectsOf({ suspects }: SystemState, { tenant, kind, id }: LiftedEntity): readonly Suspect[] {
  return [...suspects.values()].filter(
    (each) => each.kind === kind && each.id === id && (tenant === undefined || each.tenant === tenant),
  );
}
