/** Numbers and sessions as the server sees them, on a platform whose server is this test. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { Decoder } from "../wire/decoder.ts";
import { Encoder } from "../wire/encoder.ts";
import type { bank } from "./bank.fixture.ts";
import { connectOn } from "./connect.ts";
import type { SocketListener } from "./platform.ts";
import { nodePlatform } from "./platform/node.ts";
import { RequestSession } from "./request-session.ts";

type Message = readonly unknown[];

/** A server that keeps what it is told, and answers as the test says. */
class Script {
  readonly said: Message[] = [];
  #listener: SocketListener | undefined;
  #welcomes = 0;
  readonly client;
  readonly #limits: object;

  constructor(limits: object = {}) {
    this.#limits = limits;
    const openSocket = (_url: string, _protocol: string, _headers: object, listener: SocketListener) => {
      this.#listener = listener;
      setImmediate(() => listener.opened());
      return { send: (frame: Uint8Array) => this.#heard(frame), close: () => undefined };
    };
    this.client = connectOn<typeof bank>({ ...nodePlatform(), random: () => 0, openSocket }, "http://node", {
      transport: "socket",
    });
  }

  #heard(frame: Uint8Array): void {
    const decoder = new Decoder();
    decoder.open(frame);
    const messages = decoder.value() as Message[];
    if (messages[0]![0] === 0) this.#welcome();
    else this.said.push(...messages);
  }

  #welcome(): void {
    this.say([
      0,
      {
        system: "bank",
        session: `session-${++this.#welcomes}`,
        sessionMs: 86_400_000,
        callsMax: 1024,
        callBytesMax: 8_000_000,
        frameBytesMax: 1_100_000,
        subscriptionsMax: 10,
        sessionRequestsMax: 4,
        silenceMsMax: 60_000,
        ...this.#limits,
      },
    ]);
  }

  say(...messages: readonly Message[]): void {
    const encoder = new Encoder();
    encoder.value(messages);
    this.#listener!.frame(encoder.take());
  }

  lose(code = 1006): void {
    this.#listener!.closed(code, "");
  }

  /** The next `count` messages. */
  async hear(count: number): Promise<Message[]> {
    const endMs = performance.now() + 5000;
    while (this.said.length < count) {
      assert.ok(performance.now() < endMs, `only ${JSON.stringify(this.said)}`);
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
    assert.equal(this.said.length, count, JSON.stringify(this.said));
    return this.said.splice(0);
  }
}

const touch = (id: number, number: number) => [1, id, number, "account", "a", "touch"];

describe("a request session", () => {
  test("gives numbers in order and knows the lowest whose answer is awaited", () => {
    const session = new RequestSession("token", 0);
    assert.deepEqual([session.next, session.lowest], [1, 1]);
    assert.deepEqual([session.take(), session.take(), session.take()], [1, 2, 3]);
    session.done(2);
    assert.deepEqual([session.lowest, session.openCount], [1, 2]);
    session.done(1);
    assert.equal(session.lowest, 3);
    session.done(3);
    assert.deepEqual([session.lowest, session.next], [4, 4]);
  });
});

describe("a client's numbers", () => {
  test("are told with the session and the lowest unanswered one, in the frame that needs them", async () => {
    const script = new Script();
    const { client } = script;
    const first = client.account("a").touch();
    assert.deepEqual(await script.hear(2), [[11, 1, "session-1"], touch(1, 1)]);
    script.say([1, 1, 5]);
    await first;
    const second = client.account("a").touch();
    assert.deepEqual(await script.hear(2), [[11, 2], touch(3, 2)]);
    script.say([1, 3, 6]);
    await second;
    client.$close();
  });

  test("stay with their calls over a reconnect, under the session that they were given in", async () => {
    const script = new Script();
    const { client } = script;
    const calls = [client.account("a").touch(), client.account("a").touch()];
    await script.hear(3);
    script.say([1, 1, 5]);
    script.lose();
    assert.deepEqual(await script.hear(2), [[11, 2, "session-1"], touch(3, 2)]);
    script.say([1, 3, 6]);
    await Promise.all(calls);
    client.$close();
  });

  test("are not given to what has been answered as a read", async () => {
    const script = new Script();
    const { client } = script;
    const first = client.account("a").balance();
    assert.deepEqual((await script.hear(2))[1], [1, 1, 1, "account", "a", "balance"]);
    script.say([2, 1, 5, 7]);
    assert.equal(await first, 7);
    const second = client.account("b").balance();
    assert.deepEqual((await script.hear(2))[1], [1, 3, null, "account", "b", "balance"]);
    script.say([2, 3, 5, 8]);
    assert.equal(await second, 8);
    client.$close();
  });

  test("go on in a new session where one slow call would hold up all later ones", async () => {
    const script = new Script();
    const { client } = script;
    const slow = client.account("a").touch();
    const quick = Array.from({ length: 4 }, () => client.account("a").touch());
    // Four fit in the window; the fifth waits.
    assert.deepEqual((await script.hear(5)).slice(1), [touch(1, 1), touch(3, 2), touch(5, 3), touch(7, 4)]);
    script.say([1, 3, 5], [1, 5, 5], [1, 7, 5]);
    const [mint] = await script.hear(1);
    assert.equal(mint![0], 12);
    script.say([2, mint![1], 0, { session: "fresh", sessionMs: 1000 }]);
    assert.deepEqual(await script.hear(2), [[11, 1, "fresh"], touch(9, 1)]);
    script.say([1, 9, 6], [1, 1, 7]);
    await Promise.all([slow, ...quick]);
    client.$close();
  });

  test("are new ones in a new session where the old one had ended before the call was ever run", async () => {
    const script = new Script();
    const { client } = script;
    const call = client.account("a").touch();
    await script.hear(2);
    const ended = { code: "session-expired", retry: "never", status: 409, detail: "ended" };
    script.say([3, 1, ended]);
    const [mint] = await script.hear(1);
    script.say([2, mint![1], 0, { session: "fresh", sessionMs: 1000 }]);
    assert.deepEqual(await script.hear(2), [[11, 1, "fresh"], touch(1, 1)]);
    // Sent once more after that, it may have been run: now the end of the session is the caller's to know.
    script.lose();
    await script.hear(2);
    script.say([3, 1, ended]);
    await assert.rejects(call, { code: "session-expired" });
    client.$close();
  });

  test("are kept where a call is tried again because its outcome is unknown, and a bug is not tried again", async () => {
    const script = new Script();
    const { client } = script;
    const call = client.account("a").touch();
    await script.hear(2);
    for (const code of ["outcome-unknown", "conflict"]) {
      script.say([3, 1, { code, retry: code === "conflict" ? "safe" : "unknown", status: 503, detail: "" }]);
      assert.deepEqual(await script.hear(1), [touch(1, 1)]);
    }
    script.say([3, 1, { code: "internal", retry: "unknown", status: 500, detail: "" }]);
    await assert.rejects(call, { code: "internal" });
    client.$close();
  });

  test("wait for half as many calls at once after the server had to end a connection that took too little", async () => {
    const script = new Script({ callsMax: 4, sessionRequestsMax: 100 });
    const { client } = script;
    const calls = Array.from({ length: 4 }, () => client.account("a").touch());
    await script.hear(5);
    script.lose(4429);
    assert.equal((await script.hear(3)).length, 3);
    script.say([1, 1, 5], [1, 3, 5]);
    await script.hear(3);
    script.say([1, 5, 5], [1, 7, 5]);
    await Promise.all(calls);
    client.$close();
  });
});
