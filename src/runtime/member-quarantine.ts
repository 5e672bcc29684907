/**
 * A node's part in its cluster's quarantine of entities that end processes (`cluster/suspect-fold.ts`, G10).
 *
 * MQ1 The death that this process follows is kept in the data directory (J1) until the system log holds it. It is told there before the node
 *     is a member: so before it owns anything that it could die of again (SU1).
 * MQ2 An entity that is a suspect is cleared when a call of it that looked dangerous ends here by itself (J3).
 * MQ3 Whoever is put into quarantine is named in this node's log, once.
 */
import { OnefoldError } from "../base/errors.ts";
import type { Limits } from "../base/limits.ts";
import { quarantinedEntities } from "../cluster/suspect-fold.ts";
import type { SystemLog } from "../cluster/system-log.ts";
import type { SystemState } from "../cluster/system-state.ts";
import { nameOf } from "../entity/suspects.ts";
import type { Host } from "../host/host.ts";
import { Quarantine } from "./quarantine.ts";

const proposeMs = 5000;

export class MemberQuarantine {
  readonly #host: Host;
  readonly #limits: Limits;
  #own: Quarantine | undefined;
  #log: SystemLog | undefined;
  #stopListening: (() => void) | undefined;
  #named: ReadonlySet<string> = new Set();
  readonly #clearing = new Set<Promise<void>>();

  private constructor(host: Host, limits: Limits) {
    this.#host = host;
    this.#limits = limits;
  }

  /** Takes in what ended the process before this one, and begins to note calls. Throws nothing (J4). */
  static async open(parts: { readonly host: Host; readonly limits: Limits }): Promise<MemberQuarantine> {
    const quarantine = new MemberQuarantine(parts.host, parts.limits);
    quarantine.#own = await Quarantine.open({ ...parts, onEndedWell: (name) => quarantine.#endedWell(name) });
    return quarantine;
  }

  /** MQ1. Throws `unavailable` (retry safe) where the system log can't be written. */
  async tell(log: SystemLog): Promise<void> {
    const own = this.#own!;
    for (const suspect of own.suspects) {
      const told = { ...suspect, what: suspect.what.slice(0, this.#limits.nameBytesMax) };
      const outcome = await log.propose(() => [{ type: "suspected", suspect: told }], { deadlineMs: proposeMs });
      if (outcome.kind === "unknown") {
        throw new OnefoldError("unavailable", "The system log can't be written now: what ended this node is not told.");
      }
      own.forget(suspect);
    }
    this.#log = log;
    this.#stopListening?.();
    this.#stopListening = log.onChange((state) => this.#name(state));
    this.#name(log.state);
  }

  async close(): Promise<void> {
    this.#stopListening?.();
    this.#log = undefined;
    await Promise.all(this.#clearing);
    await this.#own?.close();
  }

  /** MQ3. */
  #name(state: SystemState): void {
    const held = quarantinedEntities(state);
    for (const each of held) {
      if (this.#named.has(nameOf(each))) continue;
      const { tenant, kind, id, what, deaths, lastDeathMs } = each;
      const message =
        "An entity is in quarantine on all nodes, because nodes died again and again while it ran. Mend its code, then lift the quarantine with 'onefold cluster lift'.";
      this.#host.trace("error", message, { tenant, kind, id, what, deaths, lastDeathMs });
    }
    this.#named = new Set(held.map(nameOf));
  }

  /** MQ2. */
  #endedWell(name: string): void {
    const log = this.#log;
    const suspect = log?.state.suspects.get(name);
    if (log === undefined || suspect === undefined) return;
    const { tenant, kind, id } = suspect;
    const clearing = log
      .propose(
        (state) => (state.suspects.has(name) ? [{ type: "cleared", entity: { tenant, kind, id } }] : undefined),
        {
          deadlineMs: proposeMs,
        },
      )
      // Where that is unknown the entity stays a suspect, as it was.
      .then(() => undefined)
      .finally(() => this.#clearing.delete(clearing));
    this.#clearing.add(clearing);
  }
}
