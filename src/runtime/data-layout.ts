/** What is where in a data directory. Part of the format: a newer version must find what an older one wrote. */
export const dataLayout = {
  /** Locked by the process that has the directory. */
  lock: "lock",
  /** The log's segments and its anchors. */
  log: "log",
  /** Snapshots' blobs and the pointer to the newest. */
  snapshots: "snapshots",
  /** The materialised fold; may be deleted while no process has the directory. */
  store: "store",
} as const;
