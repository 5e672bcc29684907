/** Fuzzes a system through its real gateway, on a real embedded node, by its own OpenAPI document. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import type { SystemHandle } from "../../src/entity/definition.ts";
import { serve } from "../../src/runtime/serve.ts";
import { usualIds } from "./json-arbitrary.ts";
import { ApiDocument, type Operation } from "./document.ts";
import { faultOf } from "./judgement.ts";
import { type FuzzRequest, type Knowledge, requestOf, requestsOf } from "./request-arbitrary.ts";
import { FuzzClient } from "./wire.ts";

export interface FuzzOptions {
  readonly system: SystemHandle;
  readonly credentials?: readonly string[];
  readonly seed: number;
  /** Stops after so long, wherever it is. */
  readonly forMs: number;
}

export interface FuzzSummary {
  readonly system: string;
  readonly seed: number;
  readonly requestCount: number;
  /** Requests whose input the document accepts, or needs none, and in which nothing else was wrong. */
  readonly properCount: number;
  readonly byStatus: ReadonlyMap<number, number>;
  /** Operations, but the general ones, that never answered below 400. */
  readonly neverDone: readonly string[];
  readonly operationCount: number;
}

/**
 * Requests of one operation in the first round: until so many have succeeded, and at most the proper ones of so many. Several of
 * what changes something, so that what needs it finds it: a transfer, money.
 */
const successesOf = { reading: 2, changing: 12 };
const samplesMax = 500;
/**
 * Always the same first round: whether it reaches every operation must not depend on luck. Each operation has a seed of its
 * own, or what the withdrawals take would be exactly what the deposits gave.
 */
const firstRoundSeed = 1;

/** Throws, with the request and the seed that give it again, where a reply is not as the document says. */
export async function fuzz(options: FuzzOptions): Promise<FuzzSummary> {
  const { system, credentials = [], seed, forMs } = options;
  const directory = await mkdtemp(join(tmpdir(), "onefold-fuzz-"));
  const served = await serve({
    system,
    dataDirectory: directory,
    hostname: "127.0.0.1",
    port: 0,
    trace: () => undefined,
  });
  const client = new FuzzClient(served.url);
  const authorization: Record<string, string> = credentials.length === 0 ? {} : { authorization: credentials[0]! };
  try {
    const document = new ApiDocument(
      JSON.parse(
        (await client.send({ method: "GET", path: "/openapi.json", headers: authorization, body: undefined })).body,
      ),
    );
    const sessions: string[] = [];
    for (let i = 0; i < 3; i++) {
      const reply = await client.send({
        method: "POST",
        path: "/v1/sessions",
        headers: authorization,
        body: undefined,
      });
      sessions.push((JSON.parse(reply.body) as { readonly session: string }).session);
    }
    const knowledge: Knowledge = { sessions, credentials, ids: [...usualIds, "a/b", "日本", "forbidden"] };
    const tally = new Tally();
    const ask = async (request: FuzzRequest): Promise<void> => {
      const reply = await client.send(request).catch((cause: unknown) => {
        throw new Error(describe("no whole reply came", request, { status: 0, body: String(cause) }), { cause });
      });
      tally.note(request, reply.status);
      const fault = faultOf(document, request, reply);
      if (fault !== undefined) throw new Error(describe(fault, request, reply));
    };
    // First a round of all operations, each until it has succeeded, so that there is something to meet; then anything.
    for (const [index, operation] of document.operations.entries()) {
      const wanted = operation.method === "POST" ? successesOf.changing : successesOf.reading;
      const samples = fc.sample(requestOf(document, operation, knowledge), {
        seed: firstRoundSeed + index,
        numRuns: samplesMax,
      });
      // Names of the system in general paths are nothing that a schema could call proper.
      const isNamed = operation.path.includes("{kind}") || operation.path === "/v1/call";
      for (const request of samples.filter(({ isProper }) => isProper || isNamed)) {
        await ask(request);
        if (tally.doneCount(operation) >= wanted) break;
      }
    }
    const property = fc.asyncProperty(requestsOf(document, knowledge), ask);
    const result = await fc.check(property, { seed, numRuns: 10_000_000, interruptAfterTimeLimit: forMs });
    if (result.errorInstance instanceof Error) {
      const { message } = result.errorInstance;
      throw new Error(`seed ${seed}, path ${result.counterexamplePath}: ${message}`, { cause: result.errorInstance });
    }
    return tally.summary(system.definition.name, seed, document);
  } finally {
    client.close();
    await served.close({ noticeMs: 0 });
    await rm(directory, { recursive: true });
  }
}

class Tally {
  readonly #byStatus = new Map<number, number>();
  readonly #done = new Map<string, number>();
  #requestCount = 0;
  #properCount = 0;

  note(request: FuzzRequest, status: number): void {
    this.#requestCount++;
    if (request.isProper) this.#properCount++;
    this.#byStatus.set(status, (this.#byStatus.get(status) ?? 0) + 1);
    const { operation } = request;
    if (operation?.method === request.method && status < 400)
      this.#done.set(operation.id, this.doneCount(operation) + 1);
  }

  /** How often it has answered below 400. */
  doneCount({ id }: Operation): number {
    return this.#done.get(id) ?? 0;
  }

  summary(system: string, seed: number, document: ApiDocument): FuzzSummary {
    return {
      system,
      seed,
      requestCount: this.#requestCount,
      properCount: this.#properCount,
      byStatus: new Map([...this.#byStatus].sort(([a], [b]) => a - b)),
      neverDone: document.operations
        .filter((each) => !isGeneral(each))
        .map(({ id }) => id)
        .filter((id) => !this.#done.has(id)),
      operationCount: document.operations.length,
    };
  }
}

/** A path that others have with names in it: its requests are theirs. */
function isGeneral({ path }: Operation): boolean {
  return path.endsWith("/{operation}") || path === "/v1/transactions/{name}";
}

function describe(
  fault: string,
  request: FuzzRequest,
  reply: { readonly status: number; readonly body: string },
): string {
  const { operation, method, path, headers, inputText, body, isProper } = request;
  const sent =
    inputText ??
    (body === undefined ? "" : `${body.length} bytes: ${Buffer.from(body.subarray(0, 200)).toString("latin1")}`);
  return [
    fault,
    `${operation?.id ?? "no operation"} (${isProper ? "only the input decides" : "not all as documented"})`,
    `${method} ${path}`,
    JSON.stringify(headers).slice(0, 1000),
    sent.slice(0, 1000),
    `answer ${reply.status}: ${reply.body.slice(0, 1000)}`,
  ].join("\n");
}

/** A table for people. */
export function summaryText(summary: FuzzSummary): string {
  const { system, seed, requestCount, properCount, byStatus, neverDone, operationCount } = summary;
  const statuses = [...byStatus].map(([status, count]) => `${status}: ${count}`).join(", ");
  const missed =
    neverDone.length === 0
      ? "all of them answered below 400 at least once"
      : `never below 400: ${neverDone.join(", ")}`;
  return [
    `${system}: ${requestCount} requests (${properCount} of them proper) to ${operationCount} operations, seed ${seed}`,
    `  by status  ${statuses}`,
    `  ${missed}`,
  ].join("\n");
}
