/** The engine on real servers, while nothing fails: one server, which is lax, and three. */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { appendSurely, engineLogSuite } from "../../engine-log.suite.ts";
import { pass, TestServers, until } from "./servers.fixture.ts";

for (const serverCount of [1, 3] as const) {
  describe(`NATS with ${serverCount} server${serverCount === 1 ? "" : "s"}`, () => {
    let servers: TestServers;
    before(async () => {
      servers = await TestServers.start({ serverCount });
    });
    after(() => servers.dispose());

    engineLogSuite(`on ${serverCount} server${serverCount === 1 ? "" : "s"}`, () => ({
      connect: () => servers.connect(),
      pass,
      namePrefix: servers.newPrefix(),
    }));

    test("what makes the engine lax is named, and nothing where nothing does", async () => {
      const engine = await servers.connect();
      await engine.create(`${servers.newPrefix()}log`, { firstSequence: 1 });
      const laxities = await engine.laxities();
      if (serverCount === 3) assert.deepEqual(laxities, []);
      else assert.ok(laxities.length > 0 && laxities.every((sentence) => /server/.test(sentence)), laxities.join("\n"));
    });

    test("a log of the largest records is read in pieces of about the size that was asked for", async () => {
      const engine = await servers.connect();
      const log = await engine.create(`${servers.newPrefix()}log`, { firstSequence: 1 });
      for (let sequence = 1; sequence <= 5; sequence++) {
        await appendSurely(log, sequence, new Uint8Array(512 * 1024).fill(sequence));
      }
      await until(async () => (await log.bounds()).last === 5);
      const found = await log.readMany(2, 1024 * 1024);
      assert.deepEqual(
        found.map((bytes) => [bytes.length, bytes[0]]),
        [
          [512 * 1024, 2],
          [512 * 1024, 3],
        ],
      );
    });
  });
}
