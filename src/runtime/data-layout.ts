/** What is where in a data directory. Part of the format: a newer version must find what an older one wrote. */
export const dataLayout = {
  /** Locked by the process that has the directory. */
  lock: "lock",
  /** The log's segments and its anchors. */
  log: "log",
  /** Snapshots' blobs and the pointer to the newest. */
  snapshots: "snapshots",
  /** What a restore makes before it is put in its place; see `restore-place.ts`. */
  restoring: "restoring",
  /** The materialised fold; may be deleted while no process has the directory. */
  store: "store",
  /** Which call is under way, while it looks as if it could end the process; see `quarantine.ts`. */
  suspect: "suspect",
  /** Entities whose calls ended processes; may be deleted while no process has the directory. */
  suspects: "suspects",
  /** Of a node that moves to a cluster, or has moved: where to, and its copy of that cluster's system log; see `promotion-file.ts`. */
  promotion: "promotion",
  /** Of a cluster's node: its copy of the system log. */
  system: "system",
  /** Of a cluster's node: its copies of shards' logs, a directory for each. */
  shards: "shards",
  /** Of a cluster's node: the stores of its shards, a directory for each log; may be deleted while no process has the directory. */
  stores: "stores",
} as const;
