/** Blobs on real servers, while nothing fails. */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { encodeUtf8 } from "../../base/bytes.ts";
import { blobSubject } from "../../log/engine/nats/names.ts";
import type { NatsEngine } from "../../log/engine/nats/nats-engine.ts";
import { TestServers } from "../../log/engine/nats/servers.fixture.ts";
import { blobAddress } from "../blobs.ts";
import { blobsSuite } from "../blobs.suite.ts";
import { natsBlobs } from "./nats-blobs.ts";

describe("blobs on NATS", () => {
  let servers: TestServers;
  let engine: NatsEngine;
  before(async () => {
    servers = await TestServers.start({ serverCount: 3 });
    engine = await servers.connect();
  });
  after(() => servers.dispose());

  const blobsOf = (place: string) =>
    natsBlobs({ connection: engine.connection, cluster: "test", replicaCount: 3 })(place);

  /** What a subject holds, replaced as damage would. */
  async function replace(subject: string, bytes: Uint8Array): Promise<void> {
    const question = { subject, payload: bytes, atMostMs: 5_000 };
    await engine.connection.ask(question, ({ data }) => assert.match(Buffer.from(data).toString(), /"seq"/));
  }

  async function flip(subject: string, bit: number): Promise<void> {
    const answer = await engine.connection.api<{ readonly message: { readonly data: string } }>(
      "STREAM.MSG.GET.test-blobs",
      { last_by_subj: subject },
    );
    assert.ok("value" in answer, JSON.stringify(answer));
    const bytes = Buffer.from(answer.value.message.data, "base64");
    bytes[bit >> 3]! ^= 1 << (bit & 7);
    await replace(subject, bytes);
  }

  blobsSuite("on NATS", () => {
    const place = `${servers.newPrefix()}place.7`;
    const subject = (...tokens: readonly string[]) => blobSubject("test", place.replace(".", "_2e"), ...tokens);
    return {
      open: () => blobsOf(place),
      damage: (address, bit) => flip(subject(address, "0"), bit),
      damagePointer: (name, bit) => flip(subject("pointer", name), bit),
    };
  });

  test("places are apart from each other", async () => {
    const prefix = servers.newPrefix();
    const [one, two] = [blobsOf(`${prefix}log.1`), blobsOf(`${prefix}log.11`)];
    const address = await one.put(encodeUtf8("content"));
    await one.setPointer("newest", encodeUtf8("one"));
    assert.deepEqual(await two.list(), []);
    assert.equal(await two.readPointer("newest"), undefined);
    await two.delete(address);
    assert.deepEqual(await one.list(), [address]);
  });

  test("a blob that lacks a part, or its manifest, is none, and is healed by the next put", async () => {
    const place = `${servers.newPrefix()}place`;
    const blobs = blobsOf(place);
    const bytes = new Uint8Array(1_200_000).map((_, index) => index * 7);
    const address = await blobs.put(bytes);
    for (const [missing, code] of [
      ["1", "damaged"],
      ["end", "not-found"],
    ] as const) {
      const purged = await engine.connection.api("STREAM.PURGE.test-blobs", {
        filter: blobSubject("test", place, address, missing),
      });
      assert.ok("value" in purged);
      await assert.rejects(blobs.get(address), { name: "OnefoldError", code });
      assert.deepEqual(await blobs.list(), [address]);
      assert.equal(await blobs.put(bytes), address);
      assert.equal(Buffer.compare(await blobs.get(address), bytes), 0);
    }
    for (const text of ["", "7", "{", '{"sizeBytes":-1,"partBytes":524288}', '{"sizeBytes":5,"partBytes":0}']) {
      await replace(blobSubject("test", place, address, "end"), encodeUtf8(text));
      await assert.rejects(blobs.get(address), { name: "OnefoldError", code: "damaged" });
    }
  });

  test("nothing is there where nothing was ever put, not even the stream", async () => {
    const blobs = natsBlobs({ connection: engine.connection, cluster: "empty", replicaCount: 3 })("place");
    const address = blobAddress(encodeUtf8("content"));
    assert.deepEqual(await blobs.list(), []);
    assert.equal(await blobs.readPointer("newest"), undefined);
    await blobs.delete(address);
    await assert.rejects(blobs.get(address), { name: "OnefoldError", code: "not-found" });
  });

  test("of two who set a pointer at once, neither takes back what was set later", async () => {
    const place = `${servers.newPrefix()}place`;
    const [one, two] = [blobsOf(place), blobsOf(place)];
    await Promise.all([one.setPointer("newest", encodeUtf8("one")), two.setPointer("newest", encodeUtf8("two"))]);
    await one.setPointer("newest", encodeUtf8("last"));
    assert.equal(Buffer.from((await two.readPointer("newest"))!).toString(), "last");
  });
});
