/** What every `Network` must do while nothing fails; losses and delays are the simulated network's own tests. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { decodeUtf8, encodeUtf8 } from "../base/bytes.ts";
import type { Timers } from "./host.ts";
import { type Endpoint, type Network, NetworkError, type NetworkErrorCode, queuedBytes } from "./network.ts";

export interface NetworkFixture {
  /** The networks of two nodes, with limits `bounds`, and the hosts that these nodes can listen on. */
  readonly nodes: readonly [NetworkNode, NetworkNode];
  readonly bounds: { readonly messageBytesMax: number; readonly queueBytesMax: number };
  readonly timers: Timers;
  /** Runs a test's body to its end: a simulated network needs its scheduler to run meanwhile. */
  run(body: () => Promise<void>): Promise<void>;
}

export interface NetworkNode {
  readonly network: Network;
  readonly host: string;
}

interface Message {
  readonly from: string;
  readonly bytes: Uint8Array;
}

/** An endpoint that keeps what it receives. */
class Inbox {
  readonly received: Message[] = [];
  endpoint!: Endpoint;
  #waiting: { readonly count: number; readonly resolve: () => void } | undefined;

  static async open(node: NetworkNode, port = 0): Promise<Inbox> {
    const inbox = new Inbox();
    inbox.endpoint = await node.network.listen(`${node.host}:${port}`, (bytes, from) => inbox.#take({ bytes, from }));
    return inbox;
  }

  get address(): string {
    return this.endpoint.address;
  }

  get texts(): string[] {
    return this.received.map(({ bytes }) => decodeUtf8(bytes));
  }

  send(to: Inbox, text: string): void {
    this.endpoint.send(to.address, encodeUtf8(text));
  }

  /** Resolves once so many messages have been received in all. */
  until(count: number): Promise<void> {
    if (this.received.length >= count) return Promise.resolve();
    return new Promise((resolve) => {
      this.#waiting = { count, resolve };
    });
  }

  #take(message: Message): void {
    this.received.push(message);
    if (this.#waiting !== undefined && this.received.length >= this.#waiting.count) this.#waiting.resolve();
  }
}

function hasCode(code: NetworkErrorCode): (error: unknown) => boolean {
  return (error) => {
    assert(error instanceof NetworkError, `expected a NetworkError, got ${String(error)}`);
    assert.equal(error.code, code);
    return true;
  };
}

/** Bytes in which every displaced or changed piece would show. */
function pattern(length: number, salt: number): Uint8Array {
  const bytes = new Uint8Array(length);
  for (let i = 0; i < length; i++) bytes[i] = (i * 31 + (i >>> 8) * 7 + salt) & 0xff;
  return bytes;
}

/** Declares the suite; `makeFixture` gives nodes of its own for each test. */
export function networkSuite(name: string, makeFixture: () => NetworkFixture): void {
  const check = (
    title: string,
    body: (fixture: NetworkFixture, open: (node: 0 | 1, port?: number) => Promise<Inbox>) => Promise<void>,
  ) =>
    test(title, { timeout: 10_000 }, async () => {
      const fixture = makeFixture();
      const opened: Inbox[] = [];
      await fixture.run(async () => {
        try {
          await body(fixture, async (node, port) => {
            const inbox = await Inbox.open(fixture.nodes[node], port);
            opened.push(inbox);
            return inbox;
          });
        } finally {
          await Promise.all(opened.map((inbox) => inbox.endpoint.close()));
        }
      });
    });

  describe(`network: ${name}`, () => {
    check("brings a message with its sender's address, to which an answer finds its way", async (_fixture, open) => {
      const [one, other] = [await open(0), await open(1)];
      one.send(other, "question");
      await other.until(1);
      assert.equal(other.received[0]!.from, one.address);
      other.endpoint.send(other.received[0]!.from, encodeUtf8("answer"));
      await one.until(1);
      assert.deepEqual([one.texts, other.texts], [["answer"], ["question"]]);
      assert.equal(one.received[0]!.from, other.address);
    });

    check(
      "brings all messages between two endpoints once, in order and unchanged, whatever their sizes",
      async ({ bounds }, open) => {
        const [one, other] = [await open(0), await open(1)];
        const lengths = Array.from({ length: 400 }, (_, i) => (i * i * 7) % 5000);
        lengths.push(0, bounds.messageBytesMax, 1, 0, 65_535, 65_536, 65_537);
        for (const [i, length] of lengths.entries()) one.endpoint.send(other.address, pattern(length, i));
        await other.until(lengths.length);
        for (const [i, length] of lengths.entries()) {
          assert.deepEqual(Buffer.from(other.received[i]!.bytes), Buffer.from(pattern(length, i)), `message ${i}`);
        }
        one.send(other, "end");
        await other.until(lengths.length + 1);
        assert.equal(decodeUtf8(other.received.at(-1)!.bytes), "end");
      },
    );

    check("connects many endpoints with one another and with themselves", async (_fixture, open) => {
      const inboxes = await Promise.all(([0, 1, 0, 1, 0] as const).map((node) => open(node)));
      assert.equal(new Set(inboxes.map(({ address }) => address)).size, 5);
      for (const one of inboxes) for (const other of inboxes) one.send(other, `${one.address} ${other.address}`);
      await Promise.all(inboxes.map((inbox) => inbox.until(5)));
      for (const inbox of inboxes) {
        const expected = inboxes.map(({ address }) => `${address} ${inbox.address}`);
        assert.deepEqual([...inbox.texts].sort(), expected.sort());
      }
    });

    check("shares no memory with either side", async (_fixture, open) => {
      const [one, other] = [await open(0), await open(1)];
      const bytes = encodeUtf8("original");
      one.endpoint.send(other.address, bytes);
      bytes.fill(0);
      one.endpoint.send(one.address, bytes);
      await Promise.all([other.until(1), one.until(1)]);
      assert.deepEqual(other.texts, ["original"]);
      one.received[0]!.bytes.fill(1);
      assert.deepEqual(
        [...bytes],
        Array.from({ length: 8 }, () => 0),
      );
    });

    check("never calls a receiver inside a send (N4)", async ({ nodes }) => {
      let isSending = false;
      let count = 0;
      let done: () => void = () => undefined;
      const finished = new Promise<void>((resolve) => {
        done = resolve;
      });
      const send = () => {
        isSending = true;
        endpoint.send(endpoint.address, encodeUtf8("again"));
        isSending = false;
      };
      const endpoint = await nodes[0].network.listen(`${nodes[0].host}:0`, () => {
        assert.equal(isSending, false);
        if (++count === 20) done();
        else send();
      });
      send();
      await finished;
      await endpoint.close();
    });

    check("refuses a message above the limit, and goes on", async ({ bounds }, open) => {
      const [one, other] = [await open(0), await open(1)];
      const tooLarge = new Uint8Array(bounds.messageBytesMax + 1);
      assert.throws(() => one.endpoint.send(other.address, tooLarge), hasCode("too-large"));
      one.send(other, "smaller");
      await other.until(1);
      assert.deepEqual(other.texts, ["smaller"]);
    });

    check(
      "refuses what a peer has no room for, forgets nothing that it took, and has room again later (N3)",
      async ({ bounds }, open) => {
        const [one, other, third] = [await open(0), await open(1), await open(1)];
        const message = new Uint8Array(10_000);
        const countMax = Math.floor(bounds.queueBytesMax / queuedBytes(message.length));
        for (let i = 0; i < countMax; i++) one.endpoint.send(other.address, message);
        assert.throws(() => one.endpoint.send(other.address, message), hasCode("full"));
        one.send(third, "not concerned");
        await Promise.all([other.until(countMax), third.until(1)]);
        one.send(other, "question");
        await other.until(countMax + 1);
        other.send(one, "answer");
        await one.until(1);
        for (let i = 0; i < countMax; i++) one.endpoint.send(other.address, message);
        await other.until(2 * countMax + 1);
        assert.equal(other.received.filter(({ bytes }) => bytes.length === message.length).length, 2 * countMax);
      },
    );

    check("counts empty messages too (N3)", async ({ bounds }, open) => {
      const [one, other] = [await open(0), await open(1)];
      const countMax = Math.floor(bounds.queueBytesMax / queuedBytes(0));
      const flood = () => {
        for (let i = 0; i <= countMax; i++) one.endpoint.send(other.address, new Uint8Array(0));
      };
      assert.throws(flood, hasCode("full"));
      await other.until(countMax);
    });

    check("loses what is sent to nobody, and finds whoever comes there later", async ({ timers }, open) => {
      const sender = await open(0);
      let receiver = await open(1);
      const port = Number(receiver.address.split(":").at(-1));
      for (let round = 0; round < 2; round++) {
        await receiver.endpoint.close();
        for (let i = 0; i < 10; i++) sender.send(receiver, "lost");
        receiver = await open(1, port);
        const found = receiver.until(1);
        let isFound = false;
        void found.then(() => {
          isFound = true;
        });
        const attempt = () => {
          if (isFound) return;
          sender.send(receiver, "found");
          timers.after(20, attempt, { keepsAlive: true });
        };
        attempt();
        await found;
      }
    });

    check("takes and gives nothing after it was closed, and frees the address", async (_fixture, open) => {
      const [one, other] = [await open(0), await open(1)];
      one.send(other, "before");
      await other.until(1);
      one.send(other, "meanwhile");
      const closing = other.endpoint.close();
      const receivedCount = other.received.length;
      assert.throws(() => other.send(one, "after"), hasCode("closed"));
      await Promise.all([closing, other.endpoint.close()]);
      const port = Number(other.address.split(":").at(-1));
      const next = await open(1, port);
      assert.equal(next.address, other.address);
      next.send(one, "next");
      await one.until(1);
      assert.deepEqual(one.texts, ["next"]);
      assert.equal(other.received.length, receivedCount);
    });

    check("refuses an address that is taken", async ({ nodes }, open) => {
      const one = await open(0);
      const again = nodes[0].network.listen(one.address, () => undefined);
      await assert.rejects(again, hasCode("address-in-use"));
    });

    check("refuses what is no address", async ({ nodes }, open) => {
      const one = await open(0);
      const { host, network } = nodes[0];
      const wrong = ["", ":1", host, `${host}:`, `${host}:65536`, `${host}:1x`, `a b:1`, "0.0.0.0:1", "[::]:1", "0:1"];
      wrong.push(`${"x".repeat(254)}:1`, `${host}:1\n`);
      for (const address of wrong) {
        assert.throws(() => one.endpoint.send(address, new Uint8Array(1)), hasCode("invalid-address"), address);
        await assert.rejects(
          network.listen(address, () => undefined),
          hasCode("invalid-address"),
          address,
        );
      }
      assert.throws(() => one.endpoint.send(`${host}:0`, new Uint8Array(1)), hasCode("invalid-address"));
    });

    check("refuses to listen on an address of another machine", async ({ nodes }) => {
      // 192.0.2.0/24 is for documentation (RFC 5737): no machine has it.
      const listening = nodes[0].network.listen("192.0.2.1:0", () => undefined);
      await assert.rejects(listening, hasCode("failed"));
    });
  });
}
