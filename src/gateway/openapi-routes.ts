/** The routes that every system has, as paths of the OpenAPI document. `routes.ts` is the table that answers them. */
import { backupContentType } from "../backup/format.ts";
import { promotionContentType } from "../wire/promotion.ts";
import { limits } from "../base/limits.ts";
import { clusterSchemas } from "./openapi-cluster.ts";
import { promotionSchemas } from "./openapi-promotion.ts";
import {
  anyValue,
  callParameters,
  header,
  json,
  ok,
  parameter,
  problems,
  readParameters,
  sequenceHeader,
} from "./openapi-parts.ts";
import { type JsonSchema, schemasPointer } from "./openapi-schema.ts";

const tag = "Onefold";
const text: JsonSchema = { type: "string" };
const count: JsonSchema = { type: "integer", minimum: 0 };

/** By name: what the routes below answer. */
export const routeSchemas: Readonly<Record<string, JsonSchema>> = {
  Value: {
    description:
      'Tagged JSON: any JSON, in which bytes are `{"$bytes": …}`, dates `{"$date": …}` and big integers `{"$bigint": …}`. An ' +
      'object of one\'s own with one such key is `{"$object": …}`.',
  },
  EntityList: {
    type: "object",
    required: ["ids"],
    properties: {
      ids: { description: "In the order of their UTF-8 bytes.", type: "array", items: text },
      cursor: { description: "For the next page; absent on the last.", type: "string" },
    },
  },
  History: {
    type: "object",
    required: ["items", "trimmed"],
    properties: {
      items: { description: "Newest first.", type: "array", items: { $ref: `${schemasPointer}HistoryItem` } },
      cursor: { description: "For the next page; absent on the last.", type: "string" },
      trimmed: { description: "True where older history has been trimmed from the log.", type: "boolean" },
    },
  },
  HistoryItem: {
    type: "object",
    required: ["sequence", "timeMs", "generation", "version", "command", "by", "subject", "itemCount"],
    properties: {
      sequence: count,
      timeMs: { description: "Log time, milliseconds since 1970-01-01T00:00:00Z.", type: "integer" },
      generation: count,
      version: count,
      command: text,
      by: { enum: ["call", "transaction", "message", "timer", "admin"] },
      subject: text,
      state: { description: "The state after it, where it changed; null if the entity ended.", ...anyValue },
      itemCount: { description: "Items of collections that it wrote or removed.", ...count },
    },
  },
  Changes: {
    type: "object",
    required: ["items", "next", "log", "trimmed"],
    properties: {
      items: { description: "Oldest first.", type: "array", items: { $ref: `${schemasPointer}Change` } },
      next: { description: "The `after` of the next page.", type: "string" },
      log: { description: "The log's incarnation: a position is one of this log alone.", type: "string" },
      trimmed: { description: "True where changes in between have been trimmed from the log.", type: "boolean" },
    },
  },
  Change: {
    allOf: [
      { type: "object", required: ["kind", "id"], properties: { kind: text, id: text } },
      { $ref: `${schemasPointer}HistoryItem` },
    ],
  },
  DeadLetters: {
    type: "object",
    required: ["items", "removed"],
    properties: {
      items: { description: "Newest first.", type: "array", items: { $ref: `${schemasPointer}DeadLetter` } },
      cursor: { description: "For the next page; absent on the last.", type: "string" },
      removed: { description: "Removed since the node started: too many, or too old.", ...count },
    },
  },
  DeadLetter: {
    description: "A message or timer that ended without taking hold, or a message that waits for newer code.",
    type: "object",
    required: ["letter", "sequence", "timeMs", "kind", "id", "command", "input", "by", "code", "detail", "waits"],
    properties: {
      letter: { description: "Names it for ever.", type: "string" },
      sequence: count,
      timeMs: { description: "Log time, milliseconds since 1970-01-01T00:00:00Z; 0: not known.", type: "integer" },
      kind: text,
      id: text,
      command: text,
      input: anyValue,
      by: { enum: ["message", "timer"] },
      subject: text,
      code: text,
      detail: text,
      waits: { description: "True: it is delivered when newer code is there.", type: "boolean" },
    },
  },
  Session: {
    type: "object",
    required: ["session"],
    properties: { session: { description: "A token for Onefold-Session.", type: "string" } },
  },
  Call: {
    description: "A command or query of an entity, or a transaction.",
    anyOf: [
      {
        type: "object",
        required: ["kind", "id", "name"],
        properties: { kind: text, id: text, name: text, input: anyValue },
        additionalProperties: false,
      },
      {
        type: "object",
        required: ["transaction"],
        properties: { transaction: text, input: anyValue },
        additionalProperties: false,
      },
    ],
  },
  ...clusterSchemas,
  ...promotionSchemas,
  Alive: { type: "object", required: ["state"], properties: { state: text } },
  Health: {
    type: "object",
    required: ["state", "sequence", "appliedSequence", "queuedCalls", "problems"],
    properties: {
      state: { const: "ready" },
      sequence: { description: "The last durable sequence.", ...count },
      appliedSequence: { description: "The last sequence that the store has.", ...count },
      queuedCalls: count,
      problems: { description: "What an operator should look at.", type: "array", items: text },
    },
  },
};

export function documentRoutes({ isGuarded }: { readonly isGuarded: boolean }): Readonly<Record<string, object>> {
  const named = (name: string): object => json({ $ref: schemasPointer + name });
  const withProblems = (...more: readonly number[]): object => problems({ isGuarded, more });
  const trace = parameter("Traceparent");
  const outputResponse = ok("The output; null where there is none.", json(anyValue), sequenceHeader);
  const body = (schema: JsonSchema, required: boolean): object => ({ required, content: json(schema) });
  const open = { security: [] };
  const plain = (mediaType: string): object => ({ [mediaType]: { schema: text } });

  return {
    "/v1/entities/{kind}/{id}/{operation}": {
      parameters: ["Kind", "Id", "Operation"].map(parameter),
      post: {
        operationId: "onefold:command",
        summary: "Runs any command.",
        tags: [tag],
        parameters: [...callParameters, trace],
        requestBody: body(anyValue, false),
        responses: { 200: outputResponse, ...withProblems(404, 413, 415) },
      },
      get: {
        operationId: "onefold:query",
        summary: "Runs any query.",
        tags: [tag],
        parameters: [{ name: "input", in: "query", content: json(anyValue) }, ...readParameters, trace],
        responses: { 200: outputResponse, ...withProblems(404) },
      },
    },
    "/v1/entities/{kind}/{id}": {
      parameters: ["Kind", "Id"].map(parameter),
      get: {
        operationId: "onefold:state",
        summary: "The raw state of an entity. Scope `inspect`.",
        tags: [tag],
        parameters: [...readParameters, parameter("IfNoneMatch"), trace],
        responses: {
          200: ok("The state.", json(anyValue), { ETag: header("ETag"), ...sequenceHeader }),
          304: { description: "The state that If-None-Match names.", headers: { ETag: header("ETag") } },
          ...withProblems(404),
        },
      },
      delete: {
        operationId: "onefold:delete",
        summary: "Ends an entity. Scope `admin`.",
        tags: [tag],
        parameters: [...callParameters, trace],
        responses: { 204: { description: "It has ended.", headers: sequenceHeader }, ...withProblems(404, 413, 415) },
      },
    },
    "/v1/entities/{kind}": {
      parameters: [parameter("Kind")],
      get: {
        operationId: "onefold:list",
        summary: "Lists the ids of a kind. Scope `inspect`.",
        tags: [tag],
        parameters: [...["Prefix", "Limit", "Cursor"].map(parameter), ...readParameters, trace],
        responses: { 200: ok("A page of ids.", named("EntityList")), ...withProblems(404) },
      },
    },
    "/v1/history/{kind}/{id}": {
      parameters: ["Kind", "Id"].map(parameter),
      get: {
        operationId: "onefold:history",
        summary: "What happened to an entity. Scope `inspect`.",
        tags: [tag],
        parameters: [...["Limit", "Cursor"].map(parameter), ...readParameters, trace],
        responses: { 200: ok("A page of its history.", named("History")), ...withProblems(404) },
      },
    },
    "/v1/changes": {
      get: {
        operationId: "onefold:changes",
        summary: "What happened to entities, in the log's order; waits for what comes next. Scope `inspect`.",
        tags: [tag],
        parameters: [
          {
            name: "after",
            in: "query",
            description: "A position: `next` of an earlier answer, or a sequence. Absent: the log's end.",
            schema: { type: "string", pattern: "^[0-9]{1,15}(\\.[0-9]{1,9})?$" },
          },
          { name: "kind", in: "query", description: "Only of this kind.", schema: text },
          { name: "id", in: "query", description: "Only of this entity of the kind.", schema: text },
          {
            name: "waitMs",
            in: "query",
            description: "Where there are none, how long to wait for the first.",
            schema: { type: "integer", minimum: 0, maximum: limits.changesWaitMsMax, default: 0 },
          },
          parameter("Limit"),
          ...["Session", "Deadline"].map(parameter),
          trace,
        ],
        responses: { 200: ok("A page of them.", named("Changes")), ...withProblems(404) },
      },
    },
    "/v1/dead-letters": {
      get: {
        operationId: "onefold:deadLetters",
        summary: "Messages and timers that ended without taking hold. Scope `inspect`.",
        tags: [tag],
        parameters: [
          { name: "kind", in: "query", description: "Only those for this kind.", schema: text },
          ...["Limit", "Cursor"].map(parameter),
          ...["Session", "Deadline"].map(parameter),
          trace,
        ],
        responses: { 200: ok("A page of them.", named("DeadLetters")), ...withProblems(404) },
      },
    },
    "/v1/transactions/{name}": {
      parameters: [parameter("Transaction")],
      post: {
        operationId: "onefold:transaction",
        summary: "Runs any transaction.",
        tags: [tag],
        parameters: [...callParameters, trace],
        requestBody: body(anyValue, false),
        responses: { 200: outputResponse, ...withProblems(404, 413, 415) },
      },
    },
    "/v1/call": {
      post: {
        operationId: "onefold:call",
        summary: "Runs any command, query or transaction, named in the body.",
        tags: [tag],
        parameters: [parameter("Read"), ...callParameters, trace],
        requestBody: body({ $ref: `${schemasPointer}Call` }, true),
        responses: { 200: outputResponse, ...withProblems(404, 413, 415) },
      },
    },
    "/v1/sessions": {
      post: {
        operationId: "onefold:session",
        summary: "Begins a session.",
        tags: [tag],
        parameters: [trace],
        responses: { 200: ok("Its token.", named("Session")), ...withProblems(413, 415) },
      },
    },
    "/v1/backup": {
      get: {
        operationId: "onefold:backup",
        summary: "Everything that the node holds, of all tenants, as a stream. Scope `admin`.",
        tags: [tag],
        parameters: [...["Session", "Deadline"].map(parameter), trace],
        responses: {
          200: ok("A backup.", { [backupContentType]: {} }, sequenceHeader),
          ...withProblems(),
        },
      },
    },
    "/v1/promote": {
      post: {
        operationId: "onefold:promote",
        summary: "Moves the system to a cluster, and tells how it goes as lines of JSON. Scope `admin`.",
        tags: [tag],
        parameters: [...["Session", "Deadline"].map(parameter), trace],
        requestBody: body({ $ref: `${schemasPointer}Promotion` }, true),
        responses: {
          200: ok("How it goes; the last line has `report` or `failure`.", { [promotionContentType]: {} }),
          ...withProblems(413, 415),
        },
      },
    },
    "/v1/cluster": {
      get: {
        operationId: "onefold:cluster",
        summary: "Nodes, shards, owners, epochs, lag. Scope `metrics` or `inspect`.",
        tags: [tag],
        parameters: [trace],
        responses: { 200: ok("The cluster as this node sees it.", named("Cluster")), ...withProblems() },
      },
    },
    "/v1/cluster/split": {
      post: {
        operationId: "onefold:splitShard",
        summary: "Asks for a shard to be split. Scope `admin`.",
        tags: [tag],
        parameters: [...["Session", "IdempotencyKey", "Deadline"].map(parameter), trace],
        requestBody: body({ $ref: `${schemasPointer}Split` }, true),
        responses: {
          202: ok("It is asked for; `/v1/cluster` shows what comes of it.", named("Split")),
          ...withProblems(404, 409, 413, 415),
        },
      },
    },
    "/v1/cluster/suspects": {
      get: {
        operationId: "onefold:suspects",
        summary: "Entities whose calls ended nodes, and those in quarantine for it. Scope `admin`.",
        tags: [tag],
        parameters: [...["Session", "Deadline"].map(parameter), trace],
        responses: { 200: ok("Of all tenants.", named("Suspects")), ...withProblems() },
      },
    },
    "/v1/cluster/lift": {
      post: {
        operationId: "onefold:liftQuarantine",
        summary: "Lets an entity in quarantine serve again. Scope `admin`.",
        tags: [tag],
        parameters: [...["Session", "IdempotencyKey", "Deadline"].map(parameter), trace],
        requestBody: body({ $ref: `${schemasPointer}Lift` }, true),
        responses: {
          200: ok("How many entities it was, one of each tenant.", named("Lifted")),
          ...withProblems(404, 409, 413, 415),
        },
      },
    },
    "/openapi.json": {
      get: {
        operationId: "onefold:openapi",
        summary: "This document.",
        tags: [tag],
        responses: { 200: ok("An OpenAPI 3.1 document.", json({ type: "object" })), ...withProblems() },
      },
    },
    "/metrics": {
      get: {
        operationId: "onefold:metrics",
        summary: "Metrics for Prometheus. Scope `metrics` or `inspect`.",
        tags: [tag],
        responses: { 200: ok("Text, version 0.0.4.", plain("text/plain")), ...withProblems() },
      },
    },
    "/healthz": {
      get: {
        ...open,
        operationId: "onefold:alive",
        summary: "Whether the process can go on.",
        tags: [tag],
        responses: { 200: ok("It can.", named("Alive")), ...problems({ isGuarded: false }) },
      },
    },
    "/readyz": {
      get: {
        ...open,
        operationId: "onefold:ready",
        summary: "Whether calls are served, with the log's progress.",
        tags: [tag],
        responses: { 200: ok("They are.", named("Health")), ...problems({ isGuarded: false }) },
      },
    },
    "/": {
      get: {
        operationId: "onefold:front",
        summary: "A page for people.",
        tags: [tag],
        responses: { 200: ok("It says what runs here.", plain("text/html")), ...withProblems() },
      },
    },
  };
}
