/** An embedded node as a cluster of one, so that programs need not tell the two apart. */
import { toHex } from "../base/bytes.ts";
import { limits } from "../base/limits.ts";
import { version } from "../base/version.ts";
import type { Health } from "../entity/service.ts";
import type { LogPosition } from "../log/log.ts";
import type { ClusterView } from "../wire/cluster-view.ts";

const name = "embedded";

export function loneView(facts: {
  readonly system: string;
  readonly end: LogPosition;
  readonly health: Health;
}): ClusterView {
  const { system, end, health } = facts;
  return {
    system,
    engine: "embedded",
    cluster: toHex(end.incarnation),
    node: name,
    controller: name,
    nodes: [
      { name, status: "live", answers: true, httpUrl: null, address: null, labels: {}, version, owned: 1, followed: 0 },
    ],
    shards: [
      {
        id: "0",
        status: "active",
        slots: { from: 0, to: limits.slotCount },
        region: null,
        log: "log",
        owner: name,
        isServed: health.state === "ready",
        movingTo: null,
        epoch: end.epoch,
        sequence: health.sequence,
        queuedCalls: health.queuedCalls,
        followers: [],
      },
    ],
  };
}
