/**
 * What the servers of a simulated engine take for their work, where a simulation counts that: each method has the work done, and gives the
 * milliseconds from now until it is. Without it servers work at once, and only `EngineTimes` says how long things take.
 */
export interface EngineCosts {
  /** A client's request, of so many bytes, arrives at the server that the client is connected to. */
  requestMs(server: string, bytes: number): number;
  /** From a leader's taking a record to its being synced on a majority. */
  commitMs(leader: string, followers: readonly string[], bytes: number): number;
  /** How long a client waits at this server for what it is told of a log. */
  tellMs(server: string): number;
  /** A server has told a client of a record. */
  told(server: string, bytes: number): void;
}
