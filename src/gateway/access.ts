/**
 * Who is calling, and whether they may: the system's `authenticate` and `authorize`, and the scopes of raw access.
 *
 * X1  Without `authenticate` the caller is the developer (`address.ts` has seen to it that nobody else can reach us).
 * X2  A user's function that throws gives `internal`, one that never answers `deadline-passed` with retry `safe`: nothing
 *     had begun. Neither ever lets a request through.
 */
import { OnefoldError } from "../base/errors.ts";
import { defaultTenant } from "../base/ids.ts";
import type { Operation, RequestFacts, SystemOptions } from "../entity/definition.ts";
import { problemOfPrincipal } from "../entity/principal.ts";
import type { Principal } from "../entity/service.ts";
import type { Timers } from "../host/host.ts";

/** The principal on loopback without `authenticate`. */
export const developer: Principal = Object.freeze({
  tenant: defaultTenant,
  subject: "developer",
  scopes: Object.freeze(["*"]),
});

/** The scope that an action needs besides the system's own `authorize`; `*` holds them all. */
const scopeOfAction: { readonly [action in Operation["action"]]: "inspect" | "admin" | undefined } = {
  command: undefined,
  query: undefined,
  transaction: undefined,
  state: "inspect",
  list: "inspect",
  history: "inspect",
  changes: "inspect",
  "dead-letters": "inspect",
  delete: "admin",
  backup: "admin",
  operate: "admin",
  promote: "admin",
};

/**
 * For what tells numbers of a node and its cluster, of all tenants together, and nothing of any. A scraper needs no more than `metrics`. The
 * system's `authorize` is about operations, and not asked. Throws `forbidden`.
 */
export function assertMayMeasure({ scopes }: Principal): void {
  if (["metrics", "inspect", "*"].some((scope) => scopes.includes(scope))) return;
  throw new OnefoldError("forbidden", "This needs the scope metrics.", { details: { scope: "metrics" } });
}

/**
 * Asks the system who this is. Throws `unauthenticated`, or as X2 says. `remainingMs` bounds the wait.
 * An `OnefoldError` from the user's function passes through: it is meant for the caller.
 */
export async function authenticate(
  options: SystemOptions,
  facts: RequestFacts,
  timers: Timers,
  remainingMs: number,
): Promise<Principal> {
  if (options.authenticate === undefined) return developer;
  const principal = await within(
    settle("authenticate", () => options.authenticate?.(facts)),
    timers,
    remainingMs,
  );
  if (principal === null || principal === undefined) {
    throw new OnefoldError("unauthenticated", "The request's credentials were not accepted.");
  }
  const problem = problemOfPrincipal(principal);
  if (problem !== undefined) {
    throw new OnefoldError("internal", `authenticate must return null or a principal. A principal ${problem}.`);
  }
  return principal;
}

/** Resolves if `principal` may do `operation`; throws `forbidden`, or as X2 says. Returns nothing where no wait is needed. */
export function authorize(
  options: SystemOptions,
  principal: Principal,
  operation: Operation,
  timers: Timers,
  remainingMs: () => number,
): Promise<void> | undefined {
  const scope = scopeOfAction[operation.action];
  if (scope !== undefined && !principal.scopes.includes(scope) && !principal.scopes.includes("*")) {
    throw new OnefoldError("forbidden", `This needs the scope ${scope}.`, { details: { scope } });
  }
  if (options.authorize === undefined) return undefined;
  return decide(options, principal, operation, timers, remainingMs());
}

async function decide(
  options: SystemOptions,
  principal: Principal,
  operation: Operation,
  timers: Timers,
  remainingMs: number,
): Promise<void> {
  const allowed = await within(
    settle("authorize", () => options.authorize?.(principal, operation)),
    timers,
    remainingMs,
  );
  // Only `true` lets through: a function that forgets to return refuses, it doesn't allow.
  if (allowed !== true) throw new OnefoldError("forbidden", "The system does not allow this to the principal.");
}

async function settle<T>(name: string, run: () => T | Promise<T>): Promise<T> {
  try {
    return await run();
  } catch (cause) {
    if (cause instanceof OnefoldError) throw cause;
    throw new OnefoldError("internal", `${name} threw.`, { cause });
  }
}

function within<T>(work: Promise<T>, timers: Timers, remainingMs: number): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = timers.after(Math.max(0, remainingMs), () => {
      reject(new OnefoldError("deadline-passed", "The deadline passed before the request began.", { retry: "safe" }));
    });
    work.then(resolve, reject).finally(() => timer.cancel());
  });
}
