/**
 * Onefold as a cluster: callers spread over all nodes, each with a client of its own, in turns. It is held against one plain stream of the
 * same servers: a message for each operation, acknowledged before the next, by as many callers.
 */
import { type NatsConnection, connect } from "@nats-io/transport-node";
import { closedLoop, warmConcurrency } from "../load/closed-loop.ts";
import type { Operations } from "../workload/operations.ts";
import type { Limit, LimitQuestion, Subject } from "./subject.ts";

export interface StreamServers {
  readonly servers: readonly string[];
  readonly user: string;
  readonly pass: string;
}

const stream = "PLAIN";
const subject = "plain";
/** About what an increment takes in a batch. */
const messageBytes = 128;
const makeMs = 10_000;
const publishMs = 10_000;

/** `subjects`: the same system through different nodes. */
export function besidePlainStream(subjects: readonly Subject[], servers: StreamServers): Subject {
  let plain: Promise<PlainStream> | undefined;
  return {
    operations: inTurns(subjects.map(({ operations }) => operations)),
    mark: () => async (question) => {
      if (question.workload.writesPerOperation === 0) return undefined;
      plain ??= PlainStream.open(servers);
      return await (await plain).measure(question);
    },
    close: async () => {
      await Promise.all(subjects.map((each) => each.close()));
      await (await plain)?.close();
    },
  };
}

/** Each call to the next of them. */
function inTurns(all: readonly Operations[]): Operations {
  let turn = 0;
  const first = all[0]!;
  const methods = (Object.keys(first) as (keyof Operations)[]).map((name) => {
    const call = (...input: unknown[]): unknown => {
      const operations = all[turn++ % all.length]!;
      return (operations[name] as (...input: unknown[]) => unknown)(...input);
    };
    return [name, call] as const;
  });
  return Object.fromEntries(methods) as unknown as Operations;
}

/** A stream on three servers, as JetStream makes it, and NATS's own client. */
class PlainStream {
  readonly #nats: NatsConnection;
  readonly #payload = new Uint8Array(messageBytes).fill(1);

  private constructor(nats: NatsConnection) {
    this.#nats = nats;
  }

  static async open({ servers, user, pass }: StreamServers): Promise<PlainStream> {
    const nats = await connect({ servers: [...servers], user, pass });
    const config = {
      name: stream,
      subjects: [subject],
      num_replicas: 3,
      storage: "file",
      retention: "limits",
      discard: "new",
    };
    const answer = await nats.request(`$JS.API.STREAM.CREATE.${stream}`, JSON.stringify(config), { timeout: makeMs });
    const { error } = answer.json<{ readonly error?: unknown }>();
    if (error !== undefined) throw new Error(`the plain stream could not be made: ${JSON.stringify(error)}`);
    return new PlainStream(nats);
  }

  async measure({ concurrency, seconds }: LimitQuestion): Promise<Limit> {
    const operation = (): Promise<void> => this.#publish();
    await closedLoop({ concurrency: Math.max(concurrency, warmConcurrency), seconds: seconds / 2, operation });
    const { operationsPerSecond, p50Ms } = await closedLoop({ concurrency, seconds, operation });
    return { plainStreamPerSecond: operationsPerSecond, appendP50Ms: p50Ms };
  }

  close(): Promise<void> {
    return this.#nats.close();
  }

  async #publish(): Promise<void> {
    const answer = await this.#nats.request(subject, this.#payload, { timeout: publishMs });
    const { stream: at, error } = answer.json<{ readonly stream?: string; readonly error?: unknown }>();
    if (at !== stream) throw new Error(`the plain stream did not take a message: ${JSON.stringify(error)}`);
  }
}
