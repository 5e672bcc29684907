/** The hazards of a log engine of many machines, by the numbers that the sources name them with. Each has a mutant. */
export const hazards: Readonly<Record<number, string>> = {
  1: "the engine forgets what it acknowledged",
  2: "records are missing or damaged",
  3: "it is not known what became of an append",
  4: "an append is refused, which proves nothing",
  5: "two appends share the engine's id of a message",
  6: "what was not committed is told, or stays",
  7: "an owner that is none any more appends",
  8: "an owner that is none any more answers reads",
  9: "clocks are wrong, nodes pause",
  10: "a log forks",
  11: "somebody dies in the middle of a transaction over several shards",
  12: "transactions wait for each other",
  13: "messages between shards come twice",
  14: "what is remembered of requests grows, or is forgotten",
  15: "a log is trimmed too early",
  16: "a snapshot is not what it says",
  17: "a batch is larger than the engine takes",
  18: "a command kills whoever runs it",
  19: "a queue has no bound",
  20: "a node reaches clients and not the engine",
  21: "the engine is set up to lose data",
  22: "older code meets what newer code wrote",
  23: "the store loses what it has synced",
  24: "an election of the engine takes longer than a lease",
};

/** Guarded in the adapter of an engine that has such ids; there is none in these sources. */
export const hazardsElsewhere: readonly number[] = [5];
