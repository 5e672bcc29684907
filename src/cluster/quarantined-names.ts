/** Which entities of each shard are in quarantine, as the system log says: the same object for as long as that says the same. */
import type { SystemDefinition } from "../entity/definition.ts";
import type { BinaryString } from "../entity/keys.ts";
import { quarantinedIn } from "./suspect-fold.ts";
import type { ShardState, SystemState } from "./system-state.ts";

interface Known {
  readonly suspects: SystemState["suspects"];
  readonly names: ReadonlySet<BinaryString>;
}

export class QuarantinedNames {
  readonly #system: SystemDefinition;
  readonly #known = new Map<string, Known>();

  constructor(system: SystemDefinition) {
    this.#system = system;
  }

  of(state: SystemState, shard: Pick<ShardState, "id" | "from" | "to">): ReadonlySet<BinaryString> {
    const { suspects } = state;
    const known = this.#known.get(shard.id);
    if (known?.suspects === suspects) return known.names;
    const found = quarantinedIn(state, this.#system, shard);
    const names = known !== undefined && isSame(known.names, found) ? known.names : found;
    this.#known.set(shard.id, { suspects, names });
    return names;
  }
}

function isSame(a: ReadonlySet<string>, b: ReadonlySet<string>): boolean {
  return a.size === b.size && [...a].every((name) => b.has(name));
}
