/** `onefold/client` in browsers, Bun, Deno and edge workers: needs nothing but globals. */
import { type ConnectOptions, connectOn } from "./connect.ts";
import { globalPlatform } from "./platform/globals.ts";
import type { RemoteClient } from "./types.ts";

export * from "./exports.ts";

/** A typed client of the system `S` at `url`; see `docs/client.md`. It connects when it is first used. */
export function connect<S>(url: string | URL, options: ConnectOptions = {}): RemoteClient<S> {
  return connectOn(globalPlatform(), url, options);
}
