import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { describe, test } from "node:test";
import { crc32 } from "node:zlib";
import { OnefoldError } from "../base/errors.ts";
import { hasCode } from "./log.suite.ts";
import {
  continuingVersion,
  crossingVersion,
  decodeRecord,
  encodeRecord,
  noHash,
  type RecordHeader,
  type RecordKind,
  recordHeaderBytes,
  recordKinds,
  recordPayloadBytesMax,
} from "./record.ts";

const header: RecordHeader = {
  kind: "batch",
  readerVersion: 1,
  incarnation: Uint8Array.from({ length: 16 }, (_, i) => i + 1),
  epoch: 3,
  sequence: 2 ** 40 + 5,
  timeMs: 1_795_000_000_000,
  previousHash: new Uint8Array(32).fill(0xab),
};
const payload = new TextEncoder().encode("hello, log");

/** Changes some bytes of a record and makes both checksums right again, as a writer would who meant it. */
function forge(bytes: Uint8Array, change: (view: DataView) => void): Uint8Array {
  const forged = bytes.slice();
  const view = new DataView(forged.buffer);
  change(view);
  view.setUint32(88, crc32(forged.subarray(recordHeaderBytes)), true);
  view.setUint32(92, crc32(forged.subarray(0, 92)), true);
  return forged;
}

const reasonIs = (pattern: RegExp) => (error: unknown) =>
  error instanceof OnefoldError && error.code === "damaged" && pattern.test(error.message);

describe("a record", () => {
  test("has exactly the bytes that the format's document says", () => {
    const { bytes } = encodeRecord(header, payload);
    assert.equal(
      Buffer.from(bytes.subarray(0, 88)).toString("hex"),
      [
        "31464c44", // magic
        "0100", // format version
        "0100", // reader version
        "02", // kind
        "000000", // zeros
        "0a000000", // payload length
        "0300000000000000", // epoch
        "0500000000010000", // sequence
        "005e56eea1010000", // time
        "0102030405060708090a0b0c0d0e0f10", // incarnation
        "ab".repeat(32), // hash of the record before
      ].join(""),
    );
    const view = Buffer.from(bytes);
    assert.equal(view.readUInt32LE(88), crc32(payload));
    assert.equal(view.readUInt32LE(92), crc32(bytes.subarray(0, 92)));
    assert.equal(view.toString("utf8", 96), "hello, log");
  });

  test("decodes to what was encoded, and its hash is SHA-256 of all of it", () => {
    for (const kind of Object.keys(recordKinds) as RecordKind[]) {
      const sequence = kind === "genesis" ? 1 : header.sequence;
      const previousHash = kind === "genesis" ? noHash : header.previousHash;
      const expected = { ...header, kind, sequence, previousHash };
      const { bytes, hash } = encodeRecord(expected, payload);
      const { payload: decodedPayload, bytes: decodedBytes, hash: decodedHash, ...decoded } = decodeRecord(bytes);
      assert.deepEqual(decoded, expected);
      assert.deepEqual(decodedPayload, payload);
      assert.equal(decodedBytes, bytes);
      assert.deepEqual(decodedHash, hash);
      assert.deepEqual(Buffer.from(hash), createHash("sha256").update(bytes).digest());
    }
  });

  test("that is a genesis above sequence 1 needs a reader that knows of logs that continue others, and nothing else does", () => {
    const continuing = { ...header, kind: "genesis", readerVersion: continuingVersion } as const;
    const { bytes } = encodeRecord(continuing, payload);
    assert.equal(new DataView(bytes.buffer).getUint16(6, true), 2);
    const { kind, sequence, previousHash } = decodeRecord(bytes);
    assert.deepEqual([kind, sequence, previousHash], ["genesis", header.sequence, header.previousHash]);
    assert.throws(() => encodeRecord({ ...continuing, readerVersion: 1 }, payload), /AssertionFailure/);
    assert.throws(
      () => decodeRecord(forge(bytes, (view) => view.setUint16(6, 1, true))),
      reasonIs(/genesis must have sequence 1/),
    );
  });

  test("that is a batch may need a reader of effects that cross shards, and nothing else may", () => {
    const crossing = { ...header, readerVersion: crossingVersion } as const;
    assert.equal(decodeRecord(encodeRecord(crossing, payload).bytes).readerVersion, 3);
    for (const kind of ["claim", "release", "seal"] as const) {
      assert.throws(() => encodeRecord({ ...crossing, kind }, payload), /AssertionFailure/);
    }
  });

  test("can be decoded in the middle of a larger buffer", () => {
    const { bytes } = encodeRecord(header, payload);
    const buffer = new Uint8Array(500);
    buffer.set(bytes, 33);
    assert.equal(decodeRecord(buffer.subarray(33, 33 + bytes.length)).sequence, header.sequence);
  });

  test("is damaged if any one bit is flipped, wherever, and never mistaken for one of a newer version", () => {
    const { bytes } = encodeRecord(header, payload);
    for (let bit = 0; bit < 8 * bytes.length; bit++) {
      const flipped = bytes.slice();
      flipped[bit >> 3]! ^= 1 << (bit & 7);
      assert.throws(() => decodeRecord(flipped), hasCode("damaged"), `bit ${bit}`);
    }
  });

  test("is damaged if it is cut short or has bytes too many", () => {
    const { bytes } = encodeRecord(header, payload);
    for (let length = 0; length < bytes.length; length++) {
      assert.throws(() => decodeRecord(bytes.subarray(0, length)), hasCode("damaged"));
    }
    assert.throws(() => decodeRecord(Uint8Array.from([...bytes, 0])), hasCode("damaged"));
  });

  test("that needs a newer reader says which one", () => {
    const { bytes } = encodeRecord(header, payload);
    const newer = forge(bytes, (view) => view.setUint16(6, 7, true));
    assert.throws(
      () => decodeRecord(newer),
      (error) =>
        error instanceof OnefoldError &&
        error.code === "unsupported-version" &&
        (error.details as { neededVersion: number }).neededVersion === 7,
    );
  });

  test("of a newer writer is read if it says that this reader understands it", () => {
    const { bytes } = encodeRecord(header, payload);
    const newer = forge(bytes, (view) => view.setUint16(4, 7, true));
    assert.equal(decodeRecord(newer).sequence, header.sequence);
  });

  test("whose checksums are right and whose content makes no sense is damaged", () => {
    const { bytes } = encodeRecord(header, payload);
    const cases: readonly (readonly [RegExp, (view: DataView) => void])[] = [
      [/kind is unknown/, (view) => view.setUint8(8, 99)],
      [/reader version is 0/, (view) => view.setUint16(6, 0, true)],
      [/sequence is 0/, (view) => view.setBigUint64(24, 0n, true)],
      [/larger than 2\^53/, (view) => view.setBigUint64(32, 2n ** 60n, true)],
      [/genesis must have sequence 1/, (view) => view.setUint8(8, recordKinds.genesis)],
      [/length differs/, (view) => view.setUint32(12, 9, true)],
    ];
    for (const [pattern, change] of cases) {
      assert.throws(() => decodeRecord(forge(bytes, change)), reasonIs(pattern), String(pattern));
    }
  });

  test("takes a payload up to the limit and refuses one that is larger", () => {
    assert.equal(
      decodeRecord(encodeRecord(header, new Uint8Array(recordPayloadBytesMax)).bytes).payload.length,
      524_288,
    );
    assert.throws(() => encodeRecord(header, new Uint8Array(recordPayloadBytesMax + 1)), hasCode("too-large"));
  });

  test("with a header that makes no sense is not encoded", () => {
    for (const wrong of [
      { sequence: -1 },
      { epoch: 0.5 },
      { timeMs: Number.NaN },
      { sequence: 1 },
      { readerVersion: 2 },
    ]) {
      assert.throws(() => encodeRecord({ ...header, ...wrong }, payload), /AssertionFailure/);
    }
  });
});
