/** The schemas of what `/v1/promote` takes: `wire/promotion.ts` in JSON Schema. */
import { limits } from "../base/limits.ts";
import { type JsonSchema, schemasPointer } from "./openapi-schema.ts";

const text: JsonSchema = { type: "string" };
const all = (...names: readonly string[]): JsonSchema => ({
  type: "object",
  required: names,
  properties: Object.fromEntries(names.map((name) => [name, text])),
});

export const promotionSchemas: Readonly<Record<string, JsonSchema>> = {
  Promotion: {
    type: "object",
    required: ["target"],
    properties: {
      target: { $ref: `${schemasPointer}PromotionTarget` },
      shardCount: {
        description: "Of the cluster: a power of two.",
        type: "integer",
        minimum: 1,
        maximum: limits.shardsMax,
      },
      followerCount: { type: "integer", minimum: 0, maximum: limits.followersMax },
      allowsLaxEngine: { description: "Moves although the engine may lose what it acknowledges.", type: "boolean" },
    },
  },
  PromotionTarget: {
    type: "object",
    required: ["to"],
    properties: {
      to: {
        description: "The engine's servers, with commas between.",
        type: "string",
        pattern: "^(nats|tls)://[^/\\s,]+(,\\s*(nats|tls)://[^/\\s,]+)*$",
      },
      engineName: { type: "string", pattern: "^[a-z0-9]{1,32}$" },
      replicaCount: { enum: [1, 3, 5] },
      account: { $ref: `${schemasPointer}EngineLogin` },
      system: { $ref: `${schemasPointer}EngineLogin` },
      tls: { description: "Files on the node's machine.", ...all("caFile", "certFile", "keyFile") },
    },
  },
  EngineLogin: { anyOf: [all("user", "pass"), all("token"), all("credentials")] },
};
