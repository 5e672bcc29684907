import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { concatBytes } from "../base/bytes.ts";
import { crc32 } from "../base/digest.ts";
import { OnefoldError } from "../base/errors.ts";
import { SeededRandom } from "../base/random.ts";
import { blobAddress } from "../store/blobs.ts";
import { makeBackup } from "./backup.fixture.ts";
import { BackupContents } from "./contents.ts";
import { BackupDecoder } from "./decoder.ts";
import { BackupEncoder } from "./encoder.ts";
import { type BackupDamage, partHeaderBytes } from "./format.ts";

/** Reads all of it in chunks of these sizes, in turn; returns the sizes of its blobs. */
function read(bytes: Uint8Array, chunkSizes: readonly number[] = [bytes.length]): number[] {
  const decoder = new BackupDecoder();
  const contents = new BackupContents();
  const sizes: number[] = [];
  for (let at = 0, turn = 0; at < bytes.length; turn++) {
    const size = chunkSizes[turn % chunkSizes.length]!;
    for (const blob of decoder.push(bytes.subarray(at, at + size))) {
      contents.note(blob);
      sizes.push(blob.content.length);
    }
    at += size;
  }
  const whole = decoder.end();
  assert.equal(whole.sizeBytes, bytes.length);
  contents.manifest(whole);
  return sizes;
}

/** Where the damage is said to be; fails where none is found, or no part is named. */
function damageOf(bytes: Uint8Array, chunkSizes?: readonly number[]): BackupDamage {
  try {
    read(bytes, chunkSizes);
  } catch (error) {
    assert.ok(error instanceof OnefoldError && error.code === "damaged" && error.retry === "never", String(error));
    const damage = error.details as BackupDamage;
    assert.ok(typeof damage?.part === "string" && Number.isInteger(damage.offset), error.message);
    return damage;
  }
  assert.fail("the damage was not found");
}

const { parts, bytes } = makeBackup("one");
const other = makeBackup("two");
/** Where each part starts. */
const offsets = parts.map((_, index) => concatBytes(parts.slice(0, index)).length);

/** The name of what stands at a byte. */
function partAt(offset: number): string {
  const index = offsets.findLastIndex((start) => start <= offset);
  return index === 0 ? "header" : `part ${index - 1}`;
}

describe("a backup", () => {
  test("is read alike in chunks of any sizes", () => {
    const expected = read(bytes);
    assert.equal(expected.length, parts.length - 2);
    const random = new SeededRandom("chunks");
    assert.deepEqual(read(bytes, [1]), expected);
    for (let round = 0; round < 50; round++) {
      const sizes = Array.from({ length: 5 }, () => 1 + random.integer(200));
      assert.deepEqual(read(bytes, sizes), expected);
    }
  });

  test("of which any one bit is flipped is damaged in the part where it is", () => {
    for (let bit = 0; bit < 8 * bytes.length; bit++) {
      const flipped = bytes.slice();
      flipped[bit >> 3]! ^= 1 << (bit & 7);
      assert.equal(damageOf(flipped).part, partAt(bit >> 3), `bit ${bit}`);
    }
  });

  test("that is cut anywhere is damaged in the part where it ends", () => {
    for (let length = 0; length < bytes.length; length++) {
      const damage = damageOf(bytes.subarray(0, length), [100]);
      assert.equal(damage.part, partAt(length), `cut at ${length}`);
      assert.equal(
        damage.offset,
        offsets.findLast((start) => start <= length),
      );
    }
  });

  test("with bytes behind its end is damaged there", () => {
    assert.deepEqual(
      [damageOf(concatBytes([bytes, Uint8Array.of(0)])), damageOf(concatBytes([bytes, bytes]))].map(
        (each) => each.part,
      ),
      ["end", "end"],
    );
  });

  test("is damaged where a part is missing, doubled, moved, or taken from another backup", () => {
    for (let index = 1; index < parts.length; index++) {
      const without = parts.filter((_, each) => each !== index);
      assert.equal(damageOf(concatBytes(without)).part, `part ${index - 1}`, `without ${index}`);
      const doubled = [...parts.slice(0, index + 1), ...parts.slice(index)];
      assert.equal(damageOf(concatBytes(doubled)).part, index === parts.length - 1 ? "end" : `part ${index}`);
      const foreign = parts.map((part, each) => (each === index ? other.parts[index]! : part));
      assert.equal(damageOf(concatBytes(foreign)).part, `part ${index - 1}`, `foreign ${index}`);
    }
    const [header, first, second, ...rest] = parts as [Uint8Array, Uint8Array, Uint8Array];
    assert.equal(damageOf(concatBytes([header, second, first, ...rest])).part, "part 0");
    assert.equal(damageOf(concatBytes([other.parts[0]!, ...parts.slice(1)])).part, "part 0");
  });

  test("whose summary names other parts than stand before it is damaged", () => {
    const header = { version: 1, id: new Uint8Array(16).fill(7), takenAtMs: 1 } as const;
    const contents = [Uint8Array.of(1), Uint8Array.of(2)];
    const inOrder = new BackupEncoder(header);
    const reversed = new BackupEncoder(header);
    const stream = [inOrder.begin(), ...contents.flatMap((content) => inOrder.blob(content))];
    reversed.begin();
    for (const content of contents.toReversed()) reversed.blob(content);
    const facts = {
      systemName: "bank",
      codeVersion: "test",
      position: { incarnation: new Uint8Array(16), epoch: 1, sequence: 1, hash: new Uint8Array(32), timeMs: 1 },
      genesis: new Uint8Array(0),
      manifest: blobAddress(contents[1]!),
    };
    assert.match(damageOf(concatBytes([...stream, ...reversed.end(facts)])).reason, /not those that it names/);
  });

  test("takes no more memory than a part may have, whatever a header says", () => {
    const forged = bytes.slice();
    const view = new DataView(forged.buffer);
    const at = offsets[1]!;
    view.setBigUint64(at + 16, 2n ** 50n, true);
    const id = forged.subarray(16, 32);
    view.setUint32(at + 60, crc32(forged.subarray(at, at + 60), crc32(id)), true);
    assert.match(damageOf(forged.subarray(0, at + partHeaderBytes)).reason, /is said to have/);
  });

  test("of a newer format says so, and is not taken for damage", () => {
    const newer = bytes.slice();
    const view = new DataView(newer.buffer);
    view.setUint16(6, 3, true);
    view.setUint32(60, crc32(newer.subarray(0, 60)), true);
    assert.throws(() => read(newer), { code: "unsupported-version", retry: "never" });
  });
});
