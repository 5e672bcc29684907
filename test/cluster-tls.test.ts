/** docs/clusters.md, done as it says on this machine: three servers, three nodes, TLS on every link, and nobody without a certificate. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { readFile, stat, writeFile } from "node:fs/promises";
import { connect as connectPlain, type Socket } from "node:net";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { connect as connectTls } from "node:tls";
import { fileURLToPath } from "node:url";
import { isDeepStrictEqual } from "node:util";
import type { ClusterView } from "../src/wire/cluster-view.ts";
import { isInstalled, PageCluster, type PageHost } from "./clusters-page.fixture.ts";
import { until } from "./member.fixture.ts";

const skip =
  process.platform !== "linux"
    ? "only Linux has more than one loopback address from the start"
    : (await isInstalled("openssl", "version"))
      ? false
      : "openssl is not installed";

interface Identity {
  readonly cert: string;
  readonly key: string;
}

const strangerFile = (name: string): Promise<string> =>
  readFile(new URL(`fixtures/tls/${name}.pem`, import.meta.url), "utf8");

/** All that is said on a TLS connection on which `first` was sent, until the other end ends it; empty where it says nothing at all. */
async function saidBy(
  options: {
    readonly host: string;
    readonly port: number;
    readonly ca: string;
    readonly identity: Identity | undefined;
    /** Connected already. */
    readonly socket?: Socket;
  },
  first: string | Buffer,
): Promise<string> {
  const { identity, socket, host, port, ca } = options;
  const tls = connectTls({ host, port, ca, ...(identity ?? {}), ...(socket === undefined ? {} : { socket }) });
  let said = "";
  tls.on("data", (bytes) => {
    said += bytes.toString("latin1");
  });
  tls.once("secureConnect", () => tls.write(first));
  // How it ends, by an alert or a reset, is the platform's; that it does is waited for.
  tls.on("error", () => undefined);
  tls.setTimeout(10_000, () => tls.destroy(new Error("The connection was not ended.")));
  await new Promise((resolve) => tls.once("close", resolve));
  return said;
}

describe("docs/clusters.md", { skip, timeout: 300_000 }, () => {
  let cluster: PageCluster;
  const identities = new Map<"host" | "stranger" | "none", Identity | undefined>();

  before(async () => {
    cluster = await PageCluster.make();
  });
  after(() => cluster.remove());

  test("shows files that are what its scripts need", () => {
    assert.deepEqual(
      cluster.blocks.flatMap(({ file }) => file ?? []),
      [
        "counters.ts",
        "certificates.sh",
        "credentials.sh",
        "nats.conf",
        "node.env",
        "place.sh",
        "client.ts",
        "accounts.ts",
      ],
    );
  });

  test("makes authorities, certificates and passwords that nobody else can read", async () => {
    const { exitCode, errors } = await cluster.run(cluster.command("sh certificates.sh n1="));
    assert.equal(exitCode, 0, errors);
    for (const { name, address } of cluster.hosts) {
      const checked = await cluster.run(
        [
          `openssl verify -CAfile ca.pem -purpose sslserver -verify_ip ${address} ${name}.pem`,
          `openssl verify -CAfile ca.pem -purpose sslclient ${name}.pem`,
          `openssl verify -CAfile port-ca.pem -purpose sslserver -verify_ip ${address} ${name}-port.pem`,
        ].join(" && "),
      );
      assert.equal(checked.exitCode, 0, checked.errors);
      // The port's authority says nothing of who is a node.
      assert.notEqual((await cluster.run(`openssl verify -CAfile ca.pem ${name}-port.pem`)).exitCode, 0);
    }
    for (const file of [
      "ca-key.pem",
      "n1-key.pem",
      "n1-port-key.pem",
      "accounts.conf",
      "routes.conf",
      "engine.json",
      "system.env",
    ]) {
      assert.equal((await stat(join(cluster.folder, file))).mode & 0o077, 0, file);
    }
    const authority = await cluster.read("ca.pem");
    const more = await cluster.run("sh certificates.sh n4=DNS:n4.example.net,IP:127.0.0.1");
    assert.equal(more.exitCode, 0, more.errors);
    assert.equal(await cluster.read("ca.pem"), authority, "an authority that is there is used again");
    identities.set("none", undefined);
    identities.set("host", { cert: await cluster.read("n1.pem"), key: await cluster.read("n1-key.pem") });
    identities.set("stranger", { cert: await strangerFile("stranger"), key: await strangerFile("stranger-key") });
  });

  test("gives each host its files", async () => {
    for (const host of cluster.hosts) {
      const { exitCode, errors } = await cluster.place(host);
      assert.equal(exitCode, 0, errors);
      await cluster.assertCredentials(host);
      for (const file of ["etc/nats/nats.conf", "etc/onefold/node.env"]) {
        assert.doesNotMatch(await readFile(join(host.root, file), "utf8"), /@\w+@/);
      }
    }
  });

  test("starts three servers and three nodes, by the units' command lines", async () => {
    for (const host of cluster.hosts) await cluster.startServer(host);
    for (const host of cluster.hosts) await cluster.serverHealthy(host);
    for (const host of cluster.hosts) await cluster.startNode(host);
    for (const host of cluster.hosts) await cluster.nodeReady(host);
  });

  test("shows commands that look at it and call it", async () => {
    const { exitCode, output, errors } = await cluster.run(cluster.command("npx onefold cluster status"));
    assert.equal(exitCode, 0, errors);
    assert.match(output, /^counters \(nats\): 3 nodes, 16 shards/);
    assert.deepEqual(output.trim().split("\n").slice(-3), ["1", "2", "2"]);
    const authorization = { authorization: `Bearer ${await cluster.token()}` };
    const [first] = cluster.hosts;
    await until("all shards are served, and followed in another zone", async () => {
      const { body } = (await cluster.ask(first!, "/v1/cluster", authorization))!;
      const { nodes, shards } = JSON.parse(body) as ClusterView;
      assert.deepEqual(nodes.map(({ name, labels, httpUrl }) => [name, labels.zone, httpUrl]).sort(), [
        ...cluster.hosts.map(({ name, zone, address }) => [name, zone, `https://${address}:7400`]),
      ]);
      return (
        shards.length === 16 &&
        shards.every(
          ({ isServed, owner, followers }) => isServed && followers.length === 1 && followers[0]!.node !== owner,
        )
      );
    });
  });

  test("shows a client that is given all addresses", async () => {
    const { exitCode, output, errors } = await cluster.run(
      ". ./system.env; export OPERATOR_TOKEN NODE_EXTRA_CA_CERTS=port-ca.pem; tsx client.ts",
    );
    assert.equal(exitCode, 0, errors);
    assert.equal(output, "3\n");
  });

  test("lets nobody to the nodes' port without a certificate of the authority", async () => {
    const ca = await cluster.read("ca.pem");
    const first = cluster.hosts[0]!;
    // No hello: whoever is let in breaks the protocol with it, and the node says which of the two it was.
    const foreign = Buffer.from("0000000a00000000000000000000", "hex");
    const countOf = (line: RegExp): number => [...cluster.logOf(first).matchAll(line)].length;
    const counts = () => ({
      refused: countOf(/without a certificate of the cluster's authority was refused/g),
      letIn: countOf(/An incoming connection broke the protocol and was ended/g),
    });
    assert.deepEqual(counts(), { refused: 0, letIn: 0 });
    for (const [who, then] of [
      ["none", { refused: 1, letIn: 0 }],
      ["stranger", { refused: 2, letIn: 0 }],
      ["host", { refused: 2, letIn: 1 }],
    ] as const) {
      const options = { host: first.address, port: 7401, ca, identity: identities.get(who) };
      assert.equal(await saidBy(options, foreign), "", who);
      await until(`the node has said of ${who} what came of it`, () => isDeepStrictEqual(counts(), then));
    }
  });

  test("lets nobody to the servers' ports without a certificate of the authority, nor with one and no password", async () => {
    const ca = await cluster.read("ca.pem");
    const { address: host } = cluster.hosts[0]!;
    for (const [who, identity] of identities) {
      const socket = connectPlain({ host, port: 4222 });
      const [hello] = (await once(socket, "data")) as [Buffer];
      const facts = JSON.parse(hello.toString("utf8").replace(/^INFO /, "")) as Record<string, unknown>;
      assert.equal(facts.tls_required, true);
      assert.equal(facts.tls_verify, true);
      const toNodes = await saidBy({ host, port: 4222, ca, socket, identity }, "CONNECT {}\r\nPING\r\n");
      const toServers = await saidBy({ host, port: 6222, ca, identity }, 'CONNECT {"name":"stranger"}\r\nPING\r\n');
      if (who === "host") {
        assert.match(toNodes, /^-ERR 'Authorization Violation'/);
        assert.match(toServers, /-ERR 'Authorization Violation'/);
      } else assert.deepEqual({ toNodes, toServers }, { toNodes: "", toServers: "" }, who);
    }
  });

  test("serves HTTPS alone, and asks callers who they are", async () => {
    const [first] = cluster.hosts;
    await assert.rejects(fetch(`http://${first!.address}:7400/readyz`), TypeError);
    await assert.rejects(
      fetch(`https://${first!.address}:7400/readyz`),
      TypeError,
      "an authority that the caller does not know",
    );
    assert.equal((await cluster.ask(first!, "/v1/cluster"))?.status, 401);
    assert.equal((await cluster.ask(first!, "/v1/cluster", { authorization: "Bearer guess" }))?.status, 401);
  });

  test("keeps out a node whose certificate is another authority's, and one with a wrong password, and it says so", async () => {
    const [, second, third] = cluster.hosts as [PageHost, PageHost, PageHost];
    const authorization = { authorization: `Bearer ${await cluster.token()}` };
    assert.equal(await cluster.stopNode(third), 0);
    const wrong = { user: "onefold", pass: "guess" };
    await writeFile(join(cluster.folder, "wrong.json"), JSON.stringify({ account: wrong, system: wrong }));
    const fixture = (name: string): string => fileURLToPath(new URL(`fixtures/tls/${name}.pem`, import.meta.url));
    for (const changes of [
      { "--node-cert": fixture("stranger"), "--node-key": fixture("stranger-key") },
      { "--engine-credentials": "wrong.json" },
    ]) {
      await cluster.startNode(third, changes);
      await until("it says that the engine does not let it in", () =>
        /None of the engine's servers lets this node in/.test(cluster.logOf(third)),
      );
      const { status, body } = (await cluster.ask(third, "/readyz"))!;
      assert.equal(status, 503);
      assert.match(body, /"problems":\["unavailable: None of the engine's servers lets this node in/);
      assert.equal(await cluster.stopNode(third), 0);
    }
    const { body } = (await cluster.ask(second, "/v1/cluster", authorization))!;
    assert.deepEqual(
      (JSON.parse(body) as ClusterView).nodes.map(({ name }) => name),
      ["n1", "n2"],
    );
    await cluster.startNode(third);
    await cluster.nodeReady(third);
  });

  test("restarts a server and a node while calls go on, and no call fails", async () => {
    const [host] = cluster.hosts as [PageHost];
    const load = await cluster.callForever();
    await load.counted(20);
    await cluster.stopServer(host);
    await cluster.startServer(host);
    await cluster.serverHealthy(host);
    assert.equal(await cluster.stopNode(host), 0);
    await cluster.startNode(host);
    await cluster.nodeReady(host);
    await load.counted(20);
    await load.end();
  });
});
