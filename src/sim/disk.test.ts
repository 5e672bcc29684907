import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { SeededRandom } from "../base/random.ts";
import { diskSuite } from "../host/disk.suite.ts";
import { type Disk, DiskError } from "../host/host.ts";
import { SimulatedDisk } from "./disk.ts";
import { crashMoments } from "./life.ts";
import { Scheduler } from "./scheduler.ts";

diskSuite("simulated", async () => {
  const scheduler = new Scheduler();
  const disk = new SimulatedDisk({ scheduler, random: new SeededRandom("suite") });
  return {
    disk: disk.attach(),
    run: (body) => scheduler.complete(body()),
    close: async () => disk.crash(),
  };
});

function setup(seed: string | number, capacityBytes?: number) {
  const scheduler = new Scheduler();
  const random = new SeededRandom(seed);
  const disk = new SimulatedDisk({ scheduler, random, ...(capacityBytes === undefined ? {} : { capacityBytes }) });
  return { scheduler, disk, live: disk.attach() };
}

const filled = (length: number, value: number) => new Uint8Array(length).fill(value);

/** A file "f" of `length` bytes of 1, durable with its name. */
async function makeDurableFile(live: Disk, length: number) {
  const file = await live.open("f", { create: "new" });
  await file.writeDurable(0, filled(length, 1));
  await live.syncDirectory("");
  return file;
}

const seeds = Array.from({ length: 200 }, (_, seed) => seed);

describe("the simulated disk at a crash", () => {
  test("keeps all that was synced, whatever the seed", async () => {
    for (const seed of seeds) {
      const { scheduler, disk, live } = setup(seed);
      await scheduler.complete(
        (async () => {
          const file = await makeDurableFile(live, 5000);
          await file.write(100, filled(3000, 2));
          await file.sync();
          await live.rename("f", "g");
          await live.syncDirectory("");
        })(),
      );
      disk.crash();
      const expected = filled(5000, 1).fill(2, 100, 3100);
      assert.deepEqual(Buffer.from(disk.content("g")), Buffer.from(expected), `seed ${seed}`);
      assert.deepEqual(disk.paths(), ["g"]);
    }
  });

  test("keeps or loses each unsynced sector as a whole, and over the seeds shows all, none and some", async () => {
    const seen = { all: 0, none: 0, some: 0 };
    for (const seed of seeds) {
      const { scheduler, disk, live } = setup(seed);
      await scheduler.complete(
        (async () => {
          const file = await makeDurableFile(live, 8 * 512);
          await file.write(0, filled(8 * 512, 2));
        })(),
      );
      disk.crash();
      const content = disk.content("f");
      assert.equal(content.length, 8 * 512);
      let kept = 0;
      for (let sector = 0; sector < 8; sector++) {
        const bytes = new Set(content.subarray(sector * 512, (sector + 1) * 512));
        assert.equal(bytes.size, 1, `seed ${seed}: sector ${sector} is torn`);
        if (bytes.has(2)) kept++;
      }
      seen[kept === 8 ? "all" : kept === 0 ? "none" : "some"]++;
    }
    assert(seen.all > 10 && seen.none > 10 && seen.some > 10, JSON.stringify(seen));
  });

  test("leaves an unsynced file's size anywhere between the old and the new one", async () => {
    const sizes = new Set<number>();
    for (const seed of seeds) {
      const { scheduler, disk, live } = setup(seed);
      await scheduler.complete(
        (async () => {
          const file = await makeDurableFile(live, 512);
          await file.write(512, filled(2000, 2));
        })(),
      );
      disk.crash();
      const size = disk.fileSizeBytes("f");
      assert(size >= 512 && size <= 2512);
      sizes.add(size);
    }
    assert(sizes.has(512) && sizes.has(2512) && sizes.size > 3, [...sizes].join());
  });

  test("loses or keeps names whose directory was not synced, each rename as a whole", async () => {
    const outcomes = new Set<string>();
    for (const seed of seeds) {
      const { scheduler, disk, live } = setup(seed);
      await scheduler.complete(
        (async () => {
          await makeDurableFile(live, 1);
          await live.rename("f", "g");
          await live.open("h", { create: "new" });
        })(),
      );
      disk.crash();
      outcomes.add(disk.paths().join());
    }
    assert.deepEqual([...outcomes].sort(), ["f", "f,h", "g", "g,h"]);
  });

  test("loses a synced file whose own directory's name was never synced", async () => {
    const outcomes = new Set<string>();
    for (const seed of seeds) {
      const { scheduler, disk, live } = setup(seed);
      await scheduler.complete(
        (async () => {
          await live.makeDirectory("d");
          const file = await live.open("d/f", { create: "new" });
          await file.writeDurable(0, filled(1, 1));
          await live.syncDirectory("d");
        })(),
      );
      disk.crash();
      outcomes.add(disk.paths().join());
    }
    assert.deepEqual([...outcomes].sort(), ["", "d/f"]);
  });

  test("brings a removed file back where the removal was not synced, with its durable content", async () => {
    const outcomes = new Set<string>();
    for (const seed of seeds) {
      const { scheduler, disk, live } = setup(seed);
      await scheduler.complete(
        (async () => {
          await makeDurableFile(live, 3);
          await live.remove("f");
        })(),
      );
      disk.crash();
      outcomes.add(
        disk
          .paths()
          .map((path) => disk.content(path).join(""))
          .join(),
      );
    }
    assert.deepEqual([...outcomes].sort(), ["", "111"]);
  });

  test("does not count what was written while a sync was under way as synced", async () => {
    let lost = 0;
    for (const seed of seeds) {
      const { scheduler, disk, live } = setup(seed);
      await scheduler.complete(
        (async () => {
          const file = await makeDurableFile(live, 1024);
          await file.write(0, filled(512, 2));
          const synced = file.sync();
          await file.write(512, filled(512, 3));
          await synced;
        })(),
      );
      disk.crash();
      assert.equal(disk.content("f")[0], 2, `seed ${seed}`);
      if (disk.content("f")[512] === 1) lost++;
    }
    assert(lost > 10, `${lost}`);
  });

  test("never settles an operation of the life that has ended, and lets the next life in", async () => {
    const { scheduler, disk, live } = setup(1);
    const file = await scheduler.complete(makeDurableFile(live, 512));
    let settled = false;
    const settle = () => {
      settled = true;
    };
    await scheduler.complete(live.lock("LOCK"));
    const pending: Promise<unknown>[] = [file.write(0, filled(1, 2)), file.sync(), live.lock("OTHER"), live.list("")];
    disk.crash();
    pending.push(file.read(0, 1), live.open("f"));
    for (const each of pending) each.then(settle, settle);
    assert.equal(await scheduler.run(), "quiescent");
    assert.equal(settled, false);
    const again = disk.attach();
    const lock = await scheduler.complete(again.lock("LOCK"));
    await scheduler.complete(lock.release());
    assert.throws(() => disk.attach(), { name: "AssertionFailure" });
  });

  test("crashes before, during or after any chosen operation", async () => {
    const steps = async (live: Disk, log: string[]) => {
      const file = await live.open("f", { create: "new" });
      log.push("open");
      await live.syncDirectory("");
      log.push("named");
      await file.writeDurable(0, filled(512, 1));
      log.push("one");
      await file.writeDurable(512, filled(512, 2));
      log.push("two");
    };
    for (const moment of crashMoments) {
      for (let operation = 1; operation <= 4; operation++) {
        const { scheduler, disk, live } = setup(`${moment} ${operation}`);
        const log: string[] = [];
        let crashes = 0;
        disk.crashAt(operation, { moment, onCrash: () => crashes++ });
        void steps(live, log);
        await scheduler.run();
        assert.equal(crashes, 1);
        assert.equal(log.length, operation - 1, `${moment} ${operation}: ${log.join()}`);
        const size = disk.paths().includes("f") ? disk.fileSizeBytes("f") : -1;
        const atLeast = [-1, -1, 0, 512, 1024];
        const done = moment === "after" ? operation : operation - 1;
        assert(size >= atLeast[done]!, `${moment} ${operation}: ${size}`);
        if (moment === "before" && operation === 4) assert.equal(size, 512);
      }
    }
  });
});

describe("the simulated disk's failures", () => {
  test("a failed sync loses writes for good: a later sync that succeeds does not bring them back", async () => {
    let lost = 0;
    for (const seed of seeds) {
      const { scheduler, disk, live } = setup(seed);
      await scheduler.complete(
        (async () => {
          const file = await makeDurableFile(live, 512);
          await file.write(0, filled(512, 2));
          disk.failNext("sync");
          await assert.rejects(file.sync(), (error) => error instanceof DiskError && error.code === "failed");
          assert.equal((await file.read(0, 1))[0], 2);
          await file.sync();
        })(),
      );
      disk.crash();
      if (disk.content("f")[0] === 1) lost++;
    }
    assert(lost > 50 && lost < 150, `${lost}`);
  });

  test("a failed write leaves some of its first sectors", async () => {
    const found = new Set<number>();
    for (const seed of seeds) {
      const { scheduler, disk, live } = setup(seed);
      await scheduler.complete(
        (async () => {
          const file = await makeDurableFile(live, 2048);
          disk.failNext("write");
          await assert.rejects(file.write(0, filled(2048, 2)), { code: "failed" });
          found.add((await file.read(0, 2048)).filter((byte) => byte === 2).length);
        })(),
      );
      assert.equal(disk.counts.get("failed-write"), 1);
    }
    assert.deepEqual(
      [...found].sort((a, b) => a - b),
      [0, 512, 1024, 1536, 2048],
    );
  });

  test("fails by chance at the rate that was set", async () => {
    const { scheduler, disk, live } = setup(7);
    disk.faultRates = { read: 0.25 };
    await scheduler.complete(
      (async () => {
        const file = await live.open("f", { create: "new" });
        let failed = 0;
        for (let i = 0; i < 400; i++) await file.read(0, 1).catch(() => failed++);
        assert(failed > 60 && failed < 140, `${failed}`);
        assert.equal(disk.counts.get("failed-read"), failed);
      })(),
    );
  });

  test("a full disk refuses to grow files, still overwrites, and has room again once a file is removed and closed", async () => {
    const { scheduler, live } = setup(1, 10 * 4096);
    await scheduler.complete(
      (async () => {
        const reserve = await live.open("reserve", { create: "new" });
        await reserve.writeDurable(0, new Uint8Array(4 * 4096));
        const file = await live.open("f", { create: "new" });
        await file.writeDurable(0, filled(6 * 4096, 1));
        assert.equal(await live.freeBytes(), 0);
        await assert.rejects(file.writeDurable(6 * 4096, filled(1, 1)), { name: "DiskError", code: "full" });
        await assert.rejects(live.open("new", { create: "new" }), { code: "full" });
        await file.writeDurable(0, filled(6 * 4096, 2));
        await live.remove("reserve");
        assert.equal(await live.freeBytes(), 0);
        await reserve.close();
        assert.equal(await live.freeBytes(), 4 * 4096);
        await file.writeDurable(6 * 4096, filled(1, 1));
      })(),
    );
  });

  test("a file that was only made long has no blocks, and can be refused them later", async () => {
    const { scheduler, live } = setup(1, 4 * 4096);
    await scheduler.complete(
      (async () => {
        const file = await live.open("f", { create: "new" });
        await file.truncate(100 * 4096);
        assert.equal(await live.freeBytes(), 4 * 4096);
        await assert.rejects(file.write(0, filled(5 * 4096, 1)), { code: "full" });
      })(),
    );
  });

  test("flips one bit, cuts and loses files on demand", async () => {
    const { scheduler, disk, live } = setup(1);
    await scheduler.complete(makeDurableFile(live, 5000));
    disk.crash();
    disk.flip("f", 4500 * 8 + 1);
    assert.deepEqual(Buffer.from(disk.content("f")), Buffer.from(filled(5000, 1).fill(3, 4500, 4501)));
    disk.cutFile("f", 4000);
    assert.equal(disk.content("f").length, 4000);
    disk.cutFile("f", 5000);
    assert.deepEqual(Buffer.from(disk.content("f")), Buffer.from(filled(5000, 1).fill(0, 4000)));
    disk.loseFile("f");
    assert.deepEqual(disk.paths(), []);
  });

  test("goes back to an earlier image, as often as asked", async () => {
    const { scheduler, disk, live } = setup(1);
    const file = await scheduler.complete(makeDurableFile(live, 600));
    const image = disk.snapshotImage();
    await scheduler.complete(file.writeDurable(0, filled(5000, 2)));
    for (let i = 0; i < 2; i++) {
      disk.restoreImage(image);
      assert.deepEqual(Buffer.from(disk.content("f")), Buffer.from(filled(600, 1)));
      const again = await scheduler.complete(disk.attach().open("f"));
      await scheduler.complete(again.writeDurable(0, filled(700, 3)));
    }
  });
});

describe("the simulated disk and its seed", () => {
  const program = async (seed: number) => {
    const { scheduler, disk, live } = setup(seed);
    disk.faultRates = { write: 0.1, sync: 0.1 };
    await scheduler.complete(
      (async () => {
        const file = await makeDurableFile(live, 4096).catch(() => undefined);
        if (file === undefined) return;
        const writes = Array.from({ length: 20 }, (_, i) => file.write(i * 300, filled(400, i)));
        await Promise.allSettled([...writes, file.sync()]);
      })(),
    );
    disk.crash();
    for (const path of disk.paths()) scheduler.note(Buffer.from(disk.content(path)).toString("hex"));
    return scheduler.traceHash;
  };

  test("gives the same trace and the same damage for the same seed, and others for others", async () => {
    const first = await Promise.all([1, 2, 3, 4, 5].map(program));
    const second = await Promise.all([1, 2, 3, 4, 5].map(program));
    assert.deepEqual(first, second);
    assert.equal(new Set(first).size, 5);
  });

  test("holds a preallocated file of 64 MiB without holding its zeros", async () => {
    const { scheduler, disk, live } = setup(1);
    const zeros = new Uint8Array(1024 * 1024);
    const before = process.memoryUsage().arrayBuffers;
    await scheduler.complete(
      (async () => {
        const file = await live.open("f", { create: "new" });
        for (let i = 0; i < 64; i++) await file.write(i * zeros.length, zeros);
        await file.sync();
        await live.syncDirectory("");
      })(),
    );
    disk.crash();
    assert.equal(disk.fileSizeBytes("f"), 64 * zeros.length);
    assert(process.memoryUsage().arrayBuffers - before < 8 * 1024 * 1024);
  });
});

describe("a misdirected write", () => {
  test("lands at another sector of its file, whole and durable, and leaves its place as it was", async () => {
    for (const seed of seeds.slice(0, 40)) {
      const { scheduler, disk, live } = setup(seed);
      await scheduler.complete(
        (async () => {
          const file = await makeDurableFile(live, 4096);
          disk.misdirectNext(2);
          await file.writeDurable(0, filled(512, 2));
          await file.writeDurable(1024, filled(512, 3));
        })(),
      );
      disk.crash();
      const content = disk.content("f");
      assert.equal(content.length, 4096);
      assert.deepEqual([content[0], content[1024]], [content.indexOf(3) === 0 ? 3 : 2, 1]);
      assert.equal(content.indexOf(3) % 512, 0);
      assert.equal(content.filter((byte) => byte === 3).length, 512);
      assert.equal(disk.counts.get("misdirected-write"), 1);
    }
  });

  test("leaves a file as long as its writer thinks it is", async () => {
    const { scheduler, disk, live } = setup("long");
    await scheduler.complete(
      (async () => {
        const file = await makeDurableFile(live, 512);
        disk.misdirectNext();
        await file.write(512, filled(512, 2));
      })(),
    );
    const content = disk.content("f");
    assert.deepEqual([content.length, content[0], content[512]], [1024, 2, 0]);
  });
});
