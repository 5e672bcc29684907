/** The start gate while the engine's servers come up one after the other, as after a power cut. */
import assert from "node:assert/strict";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, test } from "node:test";
import { natsServerForTests } from "../../../../scripts/nats-server.ts";
import { limits } from "../../../base/limits.ts";
import { OnefoldError } from "../../../base/errors.ts";
import { clientUrl, type NatsPlan, natsConfig, natsPlan } from "../../../cli/cluster/nats-plan.ts";
import { NatsProcess } from "../../../cli/cluster/nats-process.ts";
import { laxitiesOfServers } from "./server-facts.ts";

describe("the start gate, asking servers that come up", { timeout: 120_000 }, () => {
  const cleanups: (() => Promise<unknown>)[] = [];
  afterEach(async () => {
    for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
  });

  async function plan(): Promise<{ readonly plan: NatsPlan; readonly start: (index: number) => Promise<void> }> {
    const { path: program } = await natsServerForTests();
    const directory = await mkdtemp(join(tmpdir(), "onefold-forming-"));
    cleanups.push(() => rm(directory, { recursive: true, force: true }));
    const plan = await natsPlan({ directory, serverCount: 3 });
    const start = async (index: number): Promise<void> => {
      const member = plan.members[index]!;
      await mkdir(join(directory, member.name));
      const path = join(directory, member.name, "server.conf");
      await writeFile(path, natsConfig(plan, member, { directory }));
      const server = new NatsProcess(program, path);
      cleanups.push(() => server.kill());
    };
    return { plan, start };
  }

  test("does not take the first of three for an engine of one, and waits", async () => {
    const { plan: three, start } = await plan();
    const ask = () =>
      laxitiesOfServers({ servers: [clientUrl(three.members[0]!)], login: three.systemAccount }, limits, {
        regions: [],
        replicaCount: 3,
      });
    await start(0);
    const endMs = performance.now() + 60_000;
    const unavailable = (error: unknown) => error instanceof OnefoldError && error.code === "unavailable";
    /** What the gate says once the server listens. */
    const asked = async (): Promise<readonly string[] | "not yet"> => {
      for (;;) {
        try {
          return await ask();
        } catch (error) {
          if (!unavailable(error)) throw error;
          if ((error as OnefoldError).message.includes("elected")) return "not yet";
          assert.ok(performance.now() < endMs, "the server listens");
        }
      }
    };
    assert.equal(await asked(), "not yet");
    await start(1);
    await start(2);
    for (let said = await asked(); ; said = await asked()) {
      // In the moment in which two have a leader, and the third is not known, the engine is one of two.
      if (said !== "not yet" && said.length === 0) break;
      assert.ok(performance.now() < endMs, `it ends well, and not with ${said}`);
    }
  });
});
