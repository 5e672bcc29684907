/** The options of `onefold cluster up`, as they come from the command line. */

export interface UpOptions {
  readonly nodes: number;
  readonly servers: number;
  readonly port?: number;
  readonly data: string;
  readonly shards?: number;
  readonly followers?: number;
  /** Absent: the machine is one place. */
  readonly regions?: readonly string[];
  /** False: what ends stays ended. */
  readonly restart: boolean;
  readonly json?: boolean;
}
