/** What docs/operating.md says about limits, exit codes, migrations and deployment, held against what there is. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { fileURLToPath, pathToFileURL } from "node:url";
import { promisify } from "node:util";
import { pagePath, pageWithTable } from "../scripts/limits-table.ts";
import { limits } from "../src/base/limits.ts";
import { exitCodes, hungExitCode } from "../src/cli/exit-code.ts";
import { dataLayout } from "../src/runtime/data-layout.ts";
import { installOnefold } from "./installation.ts";
import { blocksOf, compile, typeIn } from "./page.fixture.ts";

const deploy = fileURLToPath(new URL("../deploy/", import.meta.url));
const page = await readFile(pagePath, "utf8");

describe("docs/operating.md", () => {
  test("has the limits as they are (else run: node --import tsx scripts/limits-table.ts)", async () => {
    assert.equal(page, await pageWithTable(page));
    for (const name of Object.keys(limits)) {
      if (!name.startsWith("network")) assert.ok(page.includes(`| \`${name}\` |`), `${name} is missing`);
    }
  });

  test("explains all that is in a data directory", () => {
    const table = page.slice(page.indexOf("## The data directory"), page.indexOf("[format.md]"));
    for (const name of Object.values(dataLayout)) assert.match(table, new RegExp(`\`${name}/?\``));
  });

  test("lists exit codes that the program has", () => {
    const table = page.slice(page.indexOf("**Exit codes** of `onefold start`"));
    const listed = [...table.matchAll(/^\| ([\d, ]+) \|/gm)].flatMap(([, codes]) => codes!.split(", ").map(Number));
    const known: readonly number[] = [...Object.values(exitCodes), hungExitCode, 130, 143];
    assert.deepEqual(
      listed.filter((code) => !known.includes(code)),
      [],
    );
    assert.ok(listed.length >= 8);
  });

  describe("shows a migration", () => {
    let folder = "";
    before(async () => {
      folder = await mkdtemp(join(tmpdir(), "onefold-operating-page-"));
      await installOnefold(folder, ["typescript"]);
    });
    after(() => rm(folder, { recursive: true }));

    test("that brings a state from version 1 to version 3", async () => {
      assert.deepEqual(await typeIn(await blocksOf("docs/operating.md"), folder), ["people.ts"]);
      const compiled = await compile("people.ts", folder);
      assert.equal(compiled.exitCode, 0, compiled.output);
      const { people } = (await import(pathToFileURL(join(folder, "people.ts")).href)) as {
        people: { definition: { entities: ReadonlyMap<string, { migrations: ((state: unknown) => unknown)[] }> } };
      };
      const { migrations } = people.definition.entities.get("person")!;
      const migrated = migrations.reduce((state: unknown, step) => step(state), { name: "Ann Lee", plugin: 7 });
      assert.deepEqual(migrated, { first: "Ann", last: "Lee", visits: 0, plugin: 7 });
    });
  });
});

/** `name=value` lines by section. */
function sectionsOf(unit: string): ReadonlyMap<string, ReadonlyMap<string, string>> {
  const sections = new Map<string, Map<string, string>>();
  let section: Map<string, string> | undefined;
  for (const line of unit.split("\n")) {
    const [, title] = /^\[(\w+)\]$/.exec(line) ?? [];
    const [, name, value] = /^(\w+)=(.*)$/.exec(line) ?? [];
    if (title !== undefined) {
      section = new Map();
      sections.set(title, section);
    } else if (name !== undefined) section!.set(name, value!);
    else assert.match(line, /^(#.*)?$/, "a line that is neither a setting nor a comment");
  }
  return sections;
}

describe("deploy/onefold.service", () => {
  test("restarts whatever happens, stops gracefully, and may write its data alone", async () => {
    const sections = sectionsOf(await readFile(join(deploy, "onefold.service"), "utf8"));
    const service = sections.get("Service")!;
    assert.equal(service.get("Restart"), "always");
    assert.equal(service.get("KillSignal"), "SIGTERM");
    assert.ok(Number(service.get("TimeoutStopSec")) * 1000 > limits.drainMs);
    assert.ok(Number(service.get("LimitNOFILE")) > 2 * limits.connectionsMax);
    assert.equal(service.get("ProtectSystem"), "strict");
    assert.match(service.get("ExecStart")!, new RegExp(`--data %S/${service.get("StateDirectory")} `));
    assert.ok(!service.has("MemoryDenyWriteExecute"), "V8 compiles");
  });

  test("shows on the page what it has", async () => {
    const service = sectionsOf(await readFile(join(deploy, "onefold.service"), "utf8"));
    const settings = new Map([...service.values()].flatMap((section) => [...section]));
    const table = page.slice(page.indexOf("| In it | because |"), page.indexOf("[`deploy/Containerfile`]"));
    const shown = [...table.matchAll(/`(\w+)=([^`]+)`/g)];
    assert.ok(shown.length > 5);
    for (const [, name, value] of shown) assert.equal(settings.get(name!), value, name);
  });

  test("is understood by systemd, where that is installed", async (context) => {
    try {
      const { stderr } = await promisify(execFile)("systemd-analyze", ["verify", join(deploy, "onefold.service")]);
      assert.equal(stderr, "");
    } catch (error) {
      if (!(error instanceof Error && "code" in error && error.code === "ENOENT")) throw error;
      context.skip("systemd-analyze is not installed");
    }
  });
});

interface Instruction {
  readonly name: string;
  readonly rest: string;
}

/** As the builders read it: comments left out, continued lines joined. */
function instructionsOf(recipe: string): readonly Instruction[] {
  const lines = recipe.replace(/^\s*#.*\n/gm, "").replaceAll("\\\n", " ");
  return lines
    .split("\n")
    .filter((line) => line.trim() !== "")
    .map((line) => {
      const [, name = "", rest = ""] = /^(\S+)\s+(.*)$/.exec(line) ?? [];
      return { name, rest: rest.trim() };
    });
}

describe("deploy/Containerfile", async () => {
  const instructions = instructionsOf(await readFile(join(deploy, "Containerfile"), "utf8"));
  const allOf = (name: string): readonly string[] =>
    instructions.filter((each) => each.name === name).map(({ rest }) => rest);

  test("has instructions only that there are, and exec forms that are JSON", () => {
    const known = "ARG FROM WORKDIR COPY RUN ENV USER VOLUME EXPOSE STOPSIGNAL HEALTHCHECK ENTRYPOINT CMD".split(" ");
    for (const { name, rest } of instructions) {
      assert.ok(known.includes(name), name);
      assert.notEqual(rest, "", name);
    }
    for (const form of [...allOf("ENTRYPOINT"), ...allOf("CMD"), ...allOf("HEALTHCHECK")]) {
      const words = JSON.parse(form.slice(form.indexOf("["))) as readonly unknown[];
      assert.ok(words.length > 0 && words.every((word) => typeof word === "string"), form);
    }
  });

  test("builds in one stage and runs in another, as a user without rights, with its data on a volume", () => {
    const stages = allOf("FROM");
    assert.equal(stages.length, 2);
    const [, stage] = / AS (\w+)$/.exec(stages[0]!) ?? [];
    assert.ok(allOf("COPY").some((rest) => rest.startsWith(`--from=${stage} `)));
    const last = instructions.slice(instructions.findLastIndex(({ name }) => name === "FROM"));
    const at = (name: string): number => last.findIndex((each) => each.name === name);
    assert.equal(last[at("USER")]?.rest, "node");
    assert.ok(at("USER") < at("ENTRYPOINT") && at("USER") > last.findLastIndex(({ name }) => name === "RUN"));
    const [volume] = allOf("VOLUME");
    const command = JSON.parse(allOf("CMD")[0]!) as readonly string[];
    assert.equal(command[command.indexOf("--data") + 1], volume);
    assert.equal(command[command.indexOf("--port") + 1], allOf("EXPOSE")[0]);
    assert.match(allOf("HEALTHCHECK")[0]!, new RegExp(`127\\.0\\.0\\.1:${allOf("EXPOSE")[0]}/healthz`));
    assert.deepEqual(allOf("STOPSIGNAL"), ["SIGTERM"]);
  });

  test("has a health check that says whether the node lives", async () => {
    const check = allOf("HEALTHCHECK")[0]!;
    const [, flag, program] = JSON.parse(check.slice(check.indexOf("["))) as readonly [string, string, string];
    for (const [status, exitCode] of [
      [200, 0],
      [503, 1],
      [undefined, 1],
    ] as const) {
      const server = createServer((_request, reply) => reply.writeHead(status ?? 500).end());
      await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
      const { port } = server.address() as { port: number };
      if (status === undefined) await new Promise((closed) => server.close(closed));
      const run = promisify(execFile)(process.execPath, [flag, program.replace("7400", String(port))]);
      const ended = await run.then(
        () => 0,
        (error: { code: number }) => error.code,
      );
      assert.equal(ended, exitCode, `${status}`);
      if (status !== undefined) await new Promise((closed) => server.close(closed));
    }
  });
});
