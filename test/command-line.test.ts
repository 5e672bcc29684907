/** The built program in real processes: what it prints where, and its exit codes. */
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, open, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { type AddressInfo, connect } from "node:net";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { createInterface } from "node:readline";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { mainPath, shellEnvironment } from "./installation.ts";

const root = fileURLToPath(new URL("..", import.meta.url));
const bank = join(root, "examples", "bank");

interface Ended {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

/** Where the text stands in the files of a directory. */
async function findBytes(directory: string, text: string): Promise<{ readonly path: string; readonly offset: number }> {
  for (const name of await readdir(directory)) {
    const path = join(directory, name);
    const offset = (await readFile(path)).indexOf(text);
    if (offset >= 0) return { path, offset };
  }
  return assert.fail(`${text} is in no file of ${directory}`);
}

async function flipBit(path: string, offset: number): Promise<void> {
  const file = await open(path, "r+");
  try {
    const byte = Buffer.alloc(1);
    await file.read(byte, 0, 1, offset);
    byte[0]! ^= 1;
    await file.write(byte, 0, 1, offset);
  } finally {
    await file.close();
  }
}

describe("the program onefold", { timeout: 60_000 }, () => {
  let folder = "";
  const children: ChildProcess[] = [];
  const launch = (environment: NodeJS.ProcessEnv, ...args: string[]): ChildProcess => {
    const child = spawn(process.execPath, [mainPath, ...args], {
      cwd: folder,
      env: { ...shellEnvironment(folder), ...environment },
      stdio: ["ignore", "pipe", "pipe"],
    });
    children.push(child);
    return child;
  };
  const ended = async (child: ChildProcess): Promise<Ended> => {
    let out = "";
    let err = "";
    child.stdout!.setEncoding("utf8").on("data", (text: string) => {
      out += text;
    });
    child.stderr!.setEncoding("utf8").on("data", (text: string) => {
      err += text;
    });
    const [code] = (await once(child, "close")) as [number | null];
    return { code, out, err };
  };
  const onefold = (...args: string[]): Promise<Ended> => ended(launch({}, ...args));
  const serve = async (...args: string[]): Promise<{ child: ChildProcess; url: string }> => {
    const child = launch({}, "start", bank, "--port", "0", "--json", ...args);
    const [line] = (await once(createInterface({ input: child.stdout! }), "line")) as [string];
    return { child, url: (JSON.parse(line) as { url: string }).url };
  };
  const stopped = async (child: ChildProcess): Promise<number | null> => {
    child.kill("SIGTERM");
    const [code] = (await once(child, "exit")) as [number | null];
    return code;
  };

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "onefold-cli-"));
  });
  after(async () => {
    for (const child of children) if (child.exitCode === null && child.signalCode === null) child.kill("SIGKILL");
    await rm(folder, { recursive: true, force: true });
  });

  describe("without a node", () => {
    test("prints its version and its help on the standard output", async () => {
      const version = await onefold("--version");
      assert.deepEqual([version.code, version.out.trim()], [0, "0.1.0"]);
      const help = await onefold("--help");
      assert.equal(help.code, 0);
      assert.match(help.out, /Exit codes:\n {2}0 {4}done/);
    });

    test("says what was probably meant, and ends with 2", async () => {
      const mistyped = await onefold("strat");
      assert.equal(mistyped.code, 2);
      assert.match(mistyped.err, /unknown command 'strat'\n\(Did you mean start\?\)/);
      const option = await onefold("start", bank, "--prot", "1");
      assert.equal(option.code, 2);
      assert.match(option.err, /Did you mean --port\?/);
    });

    for (const [args, reason] of [
      [["start", "nothing-here.ts"], /There is no nothing-here\.ts here/],
      [["start", bank, "--port", "70000"], /0 to 65535/],
      [["call", "account", "deposit"], /is not KIND\/ID/],
      [["call", "account/a", "deposit", "{cents: 5}"], /The input is not JSON/],
      [["call", "account/a", "deposit", "--url", "localhost:7400"], /must begin with http/],
      [["get", "account/a", "-H", "nonsense"], /is not a header/],
    ] as const) {
      test(`ends with 2 and no stack trace for: onefold ${args.join(" ").replace(root, "")}`, async () => {
        const { code, err, out } = await onefold(...args);
        assert.equal(code, 2);
        assert.match(err, reason);
        assert.doesNotMatch(err, /^ {4}at /m);
        assert.equal(out, "");
      });
    }

    test("ends with 2 for a system that can't be loaded, and shows a stack trace only with DEBUG", async () => {
      await writeFile(join(folder, "broken.ts"), "export const a = ;");
      const quiet = await onefold("start", "broken.ts");
      assert.equal(quiet.code, 2);
      assert.match(quiet.err, /broken\.ts can't be loaded\.\n.*broken\.ts:1:17: Unexpected ";"/);
      assert.doesNotMatch(quiet.err, /^ {4}at /m);
      const loud = await ended(launch({ DEBUG: "1" }, "start", "broken.ts"));
      assert.equal(loud.code, 2);
      assert.match(loud.err, /^ {4}at /m);
    });

    test("ends with 3 where nobody answers, and with 3 where somebody else does", async () => {
      const server = createServer((_request, response) => response.end("hello"));
      await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
      const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
      const foreign = await onefold("get", "account/a", "--url", url);
      assert.equal(foreign.code, 3);
      assert.match(foreign.err, /not as a Onefold node does/);
      server.removeAllListeners("request").on("request", (_request, response) => {
        response.statusCode = 404;
        response.end("nothing");
      });
      assert.equal((await onefold("get", "account/a", "--url", url)).code, 3);
      await new Promise((resolve) => server.close(resolve));
      const nobody = await onefold("call", "account/a", "deposit", '{"cents":1}', "--url", url);
      assert.equal(nobody.code, 3);
      assert.match(nobody.err, /No node answers at .*ECONNREFUSED/);
    });

    test("ends with 5 where the connection breaks before the answer to a call comes", async () => {
      const server = createServer((request) => request.socket.destroy());
      await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
      const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
      const { code, err } = await onefold("call", "account/a", "deposit", '{"cents":1}', "--url", url);
      await new Promise((resolve) => server.close(resolve));
      assert.equal(code, 5);
      assert.match(err, /may have taken hold/);
    });
  });

  describe("with the bank", () => {
    test("prints three commands to try that work when pasted", async () => {
      const child = launch({}, "start", bank, "--port", "0", "--data", "pasted");
      let text = "";
      const commands: string[] = [];
      for await (const chunk of child.stdout!.setEncoding("utf8") as AsyncIterable<string>) {
        text += chunk;
        commands.splice(0, commands.length, ...text.split("\n").filter((line) => line.startsWith("  curl ")));
        if (commands.length === 3) break;
      }
      assert.match(text, /^bank is served at http:\/\/127\.0\.0\.1:\d+, durable in pasted\./);
      const answers: string[] = [];
      for (const command of commands) {
        const shell = spawn("sh", ["-c", command], { stdio: ["ignore", "pipe", "inherit"] });
        let answer = "";
        for await (const chunk of shell.stdout.setEncoding("utf8") as AsyncIterable<string>) answer += chunk;
        answers.push(answer);
      }
      assert.deepEqual(answers, ["500\n", "null\n", "200\n"]);
      assert.equal(await stopped(child), 0);
    });

    test("calls, runs, reads, refuses, and keeps it all over a restart", async () => {
      const first = await serve("--data", "kept");
      const at = ["--url", first.url];
      assert.deepEqual(await onefold("call", "account/a", "deposit", '{"cents":500}', ...at), {
        code: 0,
        out: "500\n",
        err: "",
      });
      assert.equal((await onefold("run", "transfer", '{"from":"a","to":"b","cents":200}', ...at)).out, "null\n");
      assert.equal((await onefold("call", "account/b", "balance", ...at)).out, "200\n");
      assert.deepEqual(JSON.parse((await onefold("get", "account/a", ...at)).out), { balanceCents: 300 });

      const refused = await onefold("call", "account/a", "withdraw", '{"cents":5000}', "--json", ...at);
      assert.equal(refused.code, 1);
      assert.match(refused.err, /^Refused: insufficient-funds\n[\s\S]*"balanceCents": 300/);
      assert.equal((JSON.parse(refused.out) as { code: string }).code, "insufficient-funds");
      const mistyped = await onefold("call", "account/a", "desposit", '{"cents":1}', ...at);
      assert.equal(mistyped.code, 1);
      assert.match(mistyped.err, /deposit/);
      assert.equal((await onefold("get", "account/nobody", ...at)).code, 1);

      const keyed = ["call", "account/a", "deposit", '{"cents":1}', "--key", "once", ...at];
      assert.equal((await onefold(...keyed)).out, "301\n");
      assert.equal((await onefold(...keyed)).out, "301\n");

      first.child.kill("SIGKILL");
      await once(first.child, "exit");
      const second = await serve("--data", "kept");
      assert.equal((await onefold("call", "account/a", "balance", "--url", second.url)).out, "301\n");
      assert.equal(await stopped(second.child), 0);
    });

    test("ends with 4 where the data directory or the port is taken", async () => {
      const { child, url } = await serve("--data", "taken");
      const sameData = await onefold("start", bank, "--port", "0", "--data", "taken");
      assert.equal(sameData.code, 4);
      assert.match(sameData.err, /data-directory-busy/);
      const samePort = await onefold("start", bank, "--port", new URL(url).port, "--data", "other");
      assert.equal(samePort.code, 4);
      assert.match(samePort.err, /another process listens/);
      const devPort = await onefold("dev", bank, "--port", new URL(url).port, "--data", "other");
      assert.equal(devPort.code, 4);
      assert.equal(await stopped(child), 0);
    });

    test("verifies the data of a stopped node, and names the first bad byte", async () => {
      const { child, url } = await serve("--data", "verified");
      const at = ["--url", url];
      assert.equal((await onefold("call", "account/named-in-the-log", "deposit", '{"cents":5}', ...at)).code, 0);
      assert.equal((await onefold("verify", "--data", "verified")).code, 4, "a node has it open");
      assert.equal(await stopped(child), 0);
      const whole = await onefold("verify", "--data", "verified");
      assert.equal(whole.code, 0, whole.err);
      assert.match(whole.out, /Whole: every record/);

      const log = join(folder, "verified", "log");
      const { path, offset } = await findBytes(log, "named-in-the-log");
      await flipBit(path, offset);
      const damaged = await onefold("verify", "--data", "verified", "--json");
      assert.equal(damaged.code, 1);
      const report = JSON.parse(damaged.out) as { whole: boolean; damages: { file: string; offset: number }[] };
      assert.equal(report.whole, false);
      assert.equal(report.damages[0]?.file, `log/${basename(path)}`);
      assert.ok(Math.abs(report.damages[0].offset - offset) < 2048);
      assert.match(damaged.err, /Damaged: .* at byte \d+\./);
      const refused = await onefold("start", bank, "--port", "0", "--data", "verified");
      assert.equal(refused.code, 1);
      assert.match(refused.err, /damaged/);
      await flipBit(path, offset);
      assert.equal((await onefold("verify", "--data", "verified")).code, 0);
    });

    test("has nothing to verify where there is no data", async () => {
      const { code, err } = await onefold("verify", "--data", "nowhere");
      assert.equal(code, 2);
      assert.match(err, /There is no Onefold data in nowhere/);
      await assert.rejects(stat(join(folder, "nowhere")));
    });

    test("waits at the first signal for a request that is under way, and ends at once at the second", async () => {
      const { child, url } = await serve("--data", "signals");
      let noted = "";
      child.stderr!.setEncoding("utf8").on("data", (text: string) => {
        noted += text;
      });
      const slow = connect(Number(new URL(url).port), "127.0.0.1");
      slow.on("error", () => slow.destroy());
      slow.write("POST /v1/transactions/transfer HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n");
      slow.write("Content-Length: 100\r\nExpect: 100-continue\r\n\r\n");
      await once(slow, "data");
      child.kill("SIGTERM");
      while (!noted.includes("once more")) await once(child.stderr!, "data");
      assert.equal(child.exitCode, null);
      child.kill("SIGTERM");
      const [code] = (await once(child, "exit")) as [number | null];
      assert.equal(code, 143);
      slow.destroy();
    });

    test("refuses to listen where other machines reach it, without authenticate", async () => {
      const { code, err } = await onefold("start", bank, "--port", "0", "--host", "0.0.0.0", "--data", "public");
      assert.equal(code, 2);
      assert.match(err, /authenticate/);
    });
  });
});
