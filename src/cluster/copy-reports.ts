/** How far members' copies reach, as a controller knows it: asked for while this node holds the office. Hints; nothing rests on them. */
import { OnefoldError } from "../base/errors.ts";
import type { Host } from "../host/host.ts";
import type { Observations } from "./controller.ts";
import type { Membership } from "./membership.ts";
import type { Peers } from "./peers.ts";
import type { SystemLog } from "./system-log.ts";
import { presentMembers } from "./system-state.ts";

const intervalMs = 500;
const method = "copy.reaches";

export interface CopyReportsParts {
  readonly host: Pick<Host, "timers">;
  readonly peers: Peers;
  readonly systemLog: SystemLog;
}

export class CopyReports {
  readonly #parts: CopyReportsParts;
  #copies: Observations["copies"] = new Map();
  #isOver = false;

  constructor(parts: CopyReportsParts) {
    this.#parts = parts;
  }

  get copies(): Observations["copies"] {
    return this.#copies;
  }

  start(membership: Membership): void {
    if (this.#isOver) return;
    this.#parts.host.timers.after(intervalMs, () => {
      if (this.#isOver) return;
      const asking = membership.isController ? this.#ask() : Promise.resolve();
      void asking.then(() => this.start(membership));
    });
  }

  close(): void {
    this.#isOver = true;
  }

  /** Never rejects: who does not answer is not told of. */
  async #ask(): Promise<void> {
    const { peers, systemLog } = this.#parts;
    const copies = new Map<string, Map<string, number>>();
    await Promise.all(
      presentMembers(systemLog.state).map(async ({ id, address }) => {
        try {
          const answer = await peers.call(address, method, null, { deadlineMs: intervalMs });
          for (const [shard, sequence] of Object.entries(answer as Readonly<Record<string, number>>)) {
            copies.set(shard, (copies.get(shard) ?? new Map()).set(id, sequence));
          }
        } catch (error) {
          if (!(error instanceof OnefoldError)) throw error;
        }
      }),
    );
    this.#copies = copies;
  }
}

/** Answers what a controller asks. */
export function handleReaches(peers: Peers, reaches: () => Readonly<Record<string, number>>): void {
  peers.handle(method, async () => ({ ...reaches() }));
}
