/** The examples of `docs/cli.md`, run as they stand there. */
import assert from "node:assert/strict";
import type { ChildProcess } from "node:child_process";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { onefoldProgram } from "../src/cli/program.ts";
import { exitCodeHelp, exitCodes } from "../src/cli/exit-code.ts";
import { ended, ProgramFolder, stopped } from "./command-line.fixture.ts";
import { installOnefold } from "./installation.ts";

const root = fileURLToPath(new URL("..", import.meta.url));

interface Example {
  readonly command: string;
  /** What a terminal shows, with `…` for anything. */
  readonly shown: string;
}

function examplesIn(markdown: string): readonly Example[] {
  return [...markdown.matchAll(/^```console\n([\s\S]*?)^```$/gm)].flatMap(([, block]) =>
    block!
      .split(/^\$ /m)
      .filter((part) => part !== "")
      .map((part) => {
        const [command, ...lines] = part.trimEnd().split("\n");
        return { command: command!, shown: lines.join("\n") };
      }),
  );
}

function patternOf(shown: string): RegExp {
  return new RegExp(`^${shown.split("…").map(escaped).join(".*")}$`);
}

function escaped(text: string): string {
  return text.replaceAll(/[\\^$.*+?()[\]{}|]/g, "\\$&");
}

describe("docs/cli.md", { timeout: 60_000 }, () => {
  let folder: ProgramFolder;
  let node: ChildProcess;
  let markdown = "";

  before(async () => {
    markdown = await readFile(join(root, "docs", "cli.md"), "utf8");
    folder = await ProgramFolder.make();
    await installOnefold(folder.path);
    const served = await folder.serve(join(root, "examples", "bank"));
    node = served.child;
    folder.environment = { ONEFOLD_URL: served.url };
  });
  after(() => folder.remove());

  test("shows what its examples print, with their exit codes", async () => {
    const examples = examplesIn(markdown);
    assert.ok(examples.length >= 20);
    for (const { command, shown } of examples) {
      if (command === "onefold verify") assert.equal(await stopped(node), 0);
      const { code, out, err } = await ended(folder.spawn("sh", ["-c", command]));
      // A terminal shows notes before results where a command follows something, behind them elsewhere.
      const texts = [out + err, err + out].map(
        (text) => `${text.trimEnd()}${code === 0 ? "" : `\n[exit code ${code}]`}`,
      );
      assert.ok(
        texts.some((text) => patternOf(shown).test(text)),
        `$ ${command}\n${texts[0]}\nis not as shown:\n${shown}`,
      );
    }
  });

  test("names every command and every exit code", () => {
    const silent = {
      result: () => undefined,
      note: () => undefined,
      progress: () => undefined,
      styled: (_style: string, text: string) => text,
      isTerminal: false,
      columns: undefined,
    };
    for (const command of onefoldProgram(silent).commands) {
      if (command.name().startsWith("__")) continue;
      assert.match(markdown, new RegExp(`^\\| \`${command.name()}[ \`]`, "m"), command.name());
    }
    const explained = [...exitCodeHelp.matchAll(/^ {2}(\d+) +(.*)$/gm)].map(([, code, meaning]) => ({ code, meaning }));
    for (const code of Object.values(exitCodes))
      assert.ok(
        explained.some((each) => each.code === String(code)),
        `${code}`,
      );
    for (const { code, meaning } of explained) {
      assert.ok(markdown.replaceAll("`", "").includes(`| ${code} | ${meaning} |`), `${code} ${meaning}`);
    }
  });
});
