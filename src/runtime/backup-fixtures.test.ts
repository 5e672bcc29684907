import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { describe, test } from "node:test";
import { simulated } from "./backup.fixture.ts";
import { verifyDataDirectory } from "./verify.ts";

const root = new URL("../../test/fixtures/backup/", import.meta.url);

describe("a backup that an earlier version wrote", () => {
  for (const version of readdirSync(root).filter((name) => /^v\d+$/.test(name))) {
    test(`is restored to what it holds: ${version}`, () =>
      simulated(version, async (machine) => {
        const target = machine("target");
        const report = await target.restore(readFileSync(new URL(`${version}/bank.backup`, root)));
        assert.equal(report.systemName, "bank");
        assert.deepEqual((await verifyDataDirectory({ host: target.host })).damages, []);
        const node = await target.open();
        const client = target.client(node);
        const cents: number[] = [];
        for (let i = 0; i < 5; i++) cents.push(await client.account(`a${i}`).balance());
        assert.deepEqual(cents, [70, 131, 102, 103, 0]);
        assert.deepEqual(await client.receiver("r").received(), [7]);
        await client.account("a0").deposit({ cents: 1 });
        await node.snapshot();
        await node.close();
      }));
  }
});
