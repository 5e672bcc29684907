/** What goes wrong by chance while several events of that sort last: of each kind the largest. */
import { type EngineFaultRates, noEngineFaults } from "../engine/engine-faults.ts";
import { type LinkBehaviour, reliableLink } from "../link.ts";
import type { ClusterFault, ClusterFaultEvent } from "./faults-plan.ts";

const linkRates = {
  "message-delay": "lateness",
  "message-loss": "loss",
  "message-duplication": "duplication",
  "message-reordering": "reordering",
} as const satisfies { readonly [kind in ClusterFault]?: keyof LinkBehaviour };

const engineRates = {
  "ambiguous-appends": "ambiguousAppend",
  "late-appends": "lateAppend",
  "false-refusals": "falseRefusal",
  "stale-reads": "staleRead",
  "replica-reads": "replicaRead",
  "tail-skips": "tailSkip",
  "tail-repeats": "tailRepeat",
  "tail-silences": "tailSilence",
  "tail-ends": "tailEnd",
  "blob-refusals": "blobRefusal",
} as const satisfies { readonly [kind in ClusterFault]?: keyof EngineFaultRates };

export type RateFault = keyof typeof linkRates | keyof typeof engineRates;

export function ratesOf(lasting: Iterable<ClusterFaultEvent>): {
  readonly link: LinkBehaviour;
  readonly engine: EngineFaultRates;
} {
  const link = { ...reliableLink };
  const engine = { ...noEngineFaults };
  for (const { kind, amount } of lasting) {
    if (kind in linkRates) {
      const rate = linkRates[kind as keyof typeof linkRates];
      link[rate] = Math.max(link[rate], amount);
    } else if (kind in engineRates) {
      const rate = engineRates[kind as keyof typeof engineRates];
      engine[rate] = Math.max(engine[rate], amount);
    }
  }
  return { link, engine };
}
