import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { makeTrace, type TraceOptions } from "./trace.ts";

function traced(options: TraceOptions) {
  const lines: string[] = [];
  const trace = makeTrace({ write: (line) => lines.push(line), now: () => new Date(0), ...options });
  return { trace, lines, last: () => JSON.parse(lines.at(-1)!) as Readonly<Record<string, never>> };
}

describe("the log as JSON", () => {
  test("is an object a line: time, level, message, then the fields", () => {
    const { trace, lines } = traced({ format: "json" });
    trace("info", "Started.", { port: 7400n, hash: new Uint8Array([1, 255]) });
    assert.deepEqual(lines, [
      '{"time":"1970-01-01T00:00:00.000Z","level":"info","message":"Started.","port":"7400","hash":"01ff"}\n',
    ]);
  });

  test("tells of errors with their codes, stacks and causes", () => {
    const { trace, last } = traced({ format: "json" });
    const error = Object.assign(new Error("reason"), { code: "ENOENT", cause: new Error("root") });
    trace("error", "Failed.", { error });
    const { error: told } = last() as unknown as {
      error: { message: string; code: string; stack: string; cause: Error };
    };
    assert.deepEqual([told.message, told.code, told.cause.message], ["reason", "ENOENT", "root"]);
    assert.match(told.stack, /trace\.test/);
  });

  test("keeps a field that has the name of one of the line's own", () => {
    const { trace, last } = traced({ format: "json" });
    trace("warn", "Mine.", { message: "theirs", level: 3 });
    assert.deepEqual(last(), {
      time: "1970-01-01T00:00:00.000Z",
      level: "warn",
      message: "Mine.",
      message_: "theirs",
      level_: 3,
    });
  });

  test("says so where fields can't be written, and goes on", () => {
    const { trace, last } = traced({ format: "json" });
    const circular: Record<string, unknown> = {};
    circular.self = circular;
    const hostile = {
      get field() {
        throw new Error("no");
      },
    };
    for (const fields of [{ circular }, { hostile }]) {
      trace("error", "Odd.", fields);
      assert.deepEqual(last(), {
        time: "1970-01-01T00:00:00.000Z",
        level: "error",
        message: "Odd.",
        unprintable: true,
      });
    }
  });

  test("cuts what is too long, and is still JSON", () => {
    const { trace, lines, last } = traced({ format: "json" });
    trace("warn", "Long.", { text: '"'.repeat(1_000_000) });
    assert.ok(lines[0]!.length < 40_000);
    assert.equal(last().message, "Long.");
    assert.match(last().truncated!, /^\{"time"/);
  });
});

describe("the log as text", () => {
  test("is a line of words, with an error's stack below it", () => {
    const { trace, lines } = traced({ format: "text" });
    trace("warn", "The disk is nearly full.", { path: "a/b", freeBytes: 5, note: "two words" });
    trace("error", "Failed.", { cause: new Error("outer", { cause: new TypeError("inner") }) });
    assert.equal(
      lines[0],
      '1970-01-01T00:00:00.000Z warn  The disk is nearly full. path=a/b freeBytes=5 note="two words"\n',
    );
    assert.match(
      lines[1]!,
      /^\S+ error Failed\. cause="Error: outer"\n {6}Error: outer\n {6}at [\s\S]* {6}TypeError: inner\n/,
    );
  });

  test("ends with an error that is its own cause", () => {
    const { trace, lines } = traced({ format: "text" });
    const error = new Error("circle");
    error.cause = error;
    trace("error", "Failed.", { error });
    assert.match(lines[0]!, /circle/);
  });
});

describe("the log", () => {
  test("leaves out what is below its level", () => {
    const { trace, lines } = traced({ format: "text", level: "warn" });
    for (const level of ["debug", "info", "warn", "error"] as const) trace(level, `${level}.`);
    assert.deepEqual(
      lines.map((line) => line.split(" ")[1]),
      ["warn", "error"],
    );
  });

  test("bounds the lines of one event a second, tells how many were left out, and holds back no other", async (context) => {
    context.mock.timers.enable({ apis: ["setTimeout"] });
    const { trace, lines, last } = traced({ format: "json" });
    for (let i = 0; i < 5000; i++) trace("warn", "Again.", { i });
    assert.equal(lines.length, 20);
    trace("error", "Another.");
    assert.equal(last().message, "Another.");
    context.mock.timers.tick(1000);
    assert.deepEqual(last(), {
      time: "1970-01-01T00:00:00.000Z",
      level: "warn",
      message: "Again.",
      suppressedCount: 4980,
    });
    trace("warn", "Again.", { i: 5000 });
    assert.equal((last() as unknown as { i: number }).i, 5000);
    context.mock.timers.tick(5000);
    assert.equal(lines.length, 23);
  });
});

describe("the log of a process", () => {
  async function run(environment: Readonly<Record<string, string>>, closesEarly = false) {
    const trace = fileURLToPath(new URL("./trace.ts", import.meta.url));
    const program = `import { makeTrace } from ${JSON.stringify(trace)};
      const trace = makeTrace();
      trace("info", "Started.", { port: 1 });
      trace("debug", "Inside.");
      let count = 0;
      process.stdin.on("data", () => {
        trace("info", "Still here.");
        process.stdout.write("answer\\n");
        if (++count === 3) process.exit(0);
      });
      process.stdout.write("ready\\n");`;
    const child = spawn(process.execPath, ["--import", "tsx", "--input-type=module", "-e", program], {
      env: { PATH: process.env.PATH ?? "", ...environment },
    });
    let out = "";
    let errors = "";
    // One line at a time: between two of them the process hears of what its writing met.
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      if (out === "" && closesEarly) child.stderr.destroy();
      out += text;
      child.stdin.write("go\n");
    });
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      errors += text;
    });
    child.stdin.on("error", () => undefined);
    const [code] = (await once(child, "close")) as [number | null];
    return { code, out, errors };
  }

  test("is JSON where standard error is no terminal, and as the environment says otherwise", async () => {
    const [plain, text, wrong] = await Promise.all([
      run({}),
      run({ ONEFOLD_LOG_FORMAT: "text", ONEFOLD_LOG_LEVEL: "debug" }),
      run({ ONEFOLD_LOG_LEVEL: "loud" }),
    ]);
    assert.deepEqual(
      plain.errors
        .trim()
        .split("\n")
        .map((line) => (JSON.parse(line) as { message: string }).message),
      ["Started.", "Still here.", "Still here.", "Still here."],
    );
    assert.match(text.errors, /^\S+Z info {2}Started\. port=1\n\S+Z debug Inside\.\n/);
    assert.notEqual(wrong.code, 0);
    assert.match(wrong.errors, /ONEFOLD_LOG_LEVEL must be one of debug, info, warn, error, not 'loud'/);
  });

  test("does not end with its reader", async () => {
    const { code, out } = await run({}, true);
    assert.equal(out, "ready\nanswer\nanswer\nanswer\n");
    assert.equal(code, 0);
  });
});
