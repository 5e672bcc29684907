/** `onefold/client` in Node. */
import { type ConnectOptions, connectOn } from "./connect.ts";
import { nodePlatform } from "./platform/node.ts";
import type { RemoteClient } from "./types.ts";

export * from "./exports.ts";

/** A typed client of the system `S` at `url`; see `docs/client.md`. It connects when it is first used. */
export function connect<S>(url: string | URL, options: ConnectOptions = {}): RemoteClient<S> {
  return connectOn(nodePlatform(), url, options);
}
