/**
 * The operations of a system over its `Service`: each takes what a request brought and answers. No sockets here.
 *
 * O1  A name is looked up in the system before anything is authorised, and authorised before the service is asked.
 * O2  Inputs are parsed as tagged JSON within the limits of depth and size; the service checks them against their schema.
 * O3  The service gets what is left of the caller's deadline, not the whole of it once more.
 */
import { OnefoldError } from "../base/errors.ts";
import { closest, parseId } from "../base/ids.ts";
import { parseTaggedJson, stringifyTaggedJson } from "../base/tagged-json.ts";
import type { Value } from "../base/value.ts";
import type { EntityDefinition, Operation, SystemDefinition } from "../entity/definition.ts";
import type {
  CallOptions,
  CallReply,
  EntityAddress,
  Principal,
  QueryReply,
  ReadOptions,
  Service,
} from "../entity/service.ts";
import type { Timers } from "../host/host.ts";
import { authorize } from "./access.ts";
import type { Answer } from "./answer.ts";
import { jsonAnswer } from "./answer.ts";
import type { BackupSource } from "./backup.ts";
import type { CallHeaders } from "./call-headers.ts";
import type { ClusterSource } from "./cluster-source.ts";
import type { PromotionSource } from "./promotion.ts";
import { parseCount, parseQueryString } from "./query-string.ts";

/** One request, authenticated, its body received. */
export interface Call {
  /** The parts of the path, percent-decoded once. */
  readonly parts: Readonly<Record<string, string>>;
  /** Behind the `?`, as it came. */
  readonly queryText: string;
  /** Undefined or empty: no input. */
  readonly body: Uint8Array | undefined;
  readonly headers: CallHeaders;
  readonly ifNoneMatch: string | undefined;
  readonly principal: Principal;
  /** Until the caller's deadline; may be negative. */
  remainingMs(): number;
}

export interface OperationLimits {
  readonly listLimitDefault: number;
  readonly listLimitMax: number;
  readonly changesWaitMsMax: number;
}

export interface OperationContext {
  readonly service: Service;
  readonly system: SystemDefinition;
  readonly timers: Timers;
  readonly limits: OperationLimits;
  /** The system's OpenAPI document. */
  readonly openApiText: string;
  /** Absent where there is nothing that could be backed up. */
  readonly backup: BackupSource | undefined;
  readonly cluster: ClusterSource | undefined;
  /** Absent where there is nothing that could be moved to a cluster. */
  readonly promotion: PromotionSource | undefined;
  /** The metrics of node and gateway. */
  metricsText(): Promise<string>;
  /** True once the gateway takes its leave. */
  isDraining(): boolean;
  /** Calls `listener` then, until the returned function is called: a request that waits for something to happen ends its wait. */
  onDrain(listener: () => void): () => void;
}

/** May throw as well as reject. */
export type OperationHandler = (context: OperationContext, call: Call) => Promise<Answer>;

/** `POST /v1/entities/{kind}/{id}/{command}`: 200 with the output, `null` where there is none. */
export const runCommand: OperationHandler = (context, call) => {
  parseQueryString(call.queryText, []);
  const { definition, address } = entityOf(context.system, call.parts);
  const name = call.parts.command!;
  if (!definition.commands.has(name)) throw unknownCommand(definition, name);
  return command(context, call, address, name, inputOfBody(call.body));
};

/** `GET /v1/entities/{kind}/{id}/{query}?input=&read=`. */
export const runQuery: OperationHandler = (context, call) => {
  const parameters = parseQueryString(call.queryText, ["input", "read"]);
  const { definition, address } = entityOf(context.system, call.parts);
  const name = call.parts.query!;
  if (!definition.queries.has(name)) throw unknownQuery(definition, name);
  const input =
    parameters.input === undefined || parameters.input === "" ? undefined : parseTaggedJson(parameters.input);
  return query(context, call, address, name, input, parameters.read);
};

/** `POST /v1/transactions/{name}`. */
export const runTransaction: OperationHandler = (context, call) => {
  parseQueryString(call.queryText, []);
  return transaction(context, call, call.parts.name!, inputOfBody(call.body));
};

/** `POST /v1/call` with `{kind, id, name, input?}` (a command or a query) or `{transaction, input?}`. */
export const runCall: OperationHandler = async (context, call) => {
  const parameters = parseQueryString(call.queryText, ["read"]);
  const body = inputOfBody(call.body);
  if (isRecord(body)) {
    const { kind, id, name, transaction: transactionName, input, ...rest } = body;
    if (Object.keys(rest).length === 0) {
      if (typeof transactionName === "string" && kind === undefined && id === undefined && name === undefined) {
        return transaction(context, call, transactionName, input);
      }
      if (
        typeof kind === "string" &&
        typeof id === "string" &&
        typeof name === "string" &&
        transactionName === undefined
      ) {
        const { definition, address } = entityOf(context.system, { kind, id });
        if (definition.commands.has(name)) return command(context, call, address, name, input);
        if (definition.queries.has(name)) return query(context, call, address, name, input, parameters.read);
        throw unknownCommand(definition, name);
      }
    }
  }
  throw new OnefoldError(
    "malformed",
    "The body must be an object {kind, id, name, input} or {transaction, input}, with strings for all but the input.",
  );
};

/** `GET /v1/entities/{kind}/{id}`: the raw state with its `ETag`; 304 where `If-None-Match` names it. */
export const readState: OperationHandler = async (context, call) => {
  const parameters = parseQueryString(call.queryText, ["read"]);
  const { address } = entityOf(context.system, call.parts);
  await allow(context, call, { action: "state", ...address });
  const reply = await context.service.state(address, readOptions(call, parameters.read));
  // The schema's version too: a migration changes what is read without a command having run.
  const etag = `"${reply.generation}-${reply.version}-${reply.schemaVersion}"`;
  const facts = { etag, ...factsOf(context, call, reply) };
  if (matchesEtag(call.ifNoneMatch, etag)) return { status: 304, ...facts };
  return jsonAnswer(stringifyTaggedJson(reply.state), facts);
};

/** `DELETE /v1/entities/{kind}/{id}`: 204. */
export const deleteEntity: OperationHandler = async (context, call) => {
  parseQueryString(call.queryText, []);
  const { address } = entityOf(context.system, call.parts);
  await allow(context, call, { action: "delete", ...address });
  const reply = await context.service.delete(address, callOptions(call));
  return { status: 204, ...factsOf(context, call, reply) };
};

/** `GET /v1/entities/{kind}?prefix=&limit=&cursor=&read=`: `{ids, cursor?}`. */
export const listEntities: OperationHandler = async (context, call) => {
  const parameters = parseQueryString(call.queryText, ["prefix", "limit", "cursor", "read"]);
  const { name: kind } = entityDefinition(context.system, call.parts.kind!);
  await allow(context, call, { action: "list", kind });
  const { ids, cursor } = await context.service.list(kind, {
    ...readOptions(call, parameters.read),
    ...page(context.limits, parameters),
    ...(parameters.prefix === undefined ? {} : { prefix: parameters.prefix }),
  });
  return jsonAnswer(JSON.stringify({ ids, cursor }));
};

/** `GET /v1/history/{kind}/{id}?limit=&cursor=&read=`: `{items, cursor?, trimmed}`, newest first. */
export const readHistory: OperationHandler = async (context, call) => {
  const parameters = parseQueryString(call.queryText, ["limit", "cursor", "read"]);
  const { address } = entityOf(context.system, call.parts);
  await allow(context, call, { action: "history", ...address });
  const { items, cursor, trimmed } = await context.service.history(address, {
    ...readOptions(call, parameters.read),
    ...page(context.limits, parameters),
  });
  return jsonAnswer(stringifyTaggedJson({ items: items.map((item) => ({ ...item })), cursor, trimmed }));
};

/** `GET /v1/changes?after=&kind=&id=&limit=&waitMs=`: `{items, next, log, trimmed}`, oldest first. */
export const readChanges: OperationHandler = async (context, call) => {
  const parameters = parseQueryString(call.queryText, ["after", "kind", "id", "limit", "waitMs"]);
  const { after, kind, id } = parameters;
  if (id !== undefined && kind === undefined) throw new OnefoldError("malformed", "An id needs its kind.");
  const of =
    kind === undefined
      ? {}
      : id === undefined
        ? { kind: entityDefinition(context.system, kind).name as string }
        : entityOf(context.system, { kind, id }).address;
  const waitMs = parseCount("waitMs", parameters.waitMs, { min: 0, max: context.limits.changesWaitMsMax, absent: 0 });
  await allow(context, call, { action: "changes", ...of });
  // A signal of its own: one for all would gather listeners.
  const leave = new AbortController();
  const forget = context.onDrain(() => leave.abort());
  const reply = context.service.changes({
    ...readOptions(call, undefined),
    ...page(context.limits, parameters.limit === undefined ? {} : { limit: parameters.limit }),
    ...of,
    ...(after === undefined ? {} : { after }),
    waitMs,
    signal: leave.signal,
  });
  const { items, next, log, trimmed } = await reply.finally(forget);
  return jsonAnswer(stringifyTaggedJson({ items: items.map((item) => ({ ...item })), next, log, trimmed }));
};

/** `GET /v1/dead-letters?kind=&limit=&cursor=`: `{items, cursor?, removed}`, newest first. */
export const readDeadLetters: OperationHandler = async (context, call) => {
  const parameters = parseQueryString(call.queryText, ["kind", "limit", "cursor"]);
  const ofKind =
    parameters.kind === undefined ? {} : { kind: entityDefinition(context.system, parameters.kind).name as string };
  await allow(context, call, { action: "dead-letters", ...ofKind });
  const { items, cursor, removed } = await context.service.deadLetters({
    ...readOptions(call, undefined),
    ...page(context.limits, parameters),
    ...ofKind,
  });
  return jsonAnswer(stringifyTaggedJson({ items: items.map((item) => ({ ...item })), cursor, removed }));
};

/** `POST /v1/sessions`: `{session}`, a token for `Onefold-Session`. */
export const mintSession: OperationHandler = async (context, call) => {
  parseQueryString(call.queryText, []);
  const sessionToken = context.service.mintSession(call.principal);
  return jsonAnswer(JSON.stringify({ session: sessionToken }), { sessionToken });
};

// ------------------------------------------------------------------------------------------------------------ the calls

async function command(
  context: OperationContext,
  call: Call,
  address: EntityAddress,
  name: string,
  input: unknown,
): Promise<Answer> {
  const decision = decided(context, call, { action: "command", ...address, name });
  if (decision !== undefined) await decision;
  return outputAnswer(context, call, await context.service.command(address, name, input, callOptions(call)));
}

async function query(
  context: OperationContext,
  call: Call,
  address: EntityAddress,
  name: string,
  input: unknown,
  read: string | undefined,
): Promise<Answer> {
  const options = readOptions(call, read);
  const decision = decided(context, call, { action: "query", ...address, name });
  if (decision !== undefined) await decision;
  return outputAnswer(context, call, await context.service.query(address, name, input, options));
}

async function transaction(context: OperationContext, call: Call, name: string, input: unknown): Promise<Answer> {
  const { transactions } = context.system;
  if (!transactions.has(name)) {
    throw new OnefoldError(
      "unknown-transaction",
      `The system has no transaction ${quoted(name)}.${didYouMean(name, transactions.keys())}`,
    );
  }
  const decision = decided(context, call, { action: "transaction", name });
  if (decision !== undefined) await decision;
  return outputAnswer(context, call, await context.service.transaction(name, input, callOptions(call)));
}

function outputAnswer(context: OperationContext, call: Call, reply: CallReply | QueryReply): Answer {
  const text = reply.output === undefined ? "null" : stringifyTaggedJson(reply.output);
  return jsonAnswer(text, factsOf(context, call, reply));
}

/** Where the reply stands, and the caller's session, which has seen it now. */
function factsOf(
  { service }: OperationContext,
  { headers: { sessionToken } }: Call,
  { sequence, position, staleForMs }: Pick<QueryReply, "sequence" | "position" | "staleForMs">,
): Pick<Answer, "sequence" | "sessionToken" | "staleForMs"> {
  if (position === undefined) return { sequence };
  const advanced = sessionToken === undefined ? undefined : service.advanceSession?.(sessionToken, position);
  return {
    sequence,
    ...(advanced === undefined ? {} : { sessionToken: advanced }),
    ...(staleForMs === undefined ? {} : { staleForMs }),
  };
}

// ------------------------------------------------------------------------------------------------------------- the parts

async function allow(context: OperationContext, call: Call, operation: Operation): Promise<void> {
  await decided(context, call, operation);
}

/** As `authorize`: undefined where nobody has to be asked, which most calls need not wait a turn for. */
function decided(context: OperationContext, call: Call, operation: Operation): Promise<void> | undefined {
  return authorize(context.system.options, call.principal, operation, context.timers, call.remainingMs);
}

function callOptions(call: Call): CallOptions {
  const { idempotencyKey, session, sessionToken } = call.headers;
  return {
    principal: call.principal,
    deadlineMs: leftMs(call),
    inputBytes: call.body?.length ?? 0,
    ...(idempotencyKey === undefined ? {} : { idempotencyKey }),
    ...(session === undefined ? {} : { session }),
    ...(sessionToken === undefined ? {} : { sessionToken }),
  };
}

function readOptions(call: Call, read: string | undefined): ReadOptions {
  const { sessionToken } = call.headers;
  if (read !== undefined && read !== "strong" && read !== "session" && read !== "eventual") {
    throw new OnefoldError("malformed", "read must be strong, session or eventual.");
  }
  if (read === "session" && sessionToken === undefined) {
    throw new OnefoldError("malformed", "read=session needs Onefold-Session. POST /v1/sessions gives one.");
  }
  return {
    principal: call.principal,
    deadlineMs: leftMs(call),
    ...(read === undefined ? {} : { read }),
    ...(sessionToken === undefined ? {} : { sessionToken }),
  };
}

/** O3. */
function leftMs(call: Call): number {
  const left = call.remainingMs();
  if (left <= 0) {
    throw new OnefoldError("deadline-passed", "The deadline passed before the request began.", { retry: "safe" });
  }
  return left;
}

function page(
  limits: OperationLimits,
  parameters: { readonly limit?: string; readonly cursor?: string },
): { readonly limit: number; readonly cursor?: string } {
  const { listLimitDefault, listLimitMax } = limits;
  const limit = parseCount("limit", parameters.limit, { min: 1, max: listLimitMax, absent: listLimitDefault });
  return parameters.cursor === undefined ? { limit } : { limit, cursor: parameters.cursor };
}

function inputOfBody(body: Uint8Array | undefined): Value | undefined {
  return body === undefined || body.length === 0 ? undefined : parseTaggedJson(body);
}

function entityOf(
  system: SystemDefinition,
  parts: Readonly<Record<string, string>>,
): { readonly definition: EntityDefinition; readonly address: EntityAddress } {
  const definition = entityDefinition(system, parts.kind!);
  return { definition, address: { kind: definition.name, id: parseId(parts.id!) } };
}

function entityDefinition(system: SystemDefinition, kind: string): EntityDefinition {
  const definition = system.entities.get(kind);
  if (definition !== undefined) return definition;
  throw new OnefoldError(
    "unknown-kind",
    `The system has no entity kind ${quoted(kind)}.${didYouMean(kind, system.entities.keys())}`,
  );
}

function unknownCommand(definition: EntityDefinition, name: string): OnefoldError {
  const hint = definition.queries.has(name) ? " It is a query: GET it." : didYouMean(name, definition.commands.keys());
  return new OnefoldError("unknown-command", `${definition.name} has no command ${quoted(name)}.${hint}`);
}

function unknownQuery(definition: EntityDefinition, name: string): OnefoldError {
  const hint = definition.commands.has(name)
    ? " It is a command: POST it."
    : didYouMean(name, definition.queries.keys());
  return new OnefoldError("unknown-query", `${definition.name} has no query ${quoted(name)}.${hint}`);
}

/** A caller's name in a message, shortened: an answer must not grow with what a caller made up. */
function quoted(name: string): string {
  return JSON.stringify(name.length <= 64 ? name : `${name.slice(0, 63)}…`);
}

function didYouMean(name: string, candidates: Iterable<string>): string {
  const best = closest(name, candidates);
  return best === undefined ? "" : ` Did you mean ${best}?`;
}

/** RFC 9110, 13.1.2: the weak comparison. */
function matchesEtag(ifNoneMatch: string | undefined, etag: string): boolean {
  if (ifNoneMatch === undefined) return false;
  if (ifNoneMatch.trim() === "*") return true;
  return ifNoneMatch.split(",").some((candidate) => candidate.trim().replace(/^W\//, "") === etag);
}

function isRecord(value: Value | undefined): value is { readonly [key: string]: Value | undefined } {
  return typeof value === "object" && value !== null && Object.getPrototypeOf(value) === Object.prototype;
}
