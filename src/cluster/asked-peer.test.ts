import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { OnefoldError } from "../base/errors.ts";
import { limits } from "../base/limits.ts";
import { SeededRandom } from "../base/random.ts";
import { encodeValue } from "../base/value.ts";
import { AskedPeer } from "./asked-peer.ts";
import { decodeFrame, type PeerMessage } from "./peer-frame.ts";
import { PeerOutbox } from "./peer-outbox.ts";

const [first, second] = ["11", "22"].map((byte) => byte.repeat(8)) as [string, string];

/** A peer whose side is played by the test, with what was sent to it as text. */
function transcript() {
  const sent: string[] = [];
  const hellos: string[] = [];
  let flush = (): void => undefined;
  let nowMs = 0;
  let lastId = 0;
  const outbox = new PeerOutbox({
    life: "00".repeat(8),
    messageBytesMax: limits.networkMessageBytesMax,
    nowMs: () => nowMs,
    soon: (callback) => {
      flush = callback;
    },
    send: (_address, bytes) => {
      const { to, messages } = decodeFrame(bytes);
      const show = (message: PeerMessage): string => {
        if (message.type === "hello") hellos.push(message.nonce);
        return message.type === "request" ? `request ${message.id}` : message.type;
      };
      sent.push(`${messages.map(show).join(", ")} to ${to?.slice(0, 2) ?? "any"}`);
    },
  });
  const random = new SeededRandom("asked");
  const peer = new AskedPeer({ address: "b:1", limits, random, outbox, nowMs: () => nowMs, nextId: () => ++lastId });
  return {
    peer,
    hellos,
    call: () => {
      const call = peer.call("double", encodeValue(1), nowMs + 1000);
      return call.catch((error: unknown) => (error instanceof OnefoldError ? error.code : error));
    },
    /** What has left since the last time. */
    flushed: (): readonly string[] => {
      flush();
      return sent.splice(0);
    },
    after: (ms: number) => {
      nowMs += ms;
      peer.tick(nowMs);
    },
  };
}

describe("a peer that is asked", () => {
  test("is greeted until it says which life it is in, and asked then", async () => {
    const { peer, hellos, call, flushed, after } = transcript();
    const calls = [call(), call()];
    assert.deepEqual(flushed(), ["hello to any"]);
    after(limits.peerHelloMs);
    assert.deepEqual(flushed(), ["hello to any"]);
    assert.equal(hellos[0], hellos[1], "what it answers to the first is as good");
    peer.welcomed(first, hellos[0]!);
    assert.deepEqual(flushed(), ["request 1, request 2 to 11"]);
    peer.answered(2, encodeValue("two"));
    peer.answered(2, encodeValue("again"));
    peer.answered(1, encodeValue("one"));
    assert.deepEqual(await Promise.all(calls), ["one", "two"]);
    assert(peer.isIdle);
  });

  test("has another life only by its welcome to the newest nonce (AP1)", async () => {
    const { peer, hellos, call, flushed } = transcript();
    const lost = call();
    flushed();
    peer.welcomed(first, hellos[0]!);
    flushed();
    // Another life is heard: perhaps a later one, perhaps one that was over long ago.
    peer.heardOf(second);
    assert.deepEqual(flushed(), ["hello to any"]);
    peer.welcomed(second, hellos[0]!);
    const next = call();
    assert.deepEqual(flushed(), ["request 2 to 11"], "an answer to the old nonce proves nothing");
    peer.welcomed(second, hellos[1]!);
    assert.deepEqual(await Promise.all([lost, next]), ["outcome-unknown", "outcome-unknown"]);
    const last = call();
    assert.deepEqual(flushed(), ["request 3 to 22"]);
    peer.answered(3, encodeValue(3));
    assert.equal(await last, 3);
  });

  test("is asked for its life again once that has ended, or another was heard while nothing was under way", async () => {
    for (const end of ["said", "heard"]) {
      const { peer, hellos, call, flushed } = transcript();
      const done = call();
      flushed();
      peer.welcomed(first, hellos[0]!);
      flushed();
      peer.answered(1, encodeValue(1));
      assert.equal(await done, 1);
      if (end === "said") peer.endsLife();
      else peer.heardOf(second);
      const next = call();
      assert.deepEqual(flushed(), ["hello to any"], end);
      peer.welcomed(second, hellos[1]!);
      assert.deepEqual(flushed(), ["request 2 to 22"]);
      peer.answered(2, encodeValue(2));
      assert.equal(await next, 2);
    }
  });

  test("that has not ended yet goes on with what it was asked", async () => {
    const { peer, hellos, call, flushed } = transcript();
    const before = call();
    flushed();
    peer.welcomed(first, hellos[0]!);
    flushed();
    peer.endsLife();
    const after = call();
    flushed();
    peer.welcomed(first, hellos[1]!);
    assert.deepEqual(flushed(), ["request 2 to 11"]);
    peer.answered(1, encodeValue(1));
    peer.answered(2, encodeValue(2));
    assert.deepEqual(await Promise.all([before, after]), [1, 2]);
  });

  test("that never said it has had nothing sent to it", async () => {
    const { call, flushed, after } = transcript();
    const unsent = call();
    flushed();
    after(1000);
    assert.equal(await unsent, "unavailable");
  });
});
