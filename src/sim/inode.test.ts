import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { SeededRandom } from "../base/random.ts";
import { Inode, sectorBytes } from "./inode.ts";

const fileBytesMax = 40_000;

describe("a simulated file against a plain array of bytes", () => {
  test("reads what was written, however writes, truncations and syncs are mixed", () => {
    for (let seed = 0; seed < 300; seed++) {
      const random = new SeededRandom(`plain ${seed}`);
      const inode = new Inode();
      let model = new Uint8Array(0);
      const resize = (sizeBytes: number) => {
        const resized = new Uint8Array(sizeBytes);
        resized.set(model.subarray(0, sizeBytes));
        model = resized;
      };
      for (let step = 0; step < 40; step++) {
        const position = random.integer(fileBytesMax);
        const length = random.integer(random.pick([10, 600, 9000]));
        switch (random.integer(6)) {
          case 0:
            inode.truncate(position, random);
            resize(position);
            break;
          case 1:
            inode.completeSync(inode.now, inode.sizeBytes);
            break;
          case 2:
            inode.failSync(inode.now, random);
            break;
          default: {
            const bytes = random.chance(0.2) ? new Uint8Array(length) : random.bytes(length);
            inode.write(position, bytes, random);
            if (length === 0) break;
            if (position + length > model.length) resize(position + length);
            model.set(bytes, position);
            if (random.chance(0.5)) inode.completeRange(position, length);
          }
        }
        assert.equal(inode.sizeBytes, model.length);
        const from = random.integer(fileBytesMax);
        const found = inode.read(from, 3000);
        assert.deepEqual(
          Buffer.from(found),
          Buffer.from(model.subarray(from, from + 3000)),
          `seed ${seed}, step ${step}`,
        );
      }
      assert.deepEqual(Buffer.from(inode.clone().read(0, fileBytesMax * 2)), Buffer.from(model));
    }
  });

  test("holds in each sector after a crash the last synced version or a later one, unless a sync failed meanwhile", () => {
    const sectors = 24;
    let lateVersions = 0;
    for (let seed = 0; seed < 500; seed++) {
      const random = new SeededRandom(`crash ${seed}`);
      const inode = new Inode();
      const whole = new Uint8Array(sectors * sectorBytes);
      inode.write(0, whole.fill(255), random);
      inode.completeSync(inode.now, inode.sizeBytes);
      // Per sector, the versions that the platter may hold: the newest is the last.
      const allowed: number[][] = Array.from({ length: sectors }, () => [255]);
      // Sectors that a failed sync may have lost, until they are written again: no later sync vouches for them (I3).
      const mayBeLost = new Set<number>();
      let mark: { readonly now: number; readonly lengths: readonly number[] } | undefined;
      for (let version = 1; version < 60; version++) {
        const first = random.integer(sectors);
        const count = 1 + random.integer(Math.min(12, sectors - first));
        const bytes = new Uint8Array(count * sectorBytes).fill(version);
        inode.write(first * sectorBytes, bytes, random);
        for (let sector = first; sector < first + count; sector++) {
          allowed[sector]!.push(version);
          mayBeLost.delete(sector);
        }
        if (random.chance(0.2)) {
          inode.completeRange(first * sectorBytes, bytes.length);
          for (let sector = first; sector < first + count; sector++) allowed[sector] = [version];
          mark = undefined;
        } else if (mark === undefined && random.chance(0.3)) {
          const lengths = allowed.map((versions, sector) => (mayBeLost.has(sector) ? 1 : versions.length));
          mark = { now: inode.now, lengths };
        } else if (mark !== undefined && random.chance(0.3)) {
          const { now, lengths } = mark;
          mark = undefined;
          if (random.chance(0.2)) {
            inode.failSync(now, random);
            for (let sector = 0; sector < sectors; sector++) mayBeLost.add(sector);
          } else {
            inode.completeSync(now, inode.sizeBytes);
            for (const [sector, versions] of allowed.entries()) versions.splice(0, lengths[sector]! - 1);
          }
        }
      }
      const before = inode.read(0, whole.length);
      inode.crash(random);
      const after = inode.read(0, whole.length);
      for (let sector = 0; sector < sectors; sector++) {
        const bytes = after.subarray(sector * sectorBytes, (sector + 1) * sectorBytes);
        assert(new Set(bytes).size === 1, `seed ${seed}: sector ${sector} is torn`);
        assert(allowed[sector]!.includes(bytes[0]!), `seed ${seed}: sector ${sector} holds ${bytes[0]}`);
        if (bytes[0] !== before[sector * sectorBytes]) lateVersions++;
      }
      assert.deepEqual(Buffer.from(inode.clone().read(0, whole.length)), Buffer.from(after));
      // A second crash finds nothing to lose.
      assert.deepEqual(inode.crash(random), { sectorsKept: 0, sectorsLost: 0 });
    }
    assert(lateVersions > 500, `${lateVersions}`);
  });
});
