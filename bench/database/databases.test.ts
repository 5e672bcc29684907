import assert from "node:assert/strict";
import { chmod, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { openPostgres } from "../subject/postgres.ts";
import { openRedis } from "../subject/redis.ts";
import { measureMoment } from "../workload/workload.fixture.ts";
import { findPostgres, startPostgres } from "./postgres-server.ts";
import { startRedis } from "./redis-server.ts";
import { findProgram } from "./server-process.ts";

const moment = { seconds: 0.03, limitSeconds: 0, concurrencies: [16] };

/** Tests install nothing. */
const hasRedis = (await findProgram("redis-server")) !== undefined;
const hasPostgres = (await findPostgres()) !== undefined;

describe("every workload runs and its check holds", async () => {
  const directory = await mkdtemp(join(tmpdir(), "onefold-bench-test-"));
  await chmod(directory, 0o711);
  after(() => rm(directory, { recursive: true, force: true }));

  test("on Redis that syncs every write", { skip: hasRedis ? false : "redis-server is not installed" }, async () => {
    const server = await startRedis(join(directory, "redis"));
    try {
      assert.match(server.version, /^Redis \d/);
      const subject = await openRedis(server.port);
      try {
        await measureMoment(subject, moment);
      } finally {
        await subject.close();
      }
    } finally {
      await server.close();
    }
  });

  test("on PostgreSQL as it comes", { skip: hasPostgres ? false : "PostgreSQL is not installed" }, async () => {
    const server = await startPostgres(join(directory, "postgres"));
    try {
      assert.match(server.version, /^PostgreSQL \d/);
      const subject = await openPostgres(server.port);
      try {
        await measureMoment(subject, moment);
      } finally {
        await subject.close();
      }
    } finally {
      await server.close();
    }
  });
});
