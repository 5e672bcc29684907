/** Runs the built program `onefold` in a folder of its own, as a user would, for tests of the command line. */
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { Output } from "../src/cli/output.ts";
import { runProgram } from "../src/cli/run.ts";
import { mainPath, shellEnvironment } from "./installation.ts";

export interface Ended {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

/** A folder in which programs run; they end with it. */
export class ProgramFolder {
  readonly path: string;
  readonly #children: ChildProcess[] = [];
  /** Set for every program besides the test's own environment. */
  environment: NodeJS.ProcessEnv = {};

  constructor(path: string) {
    this.path = path;
  }

  static async make(): Promise<ProgramFolder> {
    return new ProgramFolder(await mkdtemp(join(tmpdir(), "onefold-cli-")));
  }

  launch(args: readonly string[]): ChildProcess {
    return this.spawn(process.execPath, [mainPath, ...args]);
  }

  /** `stdin`: at its end from the start, unless it is to stay open. */
  spawn(program: string, args: readonly string[], stdin: "ignore" | "pipe" = "ignore"): ChildProcess {
    const child = spawn(program, args, {
      cwd: this.path,
      env: {
        ...shellEnvironment(this.path),
        ONEFOLD_URL: undefined,
        NO_COLOR: undefined,
        // A test runner in a program must not take itself for a part of this one.
        NODE_TEST_CONTEXT: undefined,
        ...this.environment,
      },
      stdio: [stdin, "pipe", "pipe"],
    });
    this.#children.push(child);
    return child;
  }

  onefold(...args: string[]): Promise<Ended> {
    return ended(this.launch(args));
  }

  /** Standard output, of a program that ends with 0. */
  async result(...args: string[]): Promise<string> {
    const { code, out, err } = await this.onefold(...args);
    assert.equal(code, 0, err);
    return out;
  }

  /** Starts a node and resolves when it serves. */
  async serve(system: string, ...args: string[]): Promise<{ readonly child: ChildProcess; readonly url: string }> {
    const child = this.launch(["start", system, "--port", "0", "--json", ...args]);
    const [line] = (await once(createInterface({ input: child.stdout! }), "line")) as [string];
    return { child, url: (JSON.parse(line) as { readonly url: string }).url };
  }

  async remove(): Promise<void> {
    delete process.env.ONEFOLD_URL;
    for (const child of this.#children) {
      if (child.exitCode !== null || child.signalCode !== null) continue;
      child.kill("SIGKILL");
      await once(child, "exit");
    }
    await rm(this.path, { recursive: true, force: true });
  }
}

/**
 * The same command line in this process, where no process of its own is at stake: what it prints to no terminal, and its exit code.
 * The node that it asks by default is `process.env.ONEFOLD_URL`.
 */
export async function inProcess(...words: string[]): Promise<Ended> {
  const [results, notes]: [string[], string[]] = [[], []];
  const output: Output = {
    result: (text) => results.push(`${text}\n`),
    note: (text) => notes.push(`${text}\n`),
    progress: () => undefined,
    styled: (_style, text) => text,
    isTerminal: false,
    columns: undefined,
  };
  const code = await runProgram(words, output);
  return { code, out: results.join(""), err: notes.join("") };
}

/** What a program has printed when it ends. */
export async function ended(child: ChildProcess): Promise<Ended> {
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
}

/** Asks a program to stop and gives its exit code. */
export async function stopped(child: ChildProcess): Promise<number | null> {
  const exit = once(child, "exit");
  child.kill("SIGTERM");
  const [code] = (await exit) as [number | null];
  return code;
}

/** Lines of a program's output as they come. */
export class Lines {
  readonly #lines: string[] = [];
  #ended = false;
  #wake: (() => void) | undefined;

  constructor(stream: NodeJS.ReadableStream) {
    const reader = createInterface({ input: stream });
    reader.on("line", (line) => {
      this.#lines.push(line);
      this.#wake?.();
    });
    reader.on("close", () => {
      this.#ended = true;
      this.#wake?.();
    });
  }

  /** The next line that matches; earlier ones are dropped. Fails after `boundMs` or at the end. */
  async next(pattern: RegExp, boundMs = 20_000): Promise<string> {
    const endMs = performance.now() + boundMs;
    for (;;) {
      for (let line = this.#lines.shift(); line !== undefined; line = this.#lines.shift()) {
        if (pattern.test(line)) return line;
      }
      const leftMs = endMs - performance.now();
      assert.ok(!this.#ended && leftMs > 0, `a line like ${pattern} comes`);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, leftMs);
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  }
}

/** Standard output of a command line that ends with 0, run in this process. */
export async function resultOf(...words: string[]): Promise<string> {
  const { code, out, err } = await inProcess(...words);
  assert.equal(code, 0, err);
  return out;
}

/** The one line of JSON that a command line has printed. */
export function only(ended: Ended): unknown {
  assert.match(ended.out, /^[^\n]+\n$/, ended.err);
  return JSON.parse(ended.out);
}

export function deposit(id: string, cents = 1): Promise<string> {
  return resultOf("call", `account/${id}`, "deposit", JSON.stringify({ cents }));
}

/** Serves a system with a little of everything, which command lines ask by default from then on, also those in this process. */
export async function serveTown(folder: ProgramFolder): Promise<void> {
  await writeFile(join(folder.path, "town.ts"), townText);
  const { url } = await folder.serve("town.ts", "--data", "town");
  folder.environment = { ONEFOLD_URL: url };
  process.env.ONEFOLD_URL = url;
}

const townText = `
import { entity, Refused, system, transaction } from "onefold";
import { z } from "zod";
const cents = z.object({ cents: z.number().int().positive() });
const account = entity("account")
  .state(z.object({ balanceCents: z.number() }), () => ({ balanceCents: 0 }))
  .command("deposit", cents, (state, { cents }) => (state.balanceCents += cents))
  .command("withdraw", cents, (state, { cents }) => {
    if (state.balanceCents < cents) throw new Refused("insufficient-funds", { balanceCents: state.balanceCents });
    return (state.balanceCents -= cents);
  })
  .query("balance", (state) => state.balanceCents);
const courier = entity("courier")
  .state(z.object({ sent: z.number() }), () => ({ sent: 0 }))
  .command("open", z.object({ count: z.number(), from: z.number() }), (state, { count, from }, { send }) => {
    for (let i = from; i < from + count; i++) send(account, "c" + String(i).padStart(4, "0"), "deposit", { cents: 1 });
    state.sent += count;
  })
  .command("collect", (state, _input, { send }) => send(account, "empty", "withdraw", { cents: 1 }));
const transfer = transaction("transfer", z.object({ from: z.string(), to: z.string(), cents: z.number() }))
  .run(async (tx, { from, to, cents }) => {
    await tx(account, from).withdraw({ cents });
    await tx(account, to).deposit({ cents });
  });
export const town = system("town", { account, courier, transfer });
`;
