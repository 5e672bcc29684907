/** A system's own commands, queries and transactions as paths of the OpenAPI document, with their schemas. */
import type {
  CommandDefinition,
  Documentation,
  EntityDefinition,
  QueryDefinition,
  Schema,
  SystemDefinition,
  TransactionDefinition,
} from "../entity/definition.ts";
import { problemName, problemResponse, refusalSchema } from "./openapi-errors.ts";
import {
  anyValue,
  callParameters,
  json,
  ok,
  parameter,
  problems,
  readParameters,
  sequenceHeader,
} from "./openapi-parts.ts";
import { acceptsNothing, type JsonSchema, type SchemaConverter, schemasPointer } from "./openapi-schema.ts";

export interface OperationDocuments {
  readonly paths: Readonly<Record<string, object>>;
  /** The schemas to which they refer, by name: `account.deposit.input`. */
  readonly schemas: Readonly<Record<string, JsonSchema>>;
}

/** Every schema of the system that the document shows. */
export function* schemasOf(system: SystemDefinition): Iterable<Schema> {
  const calls: (CommandDefinition | QueryDefinition | TransactionDefinition)[] = [...system.transactions.values()];
  for (const { commands, queries } of system.entities.values()) calls.push(...commands.values(), ...queries.values());
  for (const { input, documentation } of calls) {
    if (input !== undefined) yield input;
    if (documentation?.output !== undefined) yield documentation.output;
    for (const details of documentation?.refusals?.values() ?? []) if (details !== "no details") yield details;
  }
}

export function documentOperations(system: SystemDefinition, converter: SchemaConverter): OperationDocuments {
  const writer = new OperationWriter(converter, system.options.authenticate !== undefined);
  for (const entity of system.entities.values()) {
    for (const command of entity.commands.values()) writer.command(entity, command);
    for (const query of entity.queries.values()) writer.query(entity, query);
  }
  for (const transaction of system.transactions.values()) writer.transaction(transaction);
  return writer;
}

/** Gathers paths and the schemas that they need. */
class OperationWriter implements OperationDocuments {
  readonly paths: Record<string, object> = {};
  readonly schemas: Record<string, JsonSchema> = {};
  readonly #converter: SchemaConverter;
  readonly #isGuarded: boolean;

  constructor(converter: SchemaConverter, isGuarded: boolean) {
    this.#converter = converter;
    this.#isGuarded = isGuarded;
  }

  command(entity: EntityDefinition, command: CommandDefinition): void {
    const name = `${entity.name}.${command.name}`;
    this.paths[`/v1/entities/${entity.name}/{id}/${command.name}`] = {
      parameters: [parameter("Id")],
      post: {
        operationId: name,
        summary: `Runs the command ${name}.`,
        tags: [entity.name],
        ...describe(command.documentation),
        parameters: [...callParameters, parameter("Traceparent")],
        requestBody: this.#body(name, command.input),
        responses: this.#responses(name, command.documentation, [404, 413, 415]),
      },
    };
  }

  query(entity: EntityDefinition, query: QueryDefinition): void {
    const name = `${entity.name}.${query.name}`;
    const { input } = query;
    const inputParameter = {
      name: "input",
      in: "query",
      required: input !== undefined && !acceptsNothing(input),
      description: "The query's input, as tagged JSON.",
      content: json(this.#input(name, input)),
    };
    this.paths[`/v1/entities/${entity.name}/{id}/${query.name}`] = {
      parameters: [parameter("Id")],
      get: {
        operationId: name,
        summary: `Runs the query ${name}.`,
        tags: [entity.name],
        ...describe(query.documentation),
        parameters: [inputParameter, ...readParameters, parameter("Traceparent")],
        responses: this.#responses(name, query.documentation, [404]),
      },
    };
  }

  transaction(transaction: TransactionDefinition): void {
    const { name } = transaction;
    this.paths[`/v1/transactions/${name}`] = {
      post: {
        operationId: name,
        summary: `Runs the transaction ${name}.`,
        tags: ["transactions"],
        ...describe(transaction.documentation),
        parameters: [...callParameters, parameter("Traceparent")],
        requestBody: this.#body(name, transaction.input),
        responses: this.#responses(name, transaction.documentation, [404, 413, 415]),
      },
    };
  }

  #body(name: string, input: Schema | undefined): object {
    const required = input !== undefined && !acceptsNothing(input);
    return { description: "The input, as tagged JSON.", required, content: json(this.#input(name, input)) };
  }

  #input(name: string, input: Schema | undefined): JsonSchema {
    return input === undefined ? { type: "null" } : this.#named(`${name}.input`, input);
  }

  #output(name: string, output: Schema | undefined): JsonSchema {
    if (output === undefined) return anyValue;
    const schema = this.#named(`${name}.output`, output);
    // What returns nothing answers null.
    return acceptsNothing(output) ? { anyOf: [schema, { type: "null" }] } : schema;
  }

  /** Puts the schema's JSON Schema under this name, and gives a reference to it. */
  #named(name: string, schema: Schema): JsonSchema {
    const pointer = schemasPointer + name;
    this.schemas[name] = this.#converter.convert(schema, pointer);
    return { $ref: pointer };
  }

  #responses(name: string, documentation: Documentation | undefined, more: readonly number[]): object {
    const output = this.#output(name, documentation?.output);
    return {
      200: ok("The output; null where there is none.", json(output), sequenceHeader),
      ...problems({ isGuarded: this.#isGuarded, more }),
      ...this.#refusals(name, documentation?.refusals),
    };
  }

  /** The 422 of an operation that says how it refuses; the others refer to one for any refusal. */
  #refusals(name: string, refusals: Documentation["refusals"]): object {
    if (refusals === undefined) return {};
    const known = [...refusals].map(([code, details], index) => {
      if (details === "no details") return refusalSchema(code, details);
      // A refusal's code may have any characters, a schema's name may not.
      const schema = this.#named(`${name}.refusal${index + 1}`, details);
      return refusalSchema(code, { schema, isOptional: acceptsNothing(details) });
    });
    return { 422: problemResponse(422, { anyOf: [{ $ref: schemasPointer + problemName(422) }, ...known] }) };
  }
}

function describe(documentation: Documentation | undefined): { readonly description?: string } {
  const description = documentation?.description;
  return description === undefined ? {} : { description };
}
