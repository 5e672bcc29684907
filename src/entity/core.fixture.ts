/** A shard on the real clock, the real timers and the real watchdog, over a log and a store in memory. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import type { OnefoldError } from "../base/errors.ts";
import { limits as defaultLimits, type Limits } from "../base/limits.ts";
import { SeededRandom } from "../base/random.ts";
import { nodeHost } from "../host/node/host.ts";
import { memoryLog } from "../log/engine/memory.ts";
import { appendGenesis, foldGenesis, readGenesis } from "./genesis.ts";
import { inProcessClient } from "../runtime/in-process-client.ts";
import { memoryStore } from "../store/engine/memory.ts";
import { Coordinator } from "../transaction/coordinator.ts";
import type { Client } from "./client-types.ts";
import type { SystemHandle } from "./definition.ts";
import { tester } from "./shard.fixture.ts";
import { Shard } from "./shard.ts";

export interface RealShard<S extends SystemHandle> {
  readonly shard: Shard;
  readonly client: Client<S>;
  readonly stops: readonly OnefoldError[];
}

/** Runs `body` with a shard that serves, and closes it afterwards. */
export async function withRealShard<S extends SystemHandle>(
  system: S,
  limits: Partial<Limits>,
  body: (real: RealShard<S>) => Promise<void>,
): Promise<void> {
  const directory = await mkdtemp(path.join(tmpdir(), "onefold-core-"));
  const host = nodeHost({ dataDirectory: directory, trace: () => undefined });
  const log = memoryLog();
  await appendGenesis(log, host, system.definition.name);
  const store = await memoryStore({ timers: host.timers, random: new SeededRandom("real") }).open();
  const genesis = await log.read(1);
  await store.apply([foldGenesis(genesis!.payload)], log.end!);
  const stops: OnefoldError[] = [];
  const shard = new Shard({
    host,
    limits: { ...defaultLimits, ...limits },
    system: system.definition,
    log,
    store,
    lastTimeMs: genesis!.timeMs,
    secret: readGenesis(store).secret,
    transactions: (core) => new Coordinator(core, host.newScope()),
    onStopped: (error) => stops.push(error),
  });
  shard.start();
  // The host's timers keep no process alive, and a promise does not either.
  const alive = setInterval(() => undefined, 1000);
  try {
    await body({ shard, client: inProcessClient(system, shard, tester), stops });
    await shard.close();
  } finally {
    clearInterval(alive);
    await rm(directory, { recursive: true, force: true });
  }
}
