import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { SeededRandom } from "../../../base/random.ts";
import type { DiskImage, SimulatedDisk } from "../../../sim/disk.ts";
import { damageOf } from "../../damage.ts";
import { collect, RecordChain } from "../../log.suite.ts";
import type { LogPosition } from "../../log.ts";
import { decodeRecord, encodeRecord, positionOf, type RecordHeader } from "../../record.ts";
import { type LogReport, verifyLog } from "../../verify.ts";
import type { SegmentLogOptions } from "./engine.ts";
import { FrameEncoder, saltChecksum } from "./format.ts";
import { logDirectory, SimulatedLogPlace, zeroSector } from "./simulated-place.fixture.ts";

const segmentBytes = 16 * 512;

/** A log of some segments that was closed in good order, with all that is known about it. */
interface Healthy {
  readonly place: SimulatedLogPlace;
  readonly image: DiskImage;
  readonly records: readonly Uint8Array[];
  readonly end: LogPosition;
  /** The same log some records and an anchor earlier. */
  readonly earlier: DiskImage;
  readonly frames: readonly Frame[];
}

interface Frame {
  readonly path: string;
  readonly offset: number;
  readonly recordBytes: number;
}

async function makeHealthy(seed: string, options: { readonly closed?: boolean } = {}): Promise<Healthy> {
  const place = new SimulatedLogPlace(seed);
  const { random } = place;
  const chain = new RecordChain();
  const records: Uint8Array[] = [];
  const append = (count: number, close: boolean) =>
    place.drive(async () => {
      const log = await place.open({ segmentBytes, reserveBytes: 512 });
      for (let i = 0; i < count; i++) {
        const length = random.pick([0, 1, 100, 384, 385, 500, 1500, 3000]);
        records.push(
          (await chain.append(log, random.chance(0.2) ? new Uint8Array(length) : random.bytes(length))).bytes,
        );
        if (i === 3) await log.anchor();
      }
      if (close) await log.close();
    });
  await append(8, true);
  const earlier = place.disk.snapshotImage();
  // Without a clean stop the anchor is older than the end.
  await append(14, options.closed ?? random.chance(0.5));
  const image = place.disk.snapshotImage();
  return { place, image, records, end: chain.end!, earlier, frames: framesOf(place) };
}

function segmentPaths(place: SimulatedLogPlace): string[] {
  return place.disk.paths().filter((path) => path.endsWith(".segment"));
}

/** Finds the frames by their magic number, without the code under test. */
function framesOf(place: SimulatedLogPlace): Frame[] {
  const frames: Frame[] = [];
  for (const path of segmentPaths(place)) {
    const bytes = Buffer.from(place.disk.content(path));
    for (let offset = 512; offset < bytes.length; offset += 512) {
      if (bytes.toString("latin1", offset, offset + 4) !== "1FFR") continue;
      frames.push({ path, offset, recordBytes: bytes.readUInt32LE(offset + 4) });
    }
  }
  return frames;
}

type Outcome = { readonly kind: "named"; readonly at: "open" | "read" } | { readonly kind: "served" };

/**
 * Opens and reads everything. Whatever was done to the disk: what is served is right and whole, and everything else is
 * named, with a file and an offset.
 */
async function judge(healthy: Healthy, options: Partial<SegmentLogOptions> = {}): Promise<Outcome> {
  const { place, records, end } = healthy;
  let at: "open" | "read" = "open";
  try {
    return await place.drive(async () => {
      const log = await place.open({ segmentBytes, reserveBytes: 512, ...options });
      at = "read";
      assert.deepEqual(log.end && positionOf(log.end), end);
      const found = await collect(log.scan(1));
      assert.equal(found.length, records.length);
      for (const [index, record] of found.entries()) assert.ok(Buffer.compare(record.bytes, records[index]!) === 0);
      return { kind: "served" } as const;
    });
  } catch (error) {
    const damage = damageOf(error);
    if (damage === undefined) throw error;
    assert.ok(damage.file.length > 0 && damage.reason.length > 0);
    return { kind: "named", at };
  }
}

function verify(healthy: Healthy, verifiedThrough: readonly LogPosition[] = []): Promise<LogReport> {
  const { place } = healthy;
  place.node.crash();
  const { disk } = place.node.start();
  return place.drive(() => verifyLog({ disk, directory: logDirectory, verifiedThrough }));
}

function restore(healthy: Healthy): void {
  healthy.place.disk.restoreImage(healthy.image);
}

describe("a damaged segment log", () => {
  test("is found out whichever bit of a record or of its frame's header is flipped, and verify names the record", async () => {
    const healthy = await makeHealthy("every-bit");
    const { disk, random } = healthy.place;
    for (const [index, frame] of healthy.frames.entries()) {
      // Every bit of the last frame's header and record header, and a sample of every other frame.
      const bits =
        index === healthy.frames.length - 1
          ? Array.from({ length: 8 * (32 + 96) }, (_, bit) => bit)
          : Array.from({ length: 24 }, (_, i) =>
              i < 8 ? random.integer(8 * 32) : random.integer(8 * (32 + frame.recordBytes)),
            );
      for (const bit of bits) {
        restore(healthy);
        disk.flip(frame.path, 8 * frame.offset + bit);
        const where = `bit ${bit} of frame ${index}`;
        // Bytes 20 to 27 of a frame's header are reserved, yet its checksum covers them.
        const outcome = await judge(healthy, random.chance(0.5) ? {} : { verifyFromSequence: 1 + random.integer(22) });
        assert.equal(outcome.kind, "named", where);
        if (bit % 16 !== 0) continue;
        restore(healthy);
        disk.flip(frame.path, 8 * frame.offset + bit);
        const report = await verify(healthy);
        assert.equal(`${logDirectory}/${report.damage?.file}`, frame.path, where);
        assert.equal(report.damage?.offset, frame.offset, where);
        assert.equal(report.recordCount, index, where);
      }
    }
  });

  test("is named or served whole whichever bit of any file is flipped", async () => {
    const counts = { named: 0, served: 0 };
    for (let seed = 0; seed < 40; seed++) {
      const healthy = await makeHealthy(`flip-${seed}`);
      const { disk, random } = healthy.place;
      for (let trial = 0; trial < 25; trial++) {
        restore(healthy);
        const path = random.pick(disk.paths().filter((each) => disk.fileSizeBytes(each) > 0));
        disk.flip(path, pickBit(random, disk.content(path)));
        const outcome = await judge(healthy, { verifyFromSequence: 1 + random.integer(22) });
        counts[outcome.kind]++;
      }
    }
    assert.ok(counts.named > 50 && counts.served > 50, JSON.stringify(counts));
  });

  test("is named when sectors are lost, anywhere but after the last anchor", async () => {
    for (let seed = 0; seed < 30; seed++) {
      const healthy = await makeHealthy(`sector-${seed}`);
      const { disk, random } = healthy.place;
      for (let trial = 0; trial < 10; trial++) {
        restore(healthy);
        const frame = random.pick(healthy.frames);
        const sectors = Math.ceil((32 + frame.recordBytes) / 512);
        const from = frame.offset + 512 * random.integer(sectors);
        zeroSector(disk, frame.path, from);
        assert.equal((await judge(healthy, { verifiedThrough: [healthy.end] })).kind, "named");
      }
    }
  });

  test("is named when a file is cut short or lost, but for those that can be made again", async () => {
    const healthy = await makeHealthy("files", { closed: true });
    const { disk } = healthy.place;
    for (const path of disk.paths()) {
      const isReplaceable = /next\.|reserve/.test(path);
      for (const mutation of ["lost", "empty", "half", "one byte less"] as const) {
        restore(healthy);
        const size = disk.fileSizeBytes(path);
        if (mutation === "lost") disk.loseFile(path);
        else disk.cutFile(path, { empty: 0, half: Math.floor(size / 2), "one byte less": size - 1 }[mutation]);
        // However little is verified at open: what files there must be is known.
        const verifyFromSequence = mutation === "half" ? 1 : healthy.records.length;
        const outcome = await judge(healthy, { verifiedThrough: [healthy.end], verifyFromSequence });
        if (outcome.kind === "named") assert.equal(outcome.at, "open", `${path}: ${mutation}`);
        assert.equal(outcome.kind, isReplaceable ? "served" : "named", `${path}: ${mutation}`);
      }
    }
  });

  test("is named when it was rolled back, by the anchor or by whoever remembers more", async () => {
    const healthy = await makeHealthy("rollback", { closed: true });
    const { place, earlier, end } = healthy;
    place.disk.restoreImage(earlier);
    assert.equal((await judge(healthy, { verifiedThrough: [end] })).kind, "named");
    place.disk.restoreImage(earlier);
    assert.ok((await verify(healthy, [end])).damage?.reason.includes("rolled back"));
    // The segments alone go back, the anchor doesn't.
    restore(healthy);
    for (const path of segmentPaths(place).slice(1)) place.disk.loseFile(path);
    assert.equal((await judge(healthy)).kind, "named");
  });

  test("is named when everything but the memory of it is gone", async () => {
    const healthy = await makeHealthy("gone");
    for (const path of healthy.place.disk.paths()) healthy.place.disk.loseFile(path);
    assert.equal((await judge(healthy, { verifiedThrough: [healthy.end] })).kind, "named");
  });

  test("is named where a record is whole, but not the one that follows the one before it", async () => {
    const healthy = await makeHealthy("forged", { closed: true });
    const { disk } = healthy.place;
    const index = healthy.frames.length - 2;
    const frame = healthy.frames[index]!;
    const salt = disk.content(frame.path).slice(96, 112);
    const original = decodeRecord(healthy.records[index]!);
    const forgeries: readonly (readonly [RegExp, Partial<RecordHeader>])[] = [
      [/does not hold the hash/, { previousHash: new Uint8Array(32).fill(5) }],
      [/another incarnation/, { incarnation: new Uint8Array(16).fill(5) }],
      [/time goes back/, { timeMs: 5 }],
      [/epoch goes back/, { epoch: 0 }],
      [/sequence/, { sequence: original.sequence + 1 }],
    ];
    for (const [reason, change] of forgeries) {
      restore(healthy);
      const { bytes } = encodeRecord({ ...original, ...change }, original.payload);
      const forged = new FrameEncoder().encode(bytes, change.sequence ?? original.sequence, saltChecksum(salt));
      overwrite(disk, frame.path, frame.offset, forged);
      assert.equal((await judge(healthy)).kind, "named");
      overwrite(disk, frame.path, frame.offset, forged);
      const report = await verify(healthy);
      assert.match(report.damage?.reason ?? "", reason);
      assert.equal(report.damage?.offset, frame.offset);
    }
  });

  test("is left as it is: opening it again names the same place", async () => {
    const healthy = await makeHealthy("evidence");
    const frame = healthy.frames[5]!;
    healthy.place.disk.flip(frame.path, 8 * (frame.offset + 40));
    const before = healthy.place.disk.content(frame.path);
    assert.equal((await judge(healthy)).kind, "named");
    assert.equal((await judge(healthy)).kind, "named");
    assert.deepEqual(healthy.place.disk.content(frame.path), before);
  });

  test("is none where nothing is wrong: verify reports a healthy log as healthy", async () => {
    const healthy = await makeHealthy("healthy");
    const report = await verify(healthy);
    assert.equal(report.damage, null);
    assert.deepEqual(report.warnings, []);
    assert.equal(report.unfinished, null);
    assert.equal(report.recordCount, healthy.records.length);
    assert.deepEqual(report.end, healthy.end);
    assert.equal((await judge(healthy)).kind, "served");
  });
});

/** Puts bytes into a file, durably, behind everybody's back. */
function overwrite(disk: SimulatedDisk, path: string, offset: number, bytes: Uint8Array): void {
  const content = disk.content(path);
  for (const [index, byte] of bytes.entries()) {
    const difference = byte ^ content[offset + index]!;
    for (let bit = 0; bit < 8; bit++) if (((difference >> bit) & 1) === 1) disk.flip(path, 8 * (offset + index) + bit);
  }
}

/** Places that hold something are as likely as all the zeros after them. */
function pickBit(random: SeededRandom, content: Uint8Array): number {
  const used = content.findLastIndex((byte) => byte !== 0) + 1;
  const bytes = random.chance(0.6) && used > 0 ? used : content.length;
  return random.integer(8 * bytes);
}
