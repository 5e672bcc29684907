/** What a node tells of itself: who it is, how it is, and how far its parts are behind each other. Read when somebody asks. */
import type { Health } from "../entity/service.ts";
import { type Metric, type Sample, single } from "../metrics/metric.ts";
import type { EmbeddedNode } from "./embedded.ts";
import { logMetrics } from "./metered-log.ts";
import type { OpenParts } from "./opening.ts";

export interface BuildFacts {
  /** Onefold's. */
  readonly version: string;
  /** The name of the user's system. */
  readonly system: string;
  readonly engine: "embedded" | "nats";
}

/** Always 1. */
export function buildInfo(build: BuildFacts): Metric {
  return {
    type: "gauge",
    name: "onefold_build_info",
    help: "What runs here, always 1. Join other metrics with it; compare versions after a deploy.",
    read: () => [{ labels: { ...build }, value: 1 }],
  };
}

/** Whether the node serves, and what an operator should look at. */
export function healthMetrics(health: () => Health): readonly Metric[] {
  return [
    {
      type: "gauge",
      name: "onefold_ready",
      help: "1 while calls are served, else 0. At 0 for longer than a start takes, look at /readyz and the log.",
      read: () => single(health().state === "ready" ? 1 : 0),
    },
    {
      type: "gauge",
      name: "onefold_problems",
      help: "Problems that an operator should look at, now; /readyz names them. Alert above 0.",
      read: () => single(health().problems.length),
    },
    {
      type: "gauge",
      name: "onefold_queued_calls",
      help: "Calls that wait for their turn. Steadily high: the node is at its capacity; near 16384 it answers overloaded.",
      read: () => single(health().queuedCalls),
    },
  ];
}

/** Gauges of `node`, whose parts come and go with the lives of its shard: in between, what they have to tell is left out. */
export function nodeMetrics(node: EmbeddedNode, build: BuildFacts): readonly Metric[] {
  const ofParts =
    (read: (parts: OpenParts) => number): (() => readonly Sample[]) =>
    () =>
      single(node.parts === undefined ? undefined : read(node.parts));
  const gauge = (name: string, help: string, read: () => readonly Sample[]): Metric => ({
    type: "gauge",
    name,
    help,
    read,
  });
  const counter = (name: string, help: string, read: () => readonly Sample[]): Metric => ({
    type: "counter",
    name,
    help,
    read,
  });
  return [
    buildInfo(build),
    ...healthMetrics(() => node.service.health()),
    gauge(
      "onefold_quarantined_entities",
      "Entities whose commands are refused because the process died of them again and again. Above 0: 'onefold quarantine ls' names them; mend their code, then lift.",
      () => single(node.quarantinedCount),
    ),
    ...logMetrics(() => node.parts?.log),
    gauge(
      "onefold_store_sequence",
      "The last sequence of the log that the store has. Far and farther behind onefold_log_sequence: the store's disk is slow or full.",
      ofParts(({ store }) => store.position?.sequence ?? 0),
    ),
    gauge(
      "onefold_store_lag_batches",
      "Durable batches that the store does not have yet; they are read from memory and folded again after a crash. If it keeps growing, look at the store's disk.",
      ofParts(({ shard }) => shard.applier.pendingCount),
    ),
    counter(
      "onefold_store_rebuilds_total",
      "Times that the store was found damaged and rebuilt while this process ran. Nothing is lost, but check the disk and the memory.",
      () => single(node.rebuildCount),
    ),
    gauge(
      "onefold_snapshot_sequence",
      "The sequence of the newest snapshot, 0 without one. If it stands still while the log grows by more than the snapshot interval, read the log of the node.",
      ofParts(({ snapshots }) => snapshots.newestSequence),
    ),
    gauge(
      "onefold_snapshot_lag_bytes",
      "Bytes of log that the newest snapshot of this process does not have: what a rebuild of the store has to fold.",
      ofParts(({ snapshots }) => snapshots.grownBytes),
    ),
    gauge(
      "onefold_open_calls",
      "Calls that have been accepted and not answered.",
      ofParts(({ shard }) => shard.load.calls),
    ),
    gauge(
      "onefold_open_transactions",
      "Transactions between their beginning and their answer. Steadily high: bodies that wait for something foreign, or contention.",
      ofParts(({ shard }) => shard.load.transactions),
    ),
    gauge(
      "onefold_outbox_messages",
      "Messages between entities that have not been delivered. Steadily rising: receivers can't keep up; at 65536 calls that send are refused.",
      ofParts(({ shard }) => shard.load.messages),
    ),
    gauge(
      "onefold_timers_in_memory",
      "Timers that are kept in memory, the nearest ones; the store may hold any number.",
      ofParts(({ shard }) => shard.timersInMemory),
    ),
    ...deadLetterMetrics(ofParts),
    gauge(
      "onefold_cache_entities",
      "Entities in memory.",
      ofParts(({ shard }) => shard.cache.entities),
    ),
    gauge(
      "onefold_cache_bytes",
      "Memory of the entity cache. At its budget all the time while reads are slow: give it more.",
      ofParts(({ shard }) => shard.cache.bytes),
    ),
  ];
}

function deadLetterMetrics(
  ofParts: (read: (parts: OpenParts) => number) => () => readonly Sample[],
): readonly Metric[] {
  return [
    {
      type: "gauge",
      name: "onefold_dead_letters",
      help: "Messages and timers that ended without taking hold, and are kept. GET /v1/dead-letters names them: mend what refused them.",
      read: ofParts(({ shard }) => shard.deadLetterCounts.dead),
    },
    {
      type: "gauge",
      name: "onefold_waiting_letters",
      help: "Messages that wait for newer code: their entity's state was written by a later version. Deploy it.",
      read: ofParts(({ shard }) => shard.deadLetterCounts.waiting),
    },
    {
      type: "counter",
      name: "onefold_dead_letters_total",
      help: "Dead letters recorded since the node started. A rise after a deploy points to it.",
      read: ofParts(({ shard }) => shard.deadLetterCounts.recorded),
    },
    {
      type: "counter",
      name: "onefold_dead_letters_removed_total",
      help: "Dead letters removed to make room or by age since the node started. Rising: they come faster than anyone looks at them.",
      read: ofParts(({ shard }) => shard.deadLetterCounts.removed),
    },
  ];
}
