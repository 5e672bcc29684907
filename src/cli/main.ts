#!/usr/bin/env node
/** The program `onefold`. Reads the command line, runs one command, and ends with an exit code that means something. */
import { readFileSync } from "node:fs";
import { Command, CommanderError, InvalidArgumentError, Option } from "commander";
import { errorText } from "./error-text.ts";
import { CommandFailure, exitCodeOf, exitCodes } from "./exit-code.ts";
import { type Output, processOutput } from "./output.ts";
import { call, get, run } from "./request-commands.ts";

// The commands that serve or verify are imported when they are run: `call` answers sooner without a node's code.

const defaultPort = 7400;
const exitCodeHelp = `
Exit codes:
  0  done
  1  refused, failed for good, or damage found
  2  wrong usage, or a SYSTEM that can't be loaded
  3  nobody answers at the address
  4  nothing happened; the same command may work later (port or data directory in use, overload)
  5  it may have happened; repeat it only with the same --key
  70 a bug in Onefold
`;

function program(output: Output): Command {
  const onefold = new Command("onefold")
    .description("Serves a system of entities and transactions, durable, from one process; and asks a running one.")
    .version(packageVersion(), "-V, --version")
    .showHelpAfterError("(onefold --help shows what there is)")
    .addHelpText("after", exitCodeHelp)
    .exitOverride()
    .configureOutput({
      writeOut: (text) => output.result(text.trimEnd()),
      writeErr: (text) => output.note(text.trimEnd()),
    });
  const system = "a TypeScript or JavaScript module that exports a system, or a folder with one";

  onefold
    .command("start")
    .description("serve a system")
    .argument("<system>", system)
    .addOption(dataOption())
    .addOption(portOption())
    .option("--host <name>", "address to listen on", "127.0.0.1")
    .option("--json", "say in JSON that it serves")
    .action(async (path: string, options) => (await import("./start-command.ts")).start(path, options, output));
  onefold
    .command("dev")
    .description("serve a system and reload it when its code changes")
    .argument("<system>", system)
    .addOption(dataOption())
    .addOption(portOption())
    .option("--json", "print events as lines of JSON")
    .action(async (path: string, options) => (await import("./dev-command.ts")).dev(path, options, output));

  asksNode(onefold.command("call"))
    .description("run a command or query of an entity")
    .argument("<kind/id>", "the entity, e.g. account/alice")
    .argument("<command>", "the command's or query's name")
    .argument("[json]", "its input")
    .addOption(keyOption())
    .action((path: string, name: string, input: string | undefined, options) =>
      call({ path, name, input }, options, output),
    );
  asksNode(onefold.command("run"))
    .description("run a transaction")
    .argument("<transaction>", "its name")
    .argument("[json]", "its input")
    .addOption(keyOption())
    .action((name: string, input: string | undefined, options) => run({ name, input }, options, output));
  asksNode(onefold.command("get"))
    .description("print the raw state of an entity")
    .argument("<kind/id>", "the entity, e.g. account/alice")
    .action((path: string, options) => get(path, options, output));

  onefold
    .command("verify")
    .description("check every byte of a data directory: chain, anchors, snapshots; the node must not be running")
    .addOption(dataOption())
    .option("--json", "print the report as JSON")
    .action(async (options) => (await import("./verify-command.ts")).verify(options, output));
  return onefold;
}

function asksNode(command: Command): Command {
  return command
    .option("--url <url>", "the node's address", `http://127.0.0.1:${defaultPort}`)
    .option("-H, --header <line>", "a header to send, e.g. 'Authorization: Bearer …'; may be repeated", collect, [])
    .option("--json", "print the answer as it came, on one line");
}

function dataOption(): Option {
  return new Option("--data <directory>", "where the data is").default(".onefold");
}

function portOption(): Option {
  return new Option("--port <number>", "port to listen on; 0 for any free one")
    .default(defaultPort)
    .argParser(parsePort);
}

function keyOption(): Option {
  return new Option("--key <key>", "idempotency key: a call that is repeated with the same key takes hold once");
}

function parsePort(text: string): number {
  if (!/^\d{1,5}$/.test(text) || Number(text) > 65_535) throw new InvalidArgumentError("It must be 0 to 65535.");
  return Number(text);
}

function collect(line: string, lines: readonly string[]): readonly string[] {
  return [...lines, line];
}

function packageVersion(): string {
  const content: unknown = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8"));
  return content !== null && typeof content === "object" && "version" in content ? String(content.version) : "unknown";
}

async function main(): Promise<void> {
  const output = processOutput();
  try {
    await program(output).parseAsync(process.argv);
    process.exitCode = exitCodes.done;
  } catch (error) {
    output.progress("");
    if (error instanceof CommanderError) {
      // Commander has printed what is wrong, or the help that was asked for.
      process.exitCode = error.exitCode === 0 ? exitCodes.done : exitCodes.usage;
      return;
    }
    const isJson = process.argv.includes("--json");
    const problem = error instanceof CommandFailure ? error.problem : undefined;
    if (isJson && problem !== undefined) output.result(JSON.stringify(problem));
    output.note(errorText(error));
    process.exitCode = exitCodeOf(error);
  }
}

await main();
