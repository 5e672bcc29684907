/** What `GET /v1/cluster` tells: nodes, shards, who owns what, and how far each copy is. JSON as it is. */

export interface ClusterView {
  readonly system: string;
  readonly engine: "embedded" | "nats";
  /** 32 hex digits: the cluster's id; of an embedded node its log's incarnation. */
  readonly cluster: string;
  /** The node that answers, by name. */
  readonly node: string;
  /** Who decides placement, by name; null where nobody does just now. */
  readonly controller: string | null;
  /** In the order of their names. */
  readonly nodes: readonly NodeView[];
  /** In the order of their slots. */
  readonly shards: readonly ShardView[];
}

/** An entity whose calls nodes died in: what `GET /v1/cluster/suspects` lists. */
export interface SuspectView {
  readonly tenant: string;
  readonly kind: string;
  readonly id: string;
  /** The command, or what else of it ran at the last death. */
  readonly what: string;
  readonly deaths: number;
  /** Wall time. */
  readonly lastDeathMs: number;
  /** None of its code is run any more. */
  readonly isInQuarantine: boolean;
}

export interface NodeView {
  readonly name: string;
  readonly status: "live" | "draining";
  /** Whether it told of itself just now: what it alone knows is null below where it did not. */
  readonly answers: boolean;
  readonly httpUrl: string | null;
  /** Where its peers reach it. */
  readonly address: string | null;
  readonly labels: Readonly<Record<string, string>>;
  readonly version: string;
  readonly owned: number;
  readonly followed: number;
}

export interface ShardView {
  readonly id: string;
  readonly status: "active" | "splitting" | "quarantined";
  /** Slots from ≤ slot < to, of 4,096. */
  readonly slots: { readonly from: number; readonly to: number };
  /** The region that it never leaves; null where it may be anywhere. */
  readonly region: string | null;
  /** The engine's name of its log. */
  readonly log: string;
  /** The node that is to own it, by name; null where there is none. */
  readonly owner: string | null;
  /** Whether that node serves it: false while it still takes it over, or does not answer. */
  readonly isServed: boolean;
  /** Where it is being moved to, by name. */
  readonly movingTo: string | null;
  /** Of its owner; null where that does not serve it, or does not answer. */
  readonly epoch: number | null;
  /** The last durable sequence that its owner knows of. Its growth is the shard's rate. */
  readonly sequence: number | null;
  readonly queuedCalls: number | null;
  readonly followers: readonly FollowerView[];
}

export interface FollowerView {
  readonly node: string;
  /** How far its copy reaches; null where it does not answer, or has none yet. */
  readonly sequence: number | null;
  /** Batches that its copy lacks of the owner's; null where one of the two is not known. Read at two moments: small numbers mean nothing. */
  readonly lagBatches: number | null;
  /** What it serves eventual reads with is so old at most. */
  readonly staleForMs: number | null;
}
