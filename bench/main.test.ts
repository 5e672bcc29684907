import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { fileURLToPath } from "node:url";

const program = fileURLToPath(new URL("main.ts", import.meta.url));

function start(args: readonly string[]): ChildProcess {
  return spawn(process.execPath, ["--import", "tsx", program, ...args], { stdio: ["ignore", "pipe", "pipe"] });
}

interface Ended {
  readonly code: number | null;
  readonly output: string;
  readonly errors: string;
}

async function ended(child: ChildProcess): Promise<Ended> {
  let output = "";
  let errors = "";
  child.stdout!.setEncoding("utf8").on("data", (text: string) => {
    output += text;
  });
  child.stderr!.setEncoding("utf8").on("data", (text: string) => {
    errors += text;
  });
  const [code] = (await once(child, "close")) as [number | null];
  return { code, output, errors };
}

describe("the benchmark as a program", async () => {
  const directory = await mkdtemp(join(tmpdir(), "onefold-bench-test-"));
  after(() => rm(directory, { recursive: true, force: true }));

  test("prints a line of JSON for each result, writes the report and leaves nothing behind", async () => {
    const data = join(directory, "data");
    const report = join(directory, "report.html");
    const args = ["--only=counter", "--transport=in-process,http", "--concurrency=4", "--seconds=0.1", "--json"];
    const { code, output, errors } = await ended(start([...args, `--data=${data}`, `--report=${report}`]));
    assert.equal(code, 0, errors);
    const lines = output
      .trim()
      .split("\n")
      .map((text) => JSON.parse(text) as Record<string, unknown>);
    assert.deepEqual(
      lines.map(({ transport }) => transport),
      ["in-process", "http"],
    );
    for (const line of lines) {
      assert.equal(line.workload, "counter");
      assert.equal(line.engine, "segment");
      assert.equal(line.concurrency, 4);
      for (const name of ["operations_per_second", "p50_ms", "p99_ms", "p999_ms", "limit_ratio", "load_cpu"]) {
        assert.ok(typeof line[name] === "number" && line[name] > 0, `${name} in ${JSON.stringify(line)}`);
      }
      for (const name of ["p50_to_bare_append", "redis_throughput_ratio", "postgres_p50_ratio"]) {
        assert.equal(line[name], null, name);
      }
    }
    assert.match(await readFile(report, "utf8"), /<svg/);
    assert.deepEqual(await readdir(data), []);
  });

  test("says what is wrong with its options, and what there is", async () => {
    const { code, output, errors } = await ended(start(["--only=cuonter"]));
    assert.equal(code, 2);
    assert.equal(output, "");
    assert.match(errors, /there is no "cuonter"; there are counter, hot,/);
  });

  test("ends everything that it has started when it is told to stop", async () => {
    const data = join(directory, "stopped");
    const child = start(["--only=counter", "--transport=http", "--seconds=600", "--json", `--data=${data}`]);
    const end = ended(child);
    // From here on a load and a node are running.
    await new Promise<void>((resolve) => {
      child.stderr!.on("data", (text: string) => {
        if (text.includes("1 of 3")) resolve();
      });
    });
    child.kill("SIGTERM");
    const { code, errors } = await end;
    assert.equal(code, 130, errors);
    assert.match(errors, /ended by SIGTERM/);
    assert.deepEqual(await readdir(data), []);
  });
});
