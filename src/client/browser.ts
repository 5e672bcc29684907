/** `onefold/client` in browsers, Bun, Deno and edge workers: needs nothing but globals. */
import { type ConnectOptions, connectOn, type ServerUrl } from "./connect.ts";
import { globalPlatform } from "./platform/globals.ts";
import type { RemoteClient } from "./types.ts";

export * from "./exports.ts";

/**
 * A typed client of the system `S` at `url`, or at several addresses of one cluster; see `docs/client.md`. It connects when it is first
 * used, and goes to another address when its own does not serve.
 */
export function connect<S>(url: ServerUrl, options: ConnectOptions = {}): RemoteClient<S> {
  return connectOn(globalPlatform(), url, options);
}
