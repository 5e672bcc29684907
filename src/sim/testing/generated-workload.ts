/**
 * A workload for a system of which nothing is known but its definition: commands, queries and transactions at random, with inputs by
 * their schemas, on a few entities that all clients share.
 *
 * GW1  Refusals, and inputs that a schema refuses for what JSON Schema can't say, are answers like others. Whatever else goes wrong
 *      fails the run: code that throws, a state that its own schema refuses.
 */
import { OnefoldError, Refused } from "../../base/errors.ts";
import { SeededRandom } from "../../base/random.ts";
import type { Value } from "../../base/value.ts";
import type { Schema, SystemDefinition, SystemHandle } from "../../entity/definition.ts";
import { acceptsNothing, schemaConverter } from "../../gateway/openapi-schema.ts";
import { commonIds, type JsonSchema, RandomValues } from "./random-values.ts";
import { BrokenPromise, type Simulation, type Workload } from "./simulation.ts";

const callsPerWorkload = 30;
const thinkMsMax = 150;

interface Input {
  readonly schema: JsonSchema;
  readonly mayBeAbsent: boolean;
}

/** One thing that may be called. */
interface Operation {
  readonly kind: string | undefined;
  readonly name: string;
  readonly input: Input | undefined;
}

/** The same calls by a client whose types the compiler doesn't know. */
type AnyCall = (input?: Value) => Promise<unknown>;
type AnyEntity = (id: string) => Readonly<Record<string, AnyCall>>;
type AnyClient = Readonly<Record<string, AnyCall | AnyEntity>>;

/** Reads the schemas of `system`. A schema of which nothing is known gets inputs that are anything. */
export async function generatedSimulation<S extends SystemHandle>(system: S): Promise<Simulation<S>> {
  const operations = await operationsOf(system.definition);
  if (operations.length === 0) return { workload: async () => undefined };
  return { workload: (context) => work(operations, context) };
}

async function work<S extends SystemHandle>(operations: readonly Operation[], context: Workload<S>): Promise<void> {
  const { client, random, sleep, note } = context;
  for (let count = 0; count < callsPerWorkload; count++) {
    const { kind, name, input } = random.pick(operations);
    const value = input === undefined ? undefined : inputOf(input, new SeededRandom(random.integer(2 ** 31)));
    const id = random.pick(commonIds);
    const what = kind === undefined ? name : `${kind}/${id} ${name}`;
    note(`${what} ${shown(value)}`);
    const any = client as unknown as AnyClient;
    const call = kind === undefined ? (any[name] as AnyCall) : bound((any[kind] as AnyEntity)(id), name);
    await outcomeOf(what, value, () => call(value));
    await sleep(random.next() * thinkMsMax);
  }
}

function bound(entity: Readonly<Record<string, AnyCall>>, name: string): AnyCall {
  return (input) => entity[name]!(input);
}

/** GW1. */
async function outcomeOf(what: string, input: Value | undefined, call: () => Promise<unknown>): Promise<void> {
  try {
    await call();
  } catch (error) {
    if (error instanceof Refused) return;
    if (!(error instanceof OnefoldError)) throw error;
    if (error.code === "invalid-input" || error.code === "too-large" || error.code === "invalid-id") return;
    throw new BrokenPromise(
      `${what.replace(/\/\S+/, "")} ${error.code}`,
      `${what} with the input ${shown(input)} ended with ${error.code}: ${error.message}`,
      { cause: error },
    );
  }
}

function inputOf({ schema, mayBeAbsent }: Input, random: SeededRandom): Value | undefined {
  if (mayBeAbsent && random.chance(0.3)) return undefined;
  return new RandomValues(random, schema).next();
}

async function operationsOf(definition: SystemDefinition): Promise<readonly Operation[]> {
  const found: { readonly kind: string | undefined; readonly name: string; readonly schema: Schema | undefined }[] = [];
  for (const { name: kind, commands, queries } of definition.entities.values()) {
    for (const { name, input } of [...commands.values(), ...queries.values()])
      found.push({ kind, name, schema: input });
  }
  for (const { name, input } of definition.transactions.values()) found.push({ kind: undefined, name, schema: input });
  const converter = await schemaConverter(found.flatMap(({ schema }) => (schema === undefined ? [] : [schema])));
  return found.map(({ kind, name, schema }) => ({
    kind,
    name,
    input:
      schema === undefined
        ? undefined
        : { schema: converter.convert(schema, "#"), mayBeAbsent: acceptsNothing(schema) },
  }));
}

function shown(value: Value | undefined): string {
  if (value === undefined) return "";
  const text = JSON.stringify(value, (_key, each: unknown) => (typeof each === "bigint" ? String(each) : each));
  return text.length > 200 ? `${text.slice(0, 199)}…` : text;
}
