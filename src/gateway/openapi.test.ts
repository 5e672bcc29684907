import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { Validator } from "@seriousme/openapi-schema-validator";
import type { SchemaObject } from "ajv";
import { Ajv2020 } from "ajv/dist/2020.js";
import { z } from "zod";
import { errorTable, OnefoldError, Refused } from "../base/errors.ts";
import { limits } from "../base/limits.ts";
import { entity } from "../entity/define.ts";
import { system, transaction } from "../entity/define-system.ts";
import type { Schema, SystemOptions } from "../entity/definition.ts";
import { bankSystem } from "./bank.fake.ts";
import { openApiDocument } from "./openapi.ts";
import { answeredCodes, problemSchemas } from "./openapi-errors.ts";
import { problemOf } from "./problem.ts";
import { routes } from "./routes.ts";

/** One of everything that a definition can have. */
function variedSystem(options: SystemOptions = {}) {
  type Tree = { children: Tree[] };
  const tree: z.ZodType<Tree> = z.object({
    get children() {
      return z.array(tree);
    },
  });
  const foreign = {
    "~standard": { version: 1, vendor: "nobody", validate: (value: unknown) => ({ value: value as string }) },
  } as const;
  const thing = entity("thing")
    .state(z.object({ at: z.date() }), () => ({ at: new Date(0) }))
    .command("grow", tree, () => undefined)
    .command("plain", () => undefined)
    .command(
      "tagged",
      z.object({ at: z.date(), size: z.bigint(), body: z.instanceof(Uint8Array<ArrayBuffer>), loose: z.coerce.date() }),
      (_state, { at }) => at,
      {
        description: "Takes *everything*.",
        output: z.date(),
        refusals: { "too late": z.object({ at: z.date() }), never: null, perhaps: z.string().optional() },
      },
    )
    .command("foreign", foreign, () => 1)
    .query("maybe", z.string().optional(), (_state, text) => text, { output: z.string().optional() })
    .query("must", z.string(), (_state, text) => text);
  const all = transaction("all", z.object({ names: z.array(z.string()) })).run(async () => ["a"], {
    output: z.array(z.string()),
  });
  return system("varied", { thing, all }, options).definition;
}

interface Document {
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
  readonly components: { readonly schemas: Readonly<Record<string, SchemaObject>> };
  readonly info: { readonly version: string };
}

interface Operation {
  readonly operationId: string;
  readonly description?: string;
  readonly security?: unknown;
  readonly parameters: readonly { readonly name?: string; readonly required?: boolean }[];
  readonly requestBody: { readonly required: boolean; readonly content: Content };
  readonly responses: Readonly<Record<string, { readonly content?: Content; readonly $ref?: string }>>;
}

type Content = Readonly<Record<string, { readonly schema: SchemaObject }>>;

async function documentOf(definition: ReturnType<typeof variedSystem>): Promise<Document> {
  const document = await openApiDocument(definition, limits);
  return JSON.parse(JSON.stringify(document)) as Document;
}

function validatorOf(document: Document): (name: string, value: unknown) => boolean {
  const ajv = new Ajv2020({ strict: false, validateFormats: false });
  ajv.addSchema({ $id: "document", ...document }, "document");
  return (name, value) => ajv.validate({ $ref: `document#/components/schemas/${name}` }, value) as boolean;
}

describe("the OpenAPI document", () => {
  test("is accepted by an independent validator, with and without authenticate", async () => {
    const guarded = { authenticate: () => null };
    for (const definition of [bankSystem(), variedSystem(), variedSystem(guarded), system("empty", {}).definition]) {
      const result = await new Validator().validate(JSON.parse(JSON.stringify(await documentOf(definition))));
      assert.deepEqual(result.errors, undefined);
      assert.equal(result.valid, true);
    }
  });

  test("holds only references that lead somewhere in it", async () => {
    const document = await documentOf(variedSystem({ authenticate: () => null }));
    const references = [...JSON.stringify(document).matchAll(/"\$ref":"(#[^"]*)"/g)].map((match) => match[1]!);
    assert.ok(references.length > 50);
    for (const reference of new Set(references)) {
      let found: unknown = document;
      for (const part of reference.slice(2).split("/")) found = (found as Readonly<Record<string, unknown>>)?.[part];
      assert.notEqual(found, undefined, reference);
    }
  });

  test("has a path for every command, query and transaction, and for every route", async () => {
    const definition = variedSystem();
    const { paths } = await documentOf(definition);
    const operations = Object.entries(paths).flatMap(([path, item]) =>
      Object.keys(item)
        .filter((method) => method !== "parameters")
        .map((method) => `${method.toUpperCase()} ${path}`),
    );
    for (const name of ["grow", "plain", "tagged", "foreign"]) {
      assert.ok(operations.includes(`POST /v1/entities/thing/{id}/${name}`), name);
    }
    for (const name of ["maybe", "must"]) assert.ok(operations.includes(`GET /v1/entities/thing/{id}/${name}`), name);
    assert.ok(operations.includes("POST /v1/transactions/all"));
    const known = operations.map((operation) => operation.replaceAll(/\{[a-z]+\}/g, "*"));
    for (const { method, pattern } of routes) {
      assert.ok(known.includes(`${method} ${pattern.replaceAll(/:[a-z]+/g, "*")}`), `${method} ${pattern}`);
    }
    const ids = Object.values(paths).flatMap((item) => Object.values(item).map(({ operationId }) => operationId));
    const named = ids.filter((id) => id !== undefined);
    assert.equal(new Set(named).size, named.length, "every operation has an id of its own");
  });

  test("is the same for the same definitions, and another for others", async () => {
    const first = JSON.stringify(await openApiDocument(variedSystem(), limits));
    assert.equal(JSON.stringify(await openApiDocument(variedSystem(), limits)), first);
    const version = (text: string): string => (JSON.parse(text) as Document).info.version;
    assert.notEqual(version(JSON.stringify(await openApiDocument(bankSystem(), limits))), version(first));
  });

  test("describes what travels: dates, bytes and big integers are tagged, at any depth", async () => {
    const accepts = validatorOf(await documentOf(variedSystem()));
    const input = {
      at: { $date: "2026-01-31T12:00:00.000Z" },
      size: { $bigint: "-12" },
      body: { $bytes: "AQID" },
      loose: 5,
    };
    assert.ok(accepts("thing.tagged.input", input));
    for (const wrong of [
      { ...input, at: "2026-01-31T12:00:00.000Z" },
      { ...input, at: { $date: "today" } },
      { ...input, size: 12 },
      { ...input, size: { $bigint: "012" } },
      { ...input, body: { $bytes: "AQI" } },
      { ...input, body: undefined },
    ]) {
      assert.equal(accepts("thing.tagged.input", JSON.parse(JSON.stringify(wrong))), false, JSON.stringify(wrong));
    }
    assert.ok(accepts("thing.tagged.output", { $date: "2026-01-31T12:00:00.000Z" }));
  });

  test("follows a schema that refers to itself", async () => {
    const accepts = validatorOf(await documentOf(variedSystem()));
    assert.ok(accepts("thing.grow.input", { children: [{ children: [] }] }));
    assert.equal(accepts("thing.grow.input", { children: [{ children: [{}] }] }), false);
  });

  test("says where an input may be left out, and that one without a schema is null", async () => {
    const { paths } = await documentOf(variedSystem());
    const inputOf = (name: string) => paths[`/v1/entities/thing/{id}/${name}`]!.get!.parameters[0]!;
    assert.equal(inputOf("maybe").required, false);
    assert.equal(inputOf("must").required, true);
    const plain = paths["/v1/entities/thing/{id}/plain"]!.post!.requestBody;
    assert.equal(plain.required, false);
    assert.deepEqual(plain.content["application/json"]!.schema, { type: "null" });
    assert.equal(paths["/v1/transactions/all"]!.post!.requestBody.required, true);
  });

  test("leaves open what a library can't describe, and says so", async () => {
    const { components } = await documentOf(variedSystem());
    assert.deepEqual(components.schemas["thing.foreign.input"], {
      $comment: "Not described: nobody offers no JSON Schema",
    });
  });

  test("describes a schema of an older zod, which does not offer it by itself", async () => {
    const newer = z.object({ at: z.date() });
    const { jsonSchema: _absent, ...standard } = newer["~standard"];
    const older = Object.create(newer, { "~standard": { value: standard } }) as Schema;
    const old = entity("old")
      .state(z.object({}), () => ({}))
      .command("put", older as typeof newer, () => undefined);
    const accepts = validatorOf(await documentOf(system("old", { old }).definition));
    assert.ok(accepts("old.put.input", { at: { $date: "2026-01-31T12:00:00.000Z" } }));
    assert.equal(accepts("old.put.input", { at: 1 }), false);
  });

  test("a schema that throws while it is looked at is described as anything", async () => {
    const hostile = {
      "~standard": {
        version: 1,
        vendor: "hostile",
        validate: () => {
          throw new Error("no");
        },
        jsonSchema: {
          input: () => {
            throw new Error("never");
          },
        },
      },
    } as unknown as Schema<string>;
    const odd = entity("odd")
      .state(z.object({}), () => ({}))
      .command("put", hostile, () => undefined);
    const { components } = await documentOf(system("odd", { odd }).definition);
    assert.deepEqual(components.schemas["odd.put.input"], { $comment: "Not described: never" });
  });

  test("names each refusal that was declared, with its details, and no other", async () => {
    const document = await documentOf(variedSystem());
    const ajv = new Ajv2020({ strict: false, validateFormats: false });
    ajv.addSchema({ $id: "document", ...document }, "document");
    const path =
      "paths/~1v1~1entities~1thing~1%7Bid%7D~1tagged/post/responses/422/content/application~1problem+json/schema";
    const accepts = ajv.compile({ $ref: `document#/${path}` });
    const refused = (code: string, details?: unknown): unknown =>
      JSON.parse(problemOf(new Refused(code, details), { showInside: true }).body);
    assert.ok(accepts(refused("too late", { at: new Date(0) })));
    assert.ok(accepts(refused("never")));
    assert.ok(accepts(refused("perhaps")));
    assert.ok(accepts(refused("perhaps", "so")));
    assert.equal(accepts(refused("too late")), false);
    assert.equal(accepts(refused("too late", { at: 1 })), false);
    assert.equal(accepts(refused("never", 1)), false);
    assert.equal(accepts(refused("another")), false);
    const invalid = new OnefoldError("invalid-input", "no", { details: { issues: [] } });
    assert.ok(accepts(JSON.parse(problemOf(invalid, { showInside: true }).body)));
  });

  test("has a schema for every error's code, which the error's answer matches", () => {
    const schemas = problemSchemas();
    const ajv = new Ajv2020({ strict: false });
    ajv.addSchema({ $id: "document", components: { schemas } }, "document");
    for (const code of answeredCodes) {
      for (const showInside of [true, false]) {
        const answer: unknown = JSON.parse(problemOf(new OnefoldError(code, "why"), { showInside }).body);
        const { status } = errorTable[code];
        assert.ok(ajv.validate({ $ref: `document#/components/schemas/Error.${code}` }, answer), code);
        assert.ok(ajv.validate({ $ref: `document#/components/schemas/Problem${status}` }, answer), code);
      }
    }
  });

  test("asks for credentials where the system does, but not for health", async () => {
    const guarded = await documentOf(variedSystem({ authenticate: () => null }));
    assert.ok("401" in guarded.paths["/v1/entities/thing/{id}/plain"]!.post!.responses);
    assert.deepEqual(guarded.paths["/healthz"]!.get!.security, []);
    assert.equal("401" in guarded.paths["/healthz"]!.get!.responses, false);
    const unguarded = await documentOf(variedSystem());
    assert.equal("401" in unguarded.paths["/v1/entities/thing/{id}/plain"]!.post!.responses, false);
  });
});
