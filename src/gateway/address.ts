/**
 * Whom a gateway may serve without credentials, told by addresses and names alone. Pure.
 *
 * Without `authenticate` whoever reaches the port is the developer, so three doors must be shut: other machines (A1), a
 * page of another site in the developer's own browser (A2), and such a page after its name was made to resolve to this
 * machine, "DNS rebinding" (A3).
 *
 * A1  Only loopback addresses and unix sockets are bound.
 * A2  A request that changes something and names an origin must name its own host; `Sec-Fetch-Site: cross-site` never passes.
 * A3  The `Host` header must be a loopback name or address, or the name that was bound.
 */
import { OnefoldError } from "../base/errors.ts";

/** True for 127.0.0.0/8, ::1 (also as IPv4-mapped address) and `localhost`. A name's address is checked after binding. */
export function isLoopback(hostname: string): boolean {
  const name = hostname.toLowerCase();
  if (name === "localhost" || name === "::1" || name === "0:0:0:0:0:0:0:1") return true;
  return /^(::ffff:)?127\.\d{1,3}\.\d{1,3}\.\d{1,3}$/.test(name);
}

/** Throws `invalid-configuration` (retry `never`) for an address that other machines can reach. */
export function assertLoopback(hostname: string): void {
  if (isLoopback(hostname)) return;
  throw new OnefoldError(
    "invalid-configuration",
    `Refusing to listen on ${hostname}: without authenticate everybody who reaches that address could read and change ` +
      `everything. Give the system an authenticate function (system(name, parts, { authenticate })), or bind 127.0.0.1.`,
    { details: { hostname } },
  );
}

/** The host of `host[:port]` or `[v6][:port]`, in lower case and without brackets; undefined if it is neither. */
export function hostOfAuthority(authority: string): string | undefined {
  const match = /^(?:\[([0-9a-f:.]+)\]|([a-z0-9._~-]+))(?::\d{1,5})?$/i.exec(authority);
  return match === null ? undefined : (match[1] ?? match[2])!.toLowerCase();
}

/** A3. An HTTP/1.0 request may have no `Host`; no browser sends such a one. */
export function isHostAllowed(host: string | undefined, boundName: string | undefined): boolean {
  if (host === undefined) return true;
  const name = hostOfAuthority(host);
  if (name === undefined) return false;
  return isLoopback(name) || (boundName !== undefined && name === boundName.toLowerCase());
}

/** A2. `origin` and `fetchSite` are the request's headers; a program that is no browser sends neither. */
export function isOriginAllowed(facts: {
  readonly host: string | undefined;
  readonly origin: string | undefined;
  readonly fetchSite: string | undefined;
}): boolean {
  if (facts.fetchSite === "cross-site") return false;
  if (facts.origin === undefined) return true;
  const authority = /^https?:\/\/([^/?#@]+)$/i.exec(facts.origin)?.[1];
  return authority !== undefined && authority.toLowerCase() === facts.host?.toLowerCase();
}
