/**
 * A socket's calls over the `Service`: each message of a call is begun, and its asker answered. No sockets here.
 *
 * As in `operations.ts`: a name is looked up before anything is authorised, and authorised before the service is asked (O1), which
 * gets what is left of the caller's deadline (O3).
 */
import { OnefoldError } from "../base/errors.ts";
import { closest } from "../base/ids.ts";
import type { Limits } from "../base/limits.ts";
import type { Value } from "../base/value.ts";
import type { EntityDefinition, Operation, SystemDefinition } from "../entity/definition.ts";
import type {
  CallOptions,
  EntityAddress,
  Position,
  Principal,
  ReadOptions,
  Service,
  StateReply,
} from "../entity/service.ts";
import { type Settle, settleBy } from "../entity/settle.ts";
import type { Timers } from "../host/host.ts";
import { toServer } from "../wire/protocol.ts";
import { authorize } from "./access.ts";
import { type CallFacts, callFacts, malformed, pageFacts, type Parts, text } from "./socket-message.ts";

export interface SocketCallContext {
  readonly service: Service;
  readonly system: SystemDefinition;
  readonly timers: Timers;
  readonly limits: Limits;
  monotonicMs(): number;
}

/** Who calls, and in which session. */
export interface SocketCaller {
  readonly principal: Principal;
  readonly sessionToken: string | undefined;
  readonly lowest: number;
  /** Told of every position that an answer had: from now on the session has seen it. */
  readonly sees?: (position: Position) => void;
}

export interface SocketReply {
  readonly output: Value | undefined;
  readonly sequence: number;
  readonly position?: Position;
}

export function stateReply({ sequence, position, staleForMs: _, ...output }: StateReply): SocketReply {
  return { output, sequence, ...(position === undefined ? {} : { position }) };
}

/** Whoever waits for a call. */
export interface SocketAsker extends Settle<SocketReply> {
  /** Set to true before the answer of a call that reads and does not take hold. */
  isRead: boolean;
}

/**
 * Begins the call that `parts` is a message of, whose input takes about `bytes` of memory. Throws what is wrong with it before it has
 * begun; what comes of it is told to the asker, perhaps before this returns.
 */
export function beginCall(
  context: SocketCallContext,
  caller: SocketCaller,
  parts: Parts,
  bytes: number,
  asker: SocketAsker,
): void {
  switch (parts[0]) {
    case toServer.call:
      return entityCall(context, caller, parts, bytes, asker);
    case toServer.transaction:
      return transaction(context, caller, parts, bytes, asker);
    case toServer.delete: {
      const address = addressOf(context.system, parts);
      const options = callOptions(caller, callFacts(parts[2], context.limits), bytes);
      const reply = allowed(context, options, { action: "delete", ...address }, (left) =>
        context.service.delete(address, { ...options, ...left }),
      );
      return settleBy(reply, asker);
    }
    case toServer.state: {
      const address = addressOf(context.system, parts);
      const options = readOptions(caller, callFacts(parts[2], context.limits));
      const reply = allowed(context, options, { action: "state", ...address }, async (left) => {
        const reply = await context.service.state(address, { ...options, ...left });
        return stateReply(reply);
      });
      return tellRead(asker, reply);
    }
    case toServer.list:
      return tellRead(asker, list(context, caller, parts));
    case toServer.history:
      return tellRead(asker, history(context, caller, parts));
    default:
      throw malformed("There is no message of this type.");
  }
}

function tellRead(asker: SocketAsker, reply: Promise<SocketReply>): void {
  asker.isRead = true;
  settleBy(reply, asker);
}

/** A command or a query, told by its name. */
function entityCall(
  context: SocketCallContext,
  caller: SocketCaller,
  parts: Parts,
  bytes: number,
  asker: SocketAsker,
): void {
  const { service, system, limits } = context;
  const facts = callFacts(parts[2], limits);
  const definition = definitionOf(system, parts[3]);
  const address = { kind: definition.name, id: text("An id", parts[4]) };
  const name = text("A name", parts[5]);
  const input = parts[6];
  if (definition.commands.has(name)) {
    const options = callOptions(caller, facts, bytes);
    if (system.options.authorize === undefined) return service.beginCommand(address, name, input, options, asker);
    const reply = allowed(context, options, { action: "command", ...address, name }, (left) =>
      service.command(address, name, input, { ...options, ...left }),
    );
    return settleBy(reply, asker);
  }
  if (!definition.queries.has(name)) {
    throw new OnefoldError(
      "unknown-command",
      `${definition.name} has no command or query ${quoted(name)}.${didYouMean(name, [...definition.commands.keys(), ...definition.queries.keys()])}`,
    );
  }
  const options = readOptions(caller, facts);
  const reply = allowed(context, options, { action: "query", ...address, name }, (left) =>
    service.query(address, name, input, { ...options, ...left }),
  );
  tellRead(asker, reply);
}

function transaction(
  context: SocketCallContext,
  caller: SocketCaller,
  parts: Parts,
  bytes: number,
  asker: SocketAsker,
): void {
  const { service, system, limits } = context;
  const name = text("A name", parts[3]);
  if (!system.transactions.has(name)) {
    throw new OnefoldError(
      "unknown-transaction",
      `The system has no transaction ${quoted(name)}.${didYouMean(name, system.transactions.keys())}`,
    );
  }
  const options = callOptions(caller, callFacts(parts[2], limits), bytes);
  if (system.options.authorize === undefined) return service.beginTransaction(name, parts[4], options, asker);
  const reply = allowed(context, options, { action: "transaction", name }, (left) =>
    service.transaction(name, parts[4], { ...options, ...left }),
  );
  settleBy(reply, asker);
}

function list(context: SocketCallContext, caller: SocketCaller, parts: Parts): Promise<SocketReply> {
  const { name: kind } = definitionOf(context.system, parts[3]);
  const { prefix, limit, cursor } = pageFacts(parts[2], context.limits);
  return allowed(context, caller, { action: "list", kind }, async () => {
    const { sequence } = context.service.health();
    const output = await context.service.list(kind, {
      principal: caller.principal,
      limit,
      ...(prefix === undefined ? {} : { prefix }),
      ...(cursor === undefined ? {} : { cursor }),
    });
    return { output: { ...output }, sequence };
  });
}

function history(context: SocketCallContext, caller: SocketCaller, parts: Parts): Promise<SocketReply> {
  const address = addressOf(context.system, parts);
  const { prefix, limit, cursor } = pageFacts(parts[2], context.limits);
  if (prefix !== undefined) throw malformed("A history has no prefix.");
  return allowed(context, caller, { action: "history", ...address }, async () => {
    const { sequence } = context.service.health();
    const { items, ...rest } = await context.service.history(address, {
      principal: caller.principal,
      limit,
      ...(cursor === undefined ? {} : { cursor }),
    });
    return { output: { items: items.map((item) => ({ ...item })), ...rest }, sequence };
  });
}

/** Who asks, and until when. */
interface Asking {
  readonly principal: Principal;
  readonly deadlineMs?: number;
}

/** What is left of a deadline after the system has thought about it; nothing where nobody had to be asked. */
type Left = { readonly deadlineMs?: number };

/**
 * Runs `run` once the principal is known to be allowed: at once where nobody has to be asked. Rejects with `deadline-passed` (safe)
 * where the answer took longer than the caller waits.
 */
export function allowed<T>(
  context: SocketCallContext,
  { principal, deadlineMs }: Asking,
  operation: Operation,
  run: (left: Left) => Promise<T>,
): Promise<T> {
  const { system, timers, limits } = context;
  const waitMs = deadlineMs ?? limits.deadlineMsDefault;
  const decision = authorize(system.options, principal, operation, timers, () => waitMs);
  if (decision === undefined) return run(asItWas);
  const startedMs = context.monotonicMs();
  return decision.then(() => {
    const leftMs = waitMs - (context.monotonicMs() - startedMs);
    if (leftMs > 0) return run({ deadlineMs: leftMs });
    throw new OnefoldError("deadline-passed", "The deadline passed before the request began.", { retry: "safe" });
  });
}

const asItWas: Left = {};

function callOptions(caller: SocketCaller, facts: CallFacts, inputBytes: number): CallOptions {
  const { principal, sessionToken, lowest } = caller;
  const { number, deadlineMs, idempotencyKey } = facts;
  const options: { -readonly [Name in keyof CallOptions]: CallOptions[Name] } = { principal, inputBytes };
  if (number !== undefined) options.session = sessionOf(sessionToken, number, lowest);
  if (deadlineMs !== undefined) options.deadlineMs = deadlineMs;
  if (idempotencyKey !== undefined) options.idempotencyKey = idempotencyKey;
  return options;
}

function sessionOf(token: string | undefined, number: number, lowest: number): NonNullable<CallOptions["session"]> {
  if (token === undefined) throw malformed("A numbered request needs a session: send a session message before it.");
  if (number < lowest) throw malformed("A request's number must not be below the lowest unanswered one.");
  return { token, number, lowest };
}

function readOptions(caller: SocketCaller, { deadlineMs, read }: CallFacts): ReadOptions {
  const { principal, sessionToken } = caller;
  if (read === "session" && sessionToken === undefined) throw malformed("A session read needs a session.");
  return {
    principal,
    ...(deadlineMs === undefined ? {} : { deadlineMs }),
    ...(read === undefined ? {} : { read }),
    ...(read === "session" ? { sessionToken: sessionToken! } : {}),
  };
}

/** The entity that elements 3 and 4 name. */
export function addressOf(system: SystemDefinition, parts: Parts): EntityAddress {
  return { kind: definitionOf(system, parts[3]).name, id: text("An id", parts[4]) };
}

export function definitionOf(system: SystemDefinition, part: Value | undefined): EntityDefinition {
  const kind = text("A kind", part);
  const definition = system.entities.get(kind);
  if (definition !== undefined) return definition;
  throw new OnefoldError(
    "unknown-kind",
    `The system has no entity kind ${quoted(kind)}.${didYouMean(kind, system.entities.keys())}`,
  );
}

/** A caller's name in a message, shortened: an answer must not grow with what a caller made up. */
function quoted(name: string): string {
  return JSON.stringify(name.length <= 64 ? name : `${name.slice(0, 63)}…`);
}

function didYouMean(name: string, candidates: Iterable<string>): string {
  const best = closest(name, candidates);
  return best === undefined ? "" : ` Did you mean ${best}?`;
}
