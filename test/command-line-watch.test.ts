/** `tail`, `top` and `bench` against a real node: what goes on while they run, and how they end. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdir, readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import {
  deposit,
  type Ended,
  ended,
  inProcess,
  Lines,
  only,
  ProgramFolder,
  resultOf,
  serveTown,
  stopped,
} from "./command-line.fixture.ts";
import { installOnefold, mainPath } from "./installation.ts";

const escapeCharacter = "\u001b";

const guardedText = `
import { entity, system } from "onefold";
import { z } from "zod";
const note = entity("note").state(z.object({}), () => ({})).command("touch", () => undefined);
export const guarded = system("guarded", { note }, {
  authenticate: ({ headers }) => {
    const scopes = { "Bearer reader": ["inspect"], "Bearer writer": [] }[headers.authorization ?? ""];
    return scopes === undefined ? null : { tenant: "default", subject: "somebody", scopes };
  },
});
`;

describe("the program onefold and a node at work", { timeout: 120_000 }, () => {
  let folder: ProgramFolder;

  before(async () => {
    folder = await ProgramFolder.make();
    await installOnefold(folder.path);
    await serveTown(folder);
  });
  after(() => folder.remove());

  describe("tail", () => {
    test("prints what happens to everything, a kind or an entity, as it happens", async () => {
      const tails = [["tail"], ["tail", "courier"], ["tail", "account/watched"]].map((args) => folder.launch(args));
      const outputs = tails.map((child) => new Lines(child.stdout!));
      await Promise.all(tails.map((child) => new Lines(child.stderr!).next(/^Following/)));
      await deposit("watched", 7);
      await deposit("other", 8);
      await resultOf("call", "courier/two", "open", '{"count":0,"from":0}');
      await resultOf("run", "transfer", '{"from":"watched","to":"other","cents":2}');
      const [all, couriers, one] = outputs;
      for (const pattern of [
        /^\S+Z {2}account\/watched {2}deposit \(developer\) {2}\{"balanceCents":7\}$/,
        /^\S+Z {2}account\/other {2}deposit \(developer\) {2}\{"balanceCents":8\}$/,
        /^\S+Z {2}courier\/two {2}open \(developer\)/,
        /^\S+Z {2}account\/watched {2}transfer \(transaction, developer\) {2}\{"balanceCents":5\}$/,
        /^\S+Z {2}account\/other {2}transfer \(transaction, developer\) {2}\{"balanceCents":10\}$/,
      ]) {
        await all!.next(pattern);
      }
      await couriers!.next(/courier\/two {2}open/);
      await one!.next(/watched {2}deposit/);
      await one!.next(/watched {2}transfer/);
      for (const child of tails) {
        const exit = once(child, "exit");
        child.kill("SIGINT");
        assert.deepEqual(await exit, [null, "SIGINT"]);
      }
    });

    test("begins where it is told to, ends after as many changes as it is told to, and prints JSON", async () => {
      await resultOf("call", "courier/one", "open", '{"count":1,"from":0}');
      await resultOf("call", "courier/one", "open", '{"count":2,"from":1}');
      const text = await resultOf("tail", "courier/one", "--after", "0", "--count", "2", "--json");
      const items = text
        .trimEnd()
        .split("\n")
        .map((line) => JSON.parse(line) as { readonly kind: string; readonly id: string; readonly state: unknown });
      assert.deepEqual(
        items.map(({ kind, id, state }) => [kind, id, state]),
        [
          ["courier", "one", { sent: 1 }],
          ["courier", "one", { sent: 3 }],
        ],
      );
    });

    for (const [args, code, reason] of [
      [["acount"], 1, /^no kind 'acount'; did you mean 'account'\?$/m],
      [["account/"], 2, /is not KIND\/ID/],
      [["--after", "4000000"], 2, /^4000000 is not a position of this log/m],
      [["--after", "soon"], 2, /^soon is not a position of this log/m],
      [["--count", "0"], 2, /whole number, from 1/],
      [["--url", "http://127.0.0.1:1"], 3, /No node answers/],
    ] as const) {
      test(`ends with ${code} for: tail ${args.join(" ")}`, async () => {
        const failed = await inProcess("tail", ...args);
        assert.equal(failed.code, code);
        assert.match(failed.err, reason);
      });
    }

    test("misses nothing and shows nothing twice when the node stops and comes back", async () => {
      const { child, url } = await folder.serve("town.ts", "--data", "restarted");
      const port = new URL(url).port;
      const args = ["account/a", "deposit", '{"cents":1}', "--url", url];
      assert.equal(await resultOf("call", ...args), "1\n");
      const tail = folder.launch(["tail", "account", "--url", url, "--json", "--count", "3"]);
      const [lines, notes] = [new Lines(tail.stdout!), new Lines(tail.stderr!)];
      const exit = once(tail, "exit");
      await notes.next(/^Following/);
      await resultOf("call", ...args);
      await lines.next(/"balanceCents":2\b/);
      const beganMs = performance.now();
      assert.equal(await stopped(child), 0);
      assert.ok(performance.now() - beganMs < 10_000, "who waits for changes does not hold up the node");
      await notes.next(/^Waiting for the node/);
      const again = await folder.serve("town.ts", "--data", "restarted", "--port", port);
      await resultOf("call", ...args);
      await resultOf("call", ...args);
      await lines.next(/"balanceCents":3\b/);
      await lines.next(/"balanceCents":4\b/);
      assert.deepEqual(await exit, [0, null]);
      assert.equal(await stopped(again.child), 0);
    });
  });

  describe("top", () => {
    test("prints a line for each reading, or an object, where there is no terminal", async () => {
      const text = await resultOf("top", "--count", "2", "--interval", "0.1");
      assert.match(text, /^(\S+Z {2}ready {2}\S+ operations\/s {2}p50 .* processor \d+ %\n){2}$/);
      const busy = inProcess("bench", "account", "balance", "--seconds", "1.5", "--concurrency", "4");
      const load = only(await inProcess("top", "--count", "1", "--interval", "1", "--json")) as {
        readonly system: string;
        readonly isReady: boolean;
        readonly residentBytes: number;
        readonly operationsPerSecond: number;
        readonly p99Ms: number;
        readonly operations: readonly { readonly kind: string; readonly operation: string; readonly p50Ms: number }[];
      };
      assert.deepEqual([load.system, load.isReady], ["town", true]);
      assert.ok(load.operationsPerSecond > 0 && load.p99Ms > 0 && load.residentBytes > 10_000_000);
      const [busiest] = load.operations;
      assert.deepEqual([busiest!.kind, busiest!.operation], ["account", "balance"]);
      assert.ok(busiest!.p50Ms > 0);
      assert.equal((await busy).code, 0);
    });

    const hasTerminal = spawnSync("script", ["--version"]).status === 0;
    test("draws on a terminal's other screen, and gives the first one back", { skip: !hasTerminal }, async () => {
      const drawn = async (environment: NodeJS.ProcessEnv): Promise<string> => {
        const line = `"${process.execPath}" "${mainPath}" top --count 2 --interval 0.1`;
        folder.environment = { ...folder.environment, TERM: "xterm", ...environment };
        const { code, out, err } = await ended(folder.spawn("script", ["-qec", line, "/dev/null"], "pipe"));
        assert.equal(code, 0, err);
        return out;
      };
      await deposit("drawn");
      const screen = await drawn({});
      assert.ok(screen.startsWith("\u001b[?1049h\u001b[?25l"));
      assert.ok(screen.trimEnd().endsWith("\u001b[?25h\u001b[?1049l"));
      assert.ok(screen.includes("\u001b[1mtown\u001b[22m at http") && screen.includes(": \u001b[32mready"));
      assert.match(screen, /Operations {2}[\s\S]*PER SECOND[\s\S]*account\.deposit/);
      assert.doesNotMatch(await drawn({ NO_COLOR: "1" }), new RegExp(`${escapeCharacter}\\[\\d+m`));
      folder.environment = { ...folder.environment, NO_COLOR: undefined };
    });

    test("ends with 3 where nobody answers, and with 2 for a bad interval", async () => {
      const nobody = await inProcess("top", "--url", "http://127.0.0.1:1");
      assert.equal(nobody.code, 3);
      assert.equal((await inProcess("top", "--interval", "0")).code, 2);
    });
  });

  describe("bench", () => {
    test("measures a node of its own, and leaves nothing behind", async () => {
      const directory = join(folder.path, "bench");
      await mkdir(directory);
      const args = ["--concurrency", "2", "--seconds", "0.2", "--entities", "10", "--directory", directory];
      const lines = (await resultOf("bench", ...args, "--json")).trimEnd().split("\n");
      const measurements = lines.map((line) => JSON.parse(line) as Readonly<Record<string, unknown>>);
      assert.deepEqual(
        measurements.map(({ operation, concurrency, refused }) => [operation, concurrency, refused]),
        [
          ["counter.increment", 2, 0],
          ["counter.count", 2, 0],
        ],
      );
      for (const { operationsPerSecond, p50Ms, p99Ms } of measurements) {
        assert.ok(Number(operationsPerSecond) > 0 && Number(p50Ms) > 0 && Number(p99Ms) >= Number(p50Ms));
      }
      assert.deepEqual(await readdir(directory), []);

      const interrupted = folder.launch(["bench", "--seconds", "60", "--directory", directory]);
      while ((await readdir(directory)).length === 0) await new Promise((resolve) => setImmediate(resolve));
      const exit = once(interrupted, "exit");
      interrupted.kill("SIGINT");
      assert.deepEqual(await exit, [130, null]);
      assert.deepEqual(await readdir(directory), []);
    });

    test("measures a command of a running node, and counts refusals as the answers that they are", async () => {
      const args = ["--concurrency", "3", "--seconds", "0.2", "--entities", "2", "--json"];
      const refusing = only(await inProcess("bench", "account", "withdraw", '{"cents":1}', ...args)) as {
        readonly operationsPerSecond: number;
        readonly refused: number;
      };
      assert.ok(refusing.refused > 0 && refusing.operationsPerSecond > 0);
      const depositing = await inProcess("bench", "account", "deposit", '{"cents":1}', ...args.slice(0, -1));
      assert.match(
        depositing.out,
        /^OPERATION +CALLERS +PER SECOND +P50 MS +P99 MS +P99\.9 MS +REFUSED\naccount\.deposit +3 /,
      );
      assert.deepEqual(JSON.parse(await resultOf("ls", "account", "--prefix", "bench-", "--json")), {
        ids: ["bench-0", "bench-1"],
      });
    });

    for (const [args, code, reason] of [
      [["account"], 2, /Name a command of account, too/],
      [["acount", "deposit"], 1, /^no kind 'acount'; did you mean 'account'\?$/m],
      [["account", "deposti"], 1, /^account has no command or query 'deposti'; did you mean 'deposit'\?$/m],
      [["account", "deposit", "{cents}"], 2, /The input is not JSON/],
      [["account", "deposit", '{"cents":-1}', "--seconds", "1"], 1, /invalid-input/],
      [["--concurrency", "1,x"], 2, /whole number, 1 to 10000/],
      [["--directory", "nowhere"], 2, /no temporary directory in nowhere/],
    ] as const) {
      test(`ends with ${code} for: bench ${args.join(" ")}`, async () => {
        const failed = await inProcess("bench", ...args);
        assert.equal(failed.code, code, failed.err);
        assert.match(failed.err, reason);
      });
    }
  });

  test("a node with authenticate is asked with the headers that are given, and its answer decides the exit code", async () => {
    await writeFile(join(folder.path, "guarded.ts"), guardedText);
    const { child, url } = await folder.serve("guarded.ts", "--data", "guarded");
    const as = (who: string, ...args: string[]): Promise<Ended> =>
      inProcess(...args, "--url", url, "-H", `Authorization: Bearer ${who}`);
    assert.equal((await as("writer", "call", "note/a", "touch")).out, "null\n");
    assert.equal((await as("reader", "ls", "note")).out, "a\n");
    assert.equal((await as("reader", "tail", "--after", "0", "--count", "1")).code, 0);
    for (const args of [
      ["ls", "note"],
      ["get", "note/a"],
      ["tail"],
      ["top"],
      ["history", "note/a"],
      ["dead-letters"],
    ]) {
      const refused = await as("writer", ...args);
      assert.equal(refused.code, 1, args.join(" "));
      assert.match(refused.err, /^forbidden: This needs the scope/);
    }
    assert.match((await as("nobody", "call", "note/a", "touch")).err, /^unauthenticated: /);
    assert.equal(await stopped(child), 0);
  });
});
