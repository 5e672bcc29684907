/** The schemas of what `/v1/cluster` answers: `wire/cluster-view.ts` in JSON Schema. */
import { type JsonSchema, schemasPointer } from "./openapi-schema.ts";

const text: JsonSchema = { type: "string" };
const textOrNull: JsonSchema = { type: ["string", "null"] };
const count: JsonSchema = { type: "integer", minimum: 0 };
const countOrNull: JsonSchema = { type: ["integer", "null"], minimum: 0 };

const of = (properties: Readonly<Record<string, JsonSchema>>): JsonSchema => ({
  type: "object",
  required: Object.keys(properties),
  properties,
});
const listOf = (name: string): JsonSchema => ({ type: "array", items: { $ref: schemasPointer + name } });

export const clusterSchemas: Readonly<Record<string, JsonSchema>> = {
  Cluster: of({
    system: text,
    engine: { enum: ["embedded", "nats"] },
    cluster: { description: "The cluster's id, or the embedded log's incarnation.", type: "string" },
    node: { description: "The node that answers.", type: "string" },
    controller: { description: "The node that decides placement.", ...textOrNull },
    nodes: listOf("ClusterMember"),
    shards: listOf("ClusterShard"),
  }),
  Split: { ...of({ shard: text, parts: { type: "integer", minimum: 2 } }), additionalProperties: false },
  Suspects: of({ suspects: listOf("Suspect") }),
  Suspect: of({
    tenant: text,
    kind: text,
    id: text,
    what: { description: "The command that ran at the last death.", ...text },
    deaths: count,
    lastDeathMs: { description: "Wall time.", type: "number" },
    isInQuarantine: { description: "None of its code is run any more.", type: "boolean" },
  }),
  Lift: {
    type: "object",
    required: ["kind", "id"],
    properties: { kind: text, id: text, tenant: { description: "Default: of all tenants.", ...text } },
    additionalProperties: false,
  },
  Lifted: of({ lifted: count }),
  ClusterMember: of({
    name: text,
    status: { enum: ["live", "draining"] },
    answers: { description: "Whether it told of itself just now.", type: "boolean" },
    httpUrl: textOrNull,
    address: { description: "Where its peers reach it.", ...textOrNull },
    labels: { type: "object", additionalProperties: text },
    version: text,
    owned: { description: "Shards that it owns.", ...count },
    followed: { description: "Shards that it follows.", ...count },
  }),
  ClusterShard: of({
    id: text,
    status: { enum: ["active", "splitting", "quarantined"] },
    slots: of({ from: count, to: count }),
    region: { description: "That it never leaves; null: anywhere.", ...textOrNull },
    log: text,
    owner: textOrNull,
    isServed: { description: "Whether the owner serves it, and answers.", type: "boolean" },
    movingTo: textOrNull,
    epoch: { description: "Of its owner.", ...countOrNull },
    sequence: { description: "The last durable one that its owner knows of.", ...countOrNull },
    queuedCalls: countOrNull,
    followers: listOf("ClusterFollower"),
  }),
  ClusterFollower: of({
    node: text,
    sequence: { description: "How far its copy reaches.", ...countOrNull },
    lagBatches: { description: "What its copy lacks of the owner's.", ...countOrNull },
    staleForMs: { description: "How old its eventual reads are at most.", type: ["number", "null"], minimum: 0 },
  }),
};
