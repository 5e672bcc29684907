/**
 * Onefold over a WebSocket, with its own client: one connection for all callers, exactly once, as the client does by default. Its limit is
 * the same load on a bare `ws` server that sends every frame back (`process/bare-socket.ts`).
 */
import { connectOn } from "../../src/client/connect.ts";
import { nodePlatform } from "../../src/client/platform/node.ts";
import type { ClientPlatform } from "../../src/client/platform.ts";
import { Decoder } from "../../src/wire/decoder.ts";
import { toServer } from "../../src/wire/protocol.ts";
import type { Value } from "../../src/base/value.ts";
import { closedLoop, warmConcurrency } from "../load/closed-loop.ts";
import type { benchSystem } from "../system.ts";
import type { BareServer } from "./bare-http.ts";
import { type CallMessage, EchoCalls } from "./echo-calls.ts";
import { onefoldOperations } from "./onefold-operations.ts";
import type { Limit, LimitQuestion, Subject } from "./subject.ts";

/** So many of the measured calls are noted, to be sent again to the bare server. */
const samplesMax = 1000;

export interface SocketOptions {
  /** Of a node on loopback that serves the benchmark's system. */
  readonly port: number;
  /** `startBareSocket`, wherever it runs. Called when it is first needed, so that it is warm for all that come after. */
  readonly startBareSocket: () => Promise<BareServer>;
  /** Whether calls are noted to be sent to the bare server; default true. */
  readonly isSampled?: boolean;
}

export function openSocket({ port, startBareSocket, isSampled = true }: SocketOptions): Subject {
  const sample = new Sample();
  let bare: Promise<BareServer> | undefined;
  const client = connectOn<typeof benchSystem>(
    isSampled ? noting(sample) : nodePlatform(),
    `http://127.0.0.1:${port}`,
    { transport: "socket" },
  );
  return {
    operations: onefoldOperations(client),
    mark: () => {
      sample.begin();
      return async (question) => {
        bare ??= startBareSocket();
        return await limit(sample.calls(), (await bare).port, question);
      };
    },
    close: async () => {
      client.$close();
      await (await bare)?.close();
    },
  };
}

/** Node's platform, but that the frames that are sent are noted. */
function noting(sample: Sample): ClientPlatform {
  const platform = nodePlatform();
  const open = platform.openSocket!;
  return {
    ...platform,
    openSocket: (url, protocol, headers, listener) => {
      const socket = open(url, protocol, headers, listener);
      const send = socket.send.bind(socket);
      return Object.assign(socket, {
        send: (frame: Uint8Array) => {
          sample.note(frame);
          send(frame);
        },
      });
    },
  };
}

/** Keeps the first frames since it was last begun. */
class Sample {
  #frames: Uint8Array[] = [];

  begin(): void {
    this.#frames = [];
  }

  note(frame: Uint8Array): void {
    if (this.#frames.length < samplesMax) this.#frames.push(frame);
  }

  /** The calls in the frames, `samplesMax` at most. */
  calls(): readonly CallMessage[] {
    const calls: CallMessage[] = [];
    const decoder = new Decoder();
    for (const frame of this.#frames) {
      decoder.open(frame);
      for (let left = decoder.array(); left > 0 && calls.length < samplesMax; left--) {
        const parts: Value[] = [];
        for (let length = decoder.array(); length > 0; length--) parts.push(decoder.value());
        if (parts[0] === toServer.call || parts[0] === toServer.transaction) calls.push(parts);
      }
    }
    return calls;
  }
}

async function limit(calls: readonly CallMessage[], barePort: number, question: LimitQuestion): Promise<Limit> {
  const { concurrency, seconds, workload } = question;
  const echo = await EchoCalls.open(barePort);
  const operation = (index: number) => echo.call(calls[index % calls.length]!);
  await closedLoop({ concurrency: Math.max(concurrency, warmConcurrency), seconds: seconds / 2, operation });
  const { operationsPerSecond } = await closedLoop({ concurrency, seconds, operation });
  echo.close();
  const callsPerOperation = workload.readsPerOperation + workload.writesPerOperation;
  return { operationsPerSecond: operationsPerSecond / callsPerOperation };
}
