/** What happens between a socket's hello and its welcome: who this is, and what he may do. */
import { OnefoldError } from "../base/errors.ts";
import type { RequestFacts } from "../entity/definition.ts";
import type { Principal } from "../entity/service.ts";
import { closeCodes, type Welcome } from "../wire/protocol.ts";
import { authenticate } from "./access.ts";
import type { SocketCallContext } from "./socket-calls.ts";
import { assertNone, type Parts, record, text } from "./socket-message.ts";

export interface Greeted {
  readonly principal: Principal;
  readonly welcome: Welcome;
}

/**
 * Answers a hello. `systemName` is the one that the handshake names. Rejects with `malformed`, `unknown-system`, `not-ready`, and as
 * `authenticate` does.
 */
export async function greet(
  context: SocketCallContext,
  request: RequestFacts,
  systemName: string | undefined,
  parts: Parts,
): Promise<Greeted> {
  const { token, ...others } = record("A hello", parts[1] ?? {});
  assertNone(others);
  const { service, system, timers, limits } = context;
  if (systemName !== undefined && systemName !== system.name) {
    throw new OnefoldError("unknown-system", `This node serves the system ${system.name}.`, {
      details: { system: system.name },
    });
  }
  const headers = { ...request.headers };
  if (token !== undefined) headers.authorization = `Bearer ${text("A token", token)}`;
  const principal = await authenticate(system.options, { ...request, headers }, timers, limits.socketHelloMs);
  const welcome: Welcome = {
    system: system.name,
    session: service.mintSession(principal),
    sessionMs: limits.sessionMsDefault,
    callsMax: limits.socketCallsMax,
    callBytesMax: limits.socketCallBytesMax,
    frameBytesMax: limits.socketFrameBytesMax,
    subscriptionsMax: limits.socketSubscriptionsMax,
    sessionRequestsMax: limits.sessionRequestsOpenMax,
    silenceMsMax: limits.socketSilenceMs,
  };
  return { principal, welcome };
}

/** By which code a connection ends whose hello failed with `error`: whether to try again is for the error's retry class to say. */
export function closeCodeOfRefusal(error: unknown): number {
  if (!(error instanceof OnefoldError) || error.code === "internal") return closeCodes.internal;
  if (error.retry !== "never") return closeCodes.unavailable;
  switch (error.code) {
    case "unauthenticated":
      return closeCodes.unauthenticated;
    case "forbidden":
      return closeCodes.forbidden;
    case "unknown-system":
      return closeCodes.unknownSystem;
    case "malformed":
      return closeCodes.malformed;
    default:
      return closeCodes.internal;
  }
}
