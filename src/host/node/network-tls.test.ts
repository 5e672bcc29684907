import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { connect as connectPlain } from "node:net";
import { afterEach, describe, test } from "node:test";
import { encodeUtf8 } from "../../base/bytes.ts";
import type { Endpoint } from "../network.ts";
import { networkSuite } from "../network.suite.ts";
import { nodeTimers } from "./clock.ts";
import { NodeNetwork } from "./network.ts";
import type { NetworkTls } from "./network-tls.ts";

const host = "127.0.0.1";
const bounds = { messageBytesMax: 100_000, queueBytesMax: 1_500_000 };

const read = (name: string): string =>
  readFileSync(new URL(`../../../test/fixtures/tls/${name}.pem`, import.meta.url), "utf8");
const ours: NetworkTls = { certificate: read("node"), key: read("node-key"), authority: read("authority") };
const theirs: NetworkTls = {
  certificate: read("stranger"),
  key: read("stranger-key"),
  authority: read("stranger-authority"),
};

networkSuite("real, with TLS", () => {
  const node = () => {
    const limits = { networkMessageBytesMax: bounds.messageBytesMax, networkQueueBytesMax: bounds.queueBytesMax };
    return { network: new NodeNetwork({ trace: () => undefined, limits, tls: ours }), host };
  };
  return { nodes: [node(), node()], bounds, timers: nodeTimers, run: (body) => body() };
});

describe("the real network with TLS", () => {
  const cleanups: (() => Promise<void> | void)[] = [];
  afterEach(async () => {
    for (const cleanup of cleanups.splice(0)) await cleanup();
  });

  /** An endpoint that keeps what it got, and tells of its first warning. */
  async function listening(tls: NetworkTls | undefined, name = host) {
    const got: string[] = [];
    let warned: ((line: string) => void) | undefined;
    const warning = new Promise<string>((resolve) => {
      warned = resolve;
    });
    const trace = (level: string, message: string): void => {
      if (level === "warn") warned?.(message);
    };
    const network = new NodeNetwork({ trace, ...(tls === undefined ? {} : { tls }) });
    const endpoint: Endpoint = await network.listen(`${name}:0`, (message) =>
      got.push(Buffer.from(message).toString()),
    );
    cleanups.push(() => endpoint.close());
    return { endpoint, got, warning };
  }

  const cases = [
    { what: "a certificate of another authority", sender: theirs, receiver: ours },
    { what: "no certificate", sender: undefined, receiver: ours },
    {
      what: "a certificate of the authority from one who trusts another",
      sender: { ...ours, authority: theirs.authority },
      receiver: ours,
    },
    { what: "a receiver without TLS", sender: ours, receiver: undefined },
  ];
  for (const { what, sender, receiver } of cases) {
    test(`lets nothing through with ${what}`, async () => {
      const from = await listening(sender);
      const to = await listening(receiver);
      from.endpoint.send(to.endpoint.address, encodeUtf8("secret"));
      assert.match(await from.warning, /A peer is away/);
      assert.deepEqual(to.got, []);
    });
  }

  test("says so where somebody comes without a certificate, and goes on", async () => {
    const to = await listening(ours);
    const stranger = connectPlain({ host, port: Number(to.endpoint.address.split(":").at(-1)) });
    cleanups.push(() => void stranger.destroy());
    stranger.on("error", (error: NodeJS.ErrnoException) => assert.match(String(error.code), /ECONNRESET|EPIPE/));
    stranger.write("GET / HTTP/1.1\r\n\r\n");
    assert.match(await to.warning, /without a certificate of the cluster's authority/);
    const from = await listening(ours);
    from.endpoint.send(to.endpoint.address, encodeUtf8("hello"));
    for (const endMs = Date.now() + 10_000; to.got.length === 0 && Date.now() < endMs; ) {
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    assert.deepEqual(to.got, ["hello"]);
  });

  // Other platforms have no second address of the loopback without being told.
  const skip = process.platform !== "linux";
  test("takes nobody whose certificate is for another name", { skip }, async () => {
    const from = await listening(ours);
    const to = await listening(ours, "127.0.0.2");
    from.endpoint.send(to.endpoint.address, encodeUtf8("secret"));
    assert.match(await from.warning, /A peer is away/);
    assert.deepEqual(to.got, []);
  });
});
