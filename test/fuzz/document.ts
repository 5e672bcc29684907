/** An OpenAPI document as the fuzzer reads it: nothing is known of the server but what stands in it. */
import { Ajv2020, type ValidateFunction } from "ajv/dist/2020.js";
import type { JsonSchema } from "./json-arbitrary.ts";

export interface Parameter {
  readonly name: string;
  readonly in: "path" | "query" | "header";
  readonly required: boolean;
  readonly schema: JsonSchema;
  /** The value is JSON text. */
  readonly isJson: boolean;
}

export interface DocumentedResponse {
  /** JSON pointers of the schemas, by media type; undefined for one that has none, such as bytes. */
  readonly content: ReadonlyMap<string, string | undefined>;
  /** JSON pointers of the schemas of headers, by name in lower case. */
  readonly headers: ReadonlyMap<string, string>;
}

export interface Operation {
  readonly id: string;
  readonly method: string;
  readonly path: string;
  readonly isOpen: boolean;
  readonly parameters: readonly Parameter[];
  readonly body: { readonly required: boolean; readonly schema: JsonSchema } | undefined;
  readonly responses: ReadonlyMap<number, DocumentedResponse>;
}

type Json = Readonly<Record<string, unknown>>;

const methods = ["get", "post", "put", "patch", "delete"];

/** What would take the fuzzed system elsewhere; its own tests are in `src/gateway/promotion.test.ts`, `test/processes/promote.test.ts`. */
const untouched: ReadonlySet<string> = new Set(["/v1/promote"]);

export class ApiDocument {
  readonly operations: readonly Operation[];
  readonly #root: Json;
  readonly #ajv = new Ajv2020({ strict: false, validateFormats: false, logger: false });
  readonly #validators = new Map<string, ValidateFunction>();

  constructor(root: Json) {
    this.#root = root;
    this.#ajv.addSchema({ $id: "document", ...root }, "document");
    const items = Object.entries(root.paths as Readonly<Record<string, Json>>);
    this.operations = items
      .filter(([path]) => !untouched.has(path))
      .flatMap(([path, item]) =>
        methods.filter((method) => method in item).map((method) => this.#operation(path, method, item)),
      );
  }

  /** What `reference` (`#/…`) leads to. */
  readonly resolve = (reference: string): Json => {
    let found: unknown = this.#root;
    for (const part of reference.slice(2).split("/")) {
      found = (found as Json)[decodeURIComponent(part).replaceAll("~1", "/").replaceAll("~0", "~")];
    }
    return found as Json;
  };

  /** Undefined if the value matches the schema at the pointer, else what is wrong with it. */
  fault(pointer: string, value: unknown): string | undefined {
    let validate = this.#validators.get(pointer);
    if (validate === undefined) {
      validate = this.#ajv.compile({ $ref: `document${pointer}` });
      this.#validators.set(pointer, validate);
    }
    return validate(value) ? undefined : this.#ajv.errorsText(validate.errors?.slice(0, 5));
  }

  accepts(schema: JsonSchema, value: unknown): boolean {
    const key = JSON.stringify(schema);
    let validate = this.#validators.get(key);
    if (validate === undefined) {
      validate = this.#ajv.compile(rooted(schema) as JsonSchema);
      this.#validators.set(key, validate);
    }
    return validate(value) as boolean;
  }

  #deref(part: unknown): { readonly json: Json; readonly pointer: string | undefined } {
    const { $ref } = part as Json;
    if (typeof $ref !== "string") return { json: part as Json, pointer: undefined };
    return { json: this.resolve($ref), pointer: $ref };
  }

  #operation(path: string, method: string, item: Json): Operation {
    const operation = item[method] as Json;
    const body = operation.requestBody as { required: boolean; content: Readonly<Record<string, Json>> } | undefined;
    const given = [...((item.parameters as unknown[]) ?? []), ...((operation.parameters as unknown[]) ?? [])];
    const here = `#/paths/${escaped(path)}/${method}/responses`;
    const responses = Object.entries(operation.responses as Json).map(([status, response]) => {
      const { json, pointer = `${here}/${status}` } = this.#deref(response);
      return [Number(status), this.#response(json, pointer)] as const;
    });
    return {
      id: operation.operationId as string,
      method: method.toUpperCase(),
      path,
      isOpen: Array.isArray(operation.security) && operation.security.length === 0,
      parameters: given.map((each) => parameterOf(this.#deref(each).json)),
      body: body && { required: body.required, schema: body.content["application/json"]!.schema as JsonSchema },
      responses: new Map(responses),
    };
  }

  #response(response: Json, pointer: string): DocumentedResponse {
    const { content = {}, headers = {} } = response as { content?: Json; headers?: Json };
    return {
      content: new Map(
        Object.entries(content as Readonly<Record<string, Json>>).map(([type, { schema }]) => [
          type,
          schema === undefined ? undefined : `${pointer}/content/${escaped(type)}/schema`,
        ]),
      ),
      headers: new Map(
        Object.entries(headers).map(([name, header]) => {
          const at = this.#deref(header).pointer ?? `${pointer}/headers/${escaped(name)}`;
          return [name.toLowerCase(), `${at}/schema`];
        }),
      ),
    };
  }
}

function parameterOf(json: Json): Parameter {
  const content = json.content as Readonly<Record<string, Json>> | undefined;
  return {
    name: json.name as string,
    in: json.in as Parameter["in"],
    required: json.required === true,
    schema: (content?.["application/json"]?.schema ?? json.schema) as JsonSchema,
    isJson: content !== undefined,
  };
}

/** For a part of a JSON pointer that stands in a URI. */
function escaped(part: string): string {
  return encodeURIComponent(part.replaceAll("~", "~0").replaceAll("/", "~1"));
}

/** The same schema with its references leading into the document, wherever it stands itself. */
function rooted(part: unknown): unknown {
  if (Array.isArray(part)) return part.map(rooted);
  if (typeof part !== "object" || part === null) return part;
  return Object.fromEntries(
    Object.entries(part).map(([key, value]) => [
      key,
      key === "$ref" && typeof value === "string" && value.startsWith("#") ? `document${value}` : rooted(value),
    ]),
  );
}
