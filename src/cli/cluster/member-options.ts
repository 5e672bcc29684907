/** The options of `onefold start --cluster`, as they come from the command line. */
import type { NodeTlsOptions } from "../tls-files.ts";

export interface MemberStartOptions extends NodeTlsOptions {
  /** Addresses of the engine's servers, with commas between. */
  readonly cluster: string;
  readonly name?: string;
  readonly nodeAddress: string;
  readonly nodeListen?: string;
  readonly httpUrl?: string;
  readonly label: Readonly<Record<string, string>>;
  readonly shards?: number;
  readonly followers?: number;
  readonly regions?: readonly string[];
  /** Waits for a system that is moved here, and founds no cluster. */
  readonly awaitSystem?: boolean;
  readonly engineCredentials?: string;
  /** On how many servers each log is. */
  readonly engineReplicas: 1 | 3 | 5;
  /** Begins the names of what the cluster keeps in the engine; default: made of the system's name. */
  readonly engineName?: string;
  readonly unsafeDurability?: boolean;
}
