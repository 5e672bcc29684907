/**
 * The OpenAPI 3.1 document of a system, made from its definitions: `GET /openapi.json`.
 *
 * O-1  Every command, query and transaction has a path of its own, and every route of `routes.ts` has one (a test holds it).
 * O-2  The same definitions give the same document, byte for byte; its version is a digest of itself.
 * O-3  Everything is in the one document: no reference leads out of it.
 */
import { toHex } from "../base/bytes.ts";
import { sha256 } from "../base/digest.ts";
import type { Limits } from "../base/limits.ts";
import type { SystemDefinition } from "../entity/definition.ts";
import { problemResponses, problemSchemas } from "./openapi-errors.ts";
import { documentOperations, schemasOf } from "./openapi-operations.ts";
import { sharedHeaders, sharedParameters } from "./openapi-parts.ts";
import { documentRoutes, routeSchemas } from "./openapi-routes.ts";
import { schemaConverter, taggedSchemas } from "./openapi-schema.ts";

export interface OpenApiDocument {
  readonly openapi: string;
  readonly info: { readonly title: string; readonly version: string; readonly description: string };
  readonly paths: Readonly<Record<string, object>>;
  readonly [member: string]: unknown;
}

const description =
  `Served by Onefold. Values travel as tagged JSON, errors as RFC 9457 problem documents with a \`code\` and a
\`retry\` class. Every GET answers HEAD, every path OPTIONS; other methods get 405 with \`Allow\`, other paths 404.`.replaceAll(
    "\n",
    " ",
  );

/** Never throws for a schema that can't be converted: that one is left open. */
export async function openApiDocument(system: SystemDefinition, limits: Limits): Promise<OpenApiDocument> {
  const converter = await schemaConverter(schemasOf(system));
  const operations = documentOperations(system, converter);
  const isGuarded = system.options.authenticate !== undefined;
  const parts = {
    jsonSchemaDialect: "https://json-schema.org/draft/2020-12/schema",
    servers: [{ url: "/" }],
    ...(isGuarded ? { security: [{ authenticate: [] }] } : {}),
    tags: [...new Set([...system.entities.keys(), "transactions", "Onefold"])].map((name) => ({ name })),
    paths: { ...operations.paths, ...documentRoutes({ isGuarded }) },
    components: {
      schemas: { ...routeSchemas, ...taggedSchemas, ...problemSchemas(), ...operations.schemas },
      responses: problemResponses(),
      parameters: sharedParameters(limits),
      headers: sharedHeaders(),
      ...(isGuarded ? { securitySchemes: { authenticate: userScheme } } : {}),
    },
  };
  const digest = sha256(new TextEncoder().encode(JSON.stringify(parts)));
  const info = { title: system.name, version: `0-${toHex(digest.subarray(0, 6))}`, description };
  return { openapi: "3.1.1", info, ...parts };
}

/** What the system's own `authenticate` reads is not known here; 401 answers name this scheme. */
const userScheme = {
  type: "http",
  scheme: "bearer",
  description: "Whatever the system's `authenticate` reads; usually a bearer token.",
};
