/**
 * Onefold over HTTP. Its limit is the same load on a bare `node:http` server that parses the same requests and answers with the same
 * JSON (`process/bare-http.ts`).
 *
 * Calls go without a session or an idempotency key, as a plain HTTP client's do: none of them is ever sent twice.
 */
import { type ErrorCode, OnefoldError, Refused } from "../../src/index.ts";
import { closedLoop, warmConcurrency } from "../load/closed-loop.ts";
import { benchSystem } from "../system.ts";
import type { BareServer } from "./bare-http.ts";
import { HttpConnections } from "./http-connections.ts";
import { type BenchClient, onefoldOperations } from "./onefold-operations.ts";
import type { Limit, LimitQuestion, Subject } from "./subject.ts";

/** One call as it went over the wire. */
interface SampleCall {
  readonly method: "GET" | "POST";
  readonly path: string;
  readonly input: unknown;
  readonly answer: unknown;
}

/** So many of the measured calls are noted, to be made again on the bare server. */
const samplesMax = 1000;

export interface HttpOptions {
  /** Of a node on loopback that serves the benchmark's system. */
  readonly port: number;
  /** `startBareHttp`, wherever it runs. Called when it is first needed, so that it is warm for all that come after. */
  readonly startBareHttp: () => Promise<BareServer>;
}

export function openHttp({ port, startBareHttp }: HttpOptions): Subject {
  const connections = new HttpConnections(port);
  let bare: Promise<BareServer> | undefined;
  let samples: SampleCall[] = [];
  const call = async (method: SampleCall["method"], path: string, input: unknown): Promise<unknown> => {
    const { status, body } = await connections.request(method, path, input);
    if (status !== 200) throw errorOf(status, body);
    if (samples.length < samplesMax) samples.push({ method, path, input, answer: body });
    return body;
  };
  return {
    operations: onefoldOperations(httpClient(call)),
    mark: () => {
      samples = [];
      return async (question) => {
        bare ??= startBareHttp();
        return await limit(samples, (await bare).port, question);
      };
    },
    close: async () => {
      connections.close();
      await (await bare)?.close();
    },
  };
}

type MakeCall = (method: SampleCall["method"], path: string, input: unknown) => Promise<unknown>;

/** A client of the benchmark's system: a method for each command, query and transaction. */
function httpClient(call: MakeCall): BenchClient {
  const { entities, transactions } = benchSystem.definition;
  const client: Record<string, unknown> = {};
  for (const [kind, { commands, queries }] of entities) {
    // On a prototype, so that a call makes one small object, as the other clients' do.
    const methods: Record<string, unknown> = {};
    for (const name of commands.keys()) {
      methods[name] = function (this: EntityPath, input?: unknown) {
        return call("POST", this.path + name, input);
      };
    }
    for (const name of queries.keys()) {
      methods[name] = function (this: EntityPath) {
        // No query of the benchmark takes an input.
        return call("GET", this.path + name, undefined);
      };
    }
    client[kind] = (id: string) => {
      const entity: EntityPath = Object.create(methods);
      entity.path = `/v1/entities/${kind}/${encodeURIComponent(id)}/`;
      return entity;
    };
  }
  for (const name of transactions.keys()) {
    client[name] = (input?: unknown) => call("POST", `/v1/transactions/${name}`, input);
  }
  return client as unknown as BenchClient;
}

/** What the methods of an entity are called on. */
interface EntityPath {
  path: string;
}

function errorOf(status: number, body: unknown): Error {
  const problem = body as { code: string; detail: string; refused?: boolean; details?: unknown };
  if (problem.refused === true) return new Refused(problem.code, problem.details);
  return new OnefoldError(problem.code as ErrorCode, `HTTP ${status}: ${problem.detail}`);
}

async function limit(samples: readonly SampleCall[], barePort: number, question: LimitQuestion): Promise<Limit> {
  const { concurrency, seconds, workload } = question;
  const connections = new HttpConnections(barePort);
  const answers = samples.map(({ answer }) => answer);
  await connections.request("PUT", "/", answers);
  const operation = async (index: number) => {
    const { method, path, input } = samples[index % samples.length]!;
    await connections.request(method, path, input);
  };
  await closedLoop({ concurrency: Math.max(concurrency, warmConcurrency), seconds: seconds / 2, operation });
  const { operationsPerSecond } = await closedLoop({ concurrency, seconds, operation });
  connections.close();
  const callsPerOperation = workload.readsPerOperation + workload.writesPerOperation;
  return { operationsPerSecond: operationsPerSecond / callsPerOperation };
}
