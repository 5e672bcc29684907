/**
 * `deploy/compose.yaml` and `deploy/kubernetes`, by the validators of those who know these formats, and held against what a node, the page and
 * the engine's server say.
 */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { parse, parseAllDocuments } from "yaml";
import { kubernetesValidate } from "../scripts/kubernetes-validate.ts";
import { natsServerForTests } from "../scripts/nats-server.ts";
import { limits } from "../src/base/limits.ts";
import { versionMin } from "../src/log/engine/nats/server-version.ts";
import { isInstalled } from "./clusters-page.fixture.ts";
import { inProcess } from "./command-line.fixture.ts";
import { blocksOf, shell } from "./page.fixture.ts";

const root = fileURLToPath(new URL("..", import.meta.url));
const kubernetes = join(root, "deploy", "kubernetes");
const blocks = await blocksOf("docs/clusters.md");
const composeText = await readFile(join(root, "deploy", "compose.yaml"), "utf8");
const withoutOpenssl = (await isInstalled("openssl", "version")) ? false : "openssl is not installed";

interface Ended {
  readonly code: number;
  readonly output: string;
}

async function run(program: string, args: readonly string[]): Promise<Ended> {
  try {
    const { stdout, stderr } = await promisify(execFile)(program, args, { cwd: root });
    return { code: 0, output: stdout + stderr };
  } catch (error) {
    const { code, stdout, stderr } = error as { code: unknown; stdout: string; stderr: string };
    if (typeof code !== "number") throw error;
    return { code, output: stdout + stderr };
  }
}

/** The options `--name=value` of words, all of which `onefold start` has. */
async function nodeOptions(words: readonly string[]): Promise<ReadonlyMap<string, string>> {
  assert.deepEqual(words.slice(0, 2), ["start", "."]);
  const { out } = await inProcess("start", "--help");
  const known = new Set([...out.matchAll(/--[a-z-]+/g)].map(([name]) => name));
  const options = new Map(words.slice(2).map((word) => word.split(/=(.*)/s).slice(0, 2) as [string, string]));
  for (const name of options.keys()) assert.ok(known.has(name), `onefold start has no ${name}`);
  return options;
}

/** What the scripts of the page make for these lines of it, in a folder that is removed with the test. */
async function made(context: { after(work: () => Promise<void>): void }, part: string): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "onefold-deploy-"));
  context.after(() => rm(folder, { recursive: true }));
  for (const { file, text } of blocks) if (file?.endsWith(".sh")) await writeFile(join(folder, file), text);
  const lines = blocks.find(
    ({ language, file, text }) => language === "sh" && file === undefined && text.includes(part),
  );
  const { exitCode, errors } = await shell(lines!.text, folder);
  assert.equal(exitCode, 0, errors);
  return folder;
}

/** That a server takes a configuration whose files are those of `folder`, by its own word. */
async function assertServerTakes(text: string, folder: string, files: Readonly<Record<string, string>>): Promise<void> {
  await mkdir(join(folder, "nats"));
  for (const [target, source] of Object.entries(files)) {
    await writeFile(join(folder, "nats", target), await readFile(join(folder, source)));
  }
  const moved = text.replaceAll("/etc/nats/", `${folder}/nats/`).replaceAll('"/data"', `"${folder}/data"`);
  const config = join(folder, "nats", "nats.conf");
  await writeFile(config, moved);
  assert.match(moved, /sync_interval: always/);
  assert.equal(moved.match(/verify: true/g)?.length, 2, "clients and servers show certificates");
  const { path } = await natsServerForTests();
  const { exitCode, errors } = await shell(`SERVER_NAME=engine-0 "${path}" -t --config "${config}"`, folder);
  assert.equal(exitCode, 0, errors);
  assert.match(errors, /is valid/);
}

describe("deploy/compose.yaml", () => {
  const compose = parse(composeText, { merge: true }) as {
    readonly services: Readonly<
      Record<
        string,
        {
          readonly image: string;
          readonly command: readonly string[];
          readonly stop_grace_period: string;
          readonly healthcheck: { readonly test: readonly string[] };
          readonly depends_on?: Readonly<Record<string, { readonly condition: string }>>;
          readonly volumes: readonly string[];
          readonly secrets: readonly { readonly source: string; readonly target: string }[];
        }
      >
    >;
    readonly secrets: Readonly<Record<string, { readonly file: string }>>;
  };
  const services = Object.entries(compose.services);
  const engines = services.filter(([name]) => name.startsWith("engine-"));
  const nodes = services.filter(([name]) => name.startsWith("node-"));
  let folder = "";
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "onefold-compose-"));
  });
  after(() => rm(folder, { recursive: true }));

  const lint = (file: string): Promise<Ended> =>
    run(process.execPath, [join(root, "node_modules/dclint/bin/dclint.cjs"), "--quiet", file]);

  test("is what the Compose specification's schema allows, which a misspelt word is not", async () => {
    const checked = await lint(join(root, "deploy", "compose.yaml"));
    assert.equal(checked.code, 0, checked.output);
    const misspelt = join(folder, "compose.yaml");
    await writeFile(misspelt, composeText.replace("stop_grace_period: 75s", "stop_grace_time: 75s"));
    const refused = await lint(misspelt);
    assert.equal(refused.code, 1, refused.output);
    assert.match(refused.output, /invalid-schema/);
  });

  test("has three servers and three nodes, each with a volume of its own, and nodes that wait for servers", () => {
    assert.equal(engines.length, 3);
    assert.equal(nodes.length, 3);
    assert.equal(new Set(services.flatMap(([, { volumes }]) => volumes)).size, 6);
    for (const [, { image }] of engines) assert.equal(image, `nats:${versionMin}-alpine`);
    for (const [name, { depends_on, healthcheck }] of nodes) {
      assert.deepEqual(
        Object.keys(depends_on!),
        engines.map(([engine]) => engine),
      );
      assert.equal(
        Object.values(depends_on!).every(({ condition }) => condition === "service_healthy"),
        true,
        name,
      );
      assert.equal(healthcheck.test[0], "CMD");
    }
  });

  test("gives nodes options that there are, addresses that are theirs, and time to stop", async () => {
    for (const [service, { command, stop_grace_period, secrets }] of nodes) {
      const options = await nodeOptions(command);
      assert.equal(options.get("--node-address"), `${service}:7401`);
      assert.equal(options.get("--cluster"), engines.map(([name]) => `nats://${name}:4222`).join(","));
      const files = [...options.values()].filter((value) => value.startsWith("/run/onefold/"));
      assert.deepEqual(files.sort(), secrets.map(({ target }) => target).sort());
      assert.ok(Number.parseInt(stop_grace_period, 10) * 1000 > 2 * limits.drainMs);
    }
  });

  test("names files that the page's scripts make, and a configuration that a server takes", {
    skip: withoutOpenssl,
  }, async (context) => {
    const secrets = await made(context, "engine=DNS:engine-1");
    const present = await readdir(secrets);
    for (const { file } of Object.values(compose.secrets))
      assert.ok(present.includes(file.replace("./secrets/", "")), file);
    const targets = engines[0]![1].secrets.map(({ source, target }) => [
      target.replace("/etc/nats/", ""),
      compose.secrets[source]!.file.replace("./secrets/", ""),
    ]);
    const text = await readFile(join(root, "deploy", "compose-nats.conf"), "utf8");
    await assertServerTakes(text, secrets, Object.fromEntries(targets) as Record<string, string>);
  });
});

interface Manifest {
  readonly kind: string;
  readonly metadata: { readonly name: string };
  // biome-ignore lint/suspicious/noExplicitAny: the validator has looked at its shape.
  readonly spec: any;
  readonly data?: Readonly<Record<string, string>>;
}

describe("the units of a cluster's host", () => {
  const unitOf = (name: string): Promise<string> => readFile(join(root, "deploy", name), "utf8");
  const secondsOf = (unit: string): number => Number(/^TimeoutStopSec=(\d+)$/m.exec(unit)?.[1]);

  test("restart whatever happens, stop by SIGTERM, and give a node time to answer and to hand over", async () => {
    const [node, server] = [await unitOf("onefold-node.service"), await unitOf("nats-server.service")];
    for (const unit of [node, server]) {
      assert.match(unit, /^Restart=always$/m);
      assert.match(unit, /^KillSignal=SIGTERM$/m);
      assert.match(unit, /^StartLimitIntervalSec=0$/m);
    }
    assert.ok(secondsOf(node) * 1000 > 2 * limits.drainMs);
    assert.match(server, /^ExecStart=\/usr\/local\/bin\/nats-server --config \/etc\/nats\/nats\.conf$/m);
    assert.doesNotMatch(node, /MemoryDenyWriteExecute=/, "V8 compiles");
    const page = await readFile(join(root, "docs", "clusters.md"), "utf8");
    const table = page.slice(page.indexOf("| In the nodes' unit |"), page.indexOf("## Starting"));
    const shown = [...table.matchAll(/^\| `(\w+=)([^`…]*)/gm)];
    assert.equal(shown.length, 4);
    for (const [, name, value] of shown) assert.ok(node.includes(`\n${name}${value}`), name);
  });

  test("are understood by systemd, where that is installed", async (context) => {
    if (!(await isInstalled("systemd-analyze", "--version"))) return context.skip("systemd-analyze is not installed");
    const folder = await mkdtemp(join(tmpdir(), "onefold-units-"));
    context.after(() => rm(folder, { recursive: true }));
    for (const name of ["onefold-node.service", "nats-server.service"]) {
      // It looks for the program, which this machine has elsewhere.
      await writeFile(join(folder, name), (await unitOf(name)).replace("/usr/local/bin/nats-server", "/bin/sh"));
      assert.deepEqual(await run("systemd-analyze", ["verify", join(folder, name)]), { code: 0, output: "" });
    }
  });
});

describe("deploy/kubernetes", async () => {
  const files = (await readdir(kubernetes)).sort();
  const manifests: Manifest[] = [];
  for (const file of files) {
    for (const document of parseAllDocuments(await readFile(join(kubernetes, file), "utf8"))) {
      assert.deepEqual(document.errors, []);
      manifests.push(document.toJS() as Manifest);
    }
  }
  const find = (kind: string, name: string): Manifest =>
    manifests.find((each) => each.kind === kind && each.metadata.name === name)!;

  test("is what the schemas of Kubernetes allow, which a misspelt word is not", async (context) => {
    const validator = await kubernetesValidate();
    if ("missing" in validator) return context.skip(validator.missing);
    const [program, ...args] = validator.words as [string, ...string[]];
    const checked = await run(program, [...args, ...files.map((file) => join(kubernetes, file))]);
    assert.equal(checked.code, 0, checked.output);
    assert.equal(checked.output.match(/ passed for resource /g)?.length, manifests.length);
    const folder = await mkdtemp(join(tmpdir(), "onefold-kubernetes-"));
    context.after(() => rm(folder, { recursive: true }));
    const misspelt = join(folder, "nodes.yaml");
    const text = await readFile(join(kubernetes, "nodes.yaml"), "utf8");
    await writeFile(misspelt, text.replace("terminationGracePeriodSeconds", "terminationGraceSeconds"));
    assert.equal((await run(program, [...args, misspelt])).code, 1);
  });

  test("lets one of each be away, spreads them over machines and zones, and probes them", () => {
    assert.deepEqual(
      manifests.map(({ kind, metadata }) => `${kind} ${metadata.name}`),
      [
        "ConfigMap engine",
        "Service engine",
        "PodDisruptionBudget engine",
        "StatefulSet engine",
        "Service nodes",
        "Service onefold",
        "PodDisruptionBudget nodes",
        "StatefulSet node",
      ],
    );
    for (const [set, budget, service] of [
      ["engine", "engine", "engine"],
      ["node", "nodes", "nodes"],
    ] as const) {
      const { spec } = find("StatefulSet", set);
      const labels = spec.template.metadata.labels;
      assert.deepEqual(spec.selector.matchLabels, labels);
      assert.equal(spec.replicas, 3);
      assert.equal(spec.serviceName, service);
      assert.deepEqual(find("PodDisruptionBudget", budget).spec, {
        maxUnavailable: 1,
        selector: { matchLabels: labels },
      });
      const headless = find("Service", service).spec;
      assert.deepEqual([headless.clusterIP, headless.selector], ["None", labels]);
      const pod = spec.template.spec;
      assert.equal(pod.securityContext.runAsNonRoot, true);
      assert.equal(pod.topologySpreadConstraints[0].topologyKey, "topology.kubernetes.io/zone");
      const [container] = pod.containers;
      for (const name of ["startupProbe", "readinessProbe", "livenessProbe"]) {
        const { port } = container[name].httpGet;
        assert.ok(
          container.ports.some((each: { name: string }) => each.name === port),
          `${set} ${name}`,
        );
      }
    }
  });

  test("gives nodes options that there are, names that their certificates have, and time to stop", async () => {
    const pod = find("StatefulSet", "node").spec.template.spec;
    const [container] = pod.containers;
    const options = await nodeOptions(container.args);
    const servers = [0, 1, 2].map((index) => `engine-${index}.engine.onefold.svc.cluster.local`);
    assert.equal(options.get("--cluster"), servers.map((name) => `nats://${name}:4222`).join(","));
    assert.equal(options.get("--node-address"), "$(POD_NAME).nodes.onefold.svc.cluster.local:7401");
    const page = blocks.find(({ text }) => text.includes("engine=DNS:*.engine"))!.text;
    assert.ok(page.includes(`sh credentials.sh ${servers.join(" ")}\n`));
    assert.ok(page.includes("node=DNS:*.nodes.onefold.svc.cluster.local"));
    assert.equal(container.readinessProbe.httpGet.path, "/readyz");
    const stopMs = pod.terminationGracePeriodSeconds * 1000;
    assert.ok(stopMs > 2 * limits.drainMs + container.lifecycle.preStop.sleep.seconds * 1000);
  });

  test("has secrets of files that the page's scripts make, and a configuration that a server takes", {
    skip: withoutOpenssl,
  }, async (context) => {
    const folder = await made(context, "engine=DNS:*.engine");
    const present = await readdir(folder);
    const text = blocks.find((block) => block.text.includes("kubectl create namespace"))!.text;
    const secrets = new Map(
      [...text.matchAll(/create secret generic (\S+) (.*)$/gm)].map(([, name, rest]) => [
        name!,
        Object.fromEntries(
          [...rest!.matchAll(/--from-(?:env-)?file=(?:([\w.-]+)=)?(\S+)/g)].map(([, key, file]) => [
            key ?? file!,
            file!,
          ]),
        ),
      ]),
    );
    assert.deepEqual([...secrets.keys()], ["onefold-engine", "onefold-node", "onefold-system"]);
    for (const files of secrets.values())
      for (const file of Object.values(files)) assert.ok(present.includes(file), file);
    const [container] = find("StatefulSet", "node").spec.template.spec.containers;
    const needed = [...(await nodeOptions(container.args)).values()].filter((value) =>
      value.startsWith("/etc/onefold/"),
    );
    assert.deepEqual(
      needed.map((path) => path.replace("/etc/onefold/", "")).sort(),
      Object.keys(secrets.get("onefold-node")!).sort(),
    );
    await assertServerTakes(find("ConfigMap", "engine").data!["nats.conf"]!, folder, secrets.get("onefold-engine")!);
  });
});
