/**
 * The command line's grammar: every command with its arguments and options, and nothing else. What they do is in a file each.
 *
 * PR1  Every command that prints a result takes `--json`: one JSON value, or one a line where results come one by one.
 */
import { Argument, Command, InvalidArgumentError, Option } from "commander";
import { limits } from "../base/limits.ts";
import { version } from "../base/version.ts";
import { addMemberOptions, addPromoteOptions, addUpOptions } from "./cluster/cluster-grammar.ts";
import { completeCommand, shells } from "./completion/shell-scripts.ts";
import { exitCodeHelp } from "./exit-code.ts";
import type { Output } from "./output.ts";

// Each command's code is imported when it is run: `call` answers sooner without a node's code.

const defaultPort = 7400;
/** As `simulate` has it, whose code is only imported when it is asked for. */
const simulatedNodesMax = 9;
const simulationJobsMax = 256;
const environmentHelp = `
Environment:
  ONEFOLD_URL  the node's address where --url is not given
  NO_COLOR     if not empty, no colours
  DEBUG        if not empty, failures with their stack traces`;

/** Runs by `parseAsync`; throws what a command throws, and `CommanderError` for what is no command line. */
export function onefoldProgram(output: Output): Command {
  const onefold = new Command("onefold")
    .description("Serves a system of entities and transactions, durable, from one process; and asks a running one.")
    .version(version, "-V, --version")
    .showHelpAfterError("(onefold --help shows what there is)")
    .addHelpText("after", `${exitCodeHelp}\n${environmentHelp}`)
    .exitOverride()
    .configureOutput({
      writeOut: (text) => output.result(text.trimEnd()),
      writeErr: (text) => output.note(text.trimEnd()),
    });
  addServing(onefold, output);
  addAsking(onefold, output);
  addListing(onefold, output);
  addWatching(onefold, output);
  addCluster(onefold, output);
  addTools(onefold, output);
  return onefold;
}

function addServing(onefold: Command, output: Output): void {
  onefold
    .command("init")
    .description("write a new system, with a test, to an empty folder")
    .argument("[folder]", "made if it is not there", ".")
    .option("--json", "print what was written as JSON")
    .action(async (folder: string, options) => (await import("./init-command.ts")).init(folder, options, output));
  onefold
    .command("dev")
    .description("serve a system and reload it when its code changes")
    .addArgument(systemArgument())
    .addOption(dataOption())
    .addOption(portOption())
    .option("--json", "print events as lines of JSON")
    .action(async (path: string, options) => (await import("./dev-command.ts")).dev(path, options, output));
  addMemberOptions(onefold.command("start"))
    .description("serve a system, from this process alone or as a node of a cluster")
    .addArgument(systemArgument())
    .addOption(dataOption())
    .addOption(portOption())
    .option("--host <name>", "address to listen on", "127.0.0.1")
    .option("--tls-cert <file>", "serve HTTPS with this certificate, in PEM")
    .option("--tls-key <file>", "its key")
    .option("--json", "say in JSON that it serves")
    .action(async (path: string, options) => (await import("./start-command.ts")).start(path, options, output));
}

function addAsking(onefold: Command, output: Output): void {
  asksNode(onefold.command("call"))
    .description("run a command or query of an entity")
    .argument("<kind/id>", "the entity, e.g. account/alice")
    .argument("<command>", "the command's or query's name")
    .argument("[json]", "its input")
    .addOption(keyOption())
    .action(async (path: string, name: string, input: string | undefined, options) =>
      (await import("./request-commands.ts")).call({ path, name, input }, options, output),
    );
  asksNode(onefold.command("run"))
    .description("run a transaction")
    .argument("<transaction>", "its name")
    .argument("[json]", "its input")
    .addOption(keyOption())
    .action(async (name: string, input: string | undefined, options) =>
      (await import("./request-commands.ts")).run({ name, input }, options, output),
    );
  asksNode(onefold.command("get"))
    .description("print the raw state of an entity")
    .argument("<kind/id>", "the entity, e.g. account/alice")
    .action(async (path: string, options) => (await import("./request-commands.ts")).get(path, options, output));
}

function addListing(onefold: Command, output: Output): void {
  asksNode(onefold.command("ls"))
    .description("list kinds and transactions, or the ids of a kind")
    .argument("[kind]", "the kind whose ids are listed")
    .option("--prefix <text>", "only ids that begin with it")
    .addOption(limitOption(100))
    .addOption(cursorOption())
    .action(async (kind: string | undefined, options) =>
      (await import("./list-commands.ts")).list(kind, options, output),
    );
  asksNode(onefold.command("history"))
    .description("print what happened to an entity, newest first")
    .argument("<kind/id>", "the entity, e.g. account/alice")
    .addOption(limitOption(20))
    .addOption(cursorOption())
    .action(async (path: string, options) => (await import("./list-commands.ts")).history(path, options, output));
  asksNode(onefold.command("dead-letters"))
    .description("print messages and timers that ended without taking hold, newest first")
    .argument("[kind]", "only those for this kind")
    .addOption(limitOption(20))
    .addOption(cursorOption())
    .action(async (kind: string | undefined, options) =>
      (await import("./list-commands.ts")).deadLetters(kind, options, output),
    );
}

function addWatching(onefold: Command, output: Output): void {
  asksNode(onefold.command("tail"), "print each change as a line of JSON")
    .description("print what happens, as it happens")
    .argument("[kind[/id]]", "only changes of this kind, or of this entity")
    .option("--after <sequence>", "begin behind this sequence of the log, 0 for its begin; default: its end")
    .addOption(countOption("changes"))
    .action(async (path: string | undefined, options) =>
      (await import("./tail-command.ts")).tail(path, options, output),
    );
  asksNode(onefold.command("top"), "print each reading as a line of JSON")
    .description("show how busy a node is, live")
    .addOption(
      new Option("--interval <seconds>", "between two readings")
        .default(1)
        .argParser(parseNumber({ min: 0.1, max: 3600 })),
    )
    .addOption(countOption("readings"))
    .action(async (options) => (await import("./top-command.ts")).top(options, output));
}

function addCluster(onefold: Command, output: Output): void {
  const cluster = onefold.command("cluster").description("run a cluster on this machine, and look at a running one");
  addUpOptions(cluster.command("up"))
    .description("run a whole cluster on this machine: servers of the engine and nodes, until Ctrl-C")
    .addArgument(systemArgument())
    .action(async (path: string, options) => {
      const { clusterUp } = await import("./cluster/up-command.ts");
      await clusterUp(path, { ...options, servers: Number(options.servers) }, output);
    });
  asksNode(cluster.command("status"))
    .description("print nodes and shards: owners, epochs, lag")
    .action(async (options) => (await import("./cluster/status-command.ts")).clusterStatus(options, output));
  asksNode(cluster.command("split"))
    .description("split a shard while it is in use, so that more nodes can share its load")
    .argument("<shard>", "as `cluster status` names it")
    .addOption(new Option("--parts <number>", "into so many").default(2).argParser(parseWhole({ min: 2, max: 64 })))
    .addOption(
      new Option("--wait <seconds>", "for the parts to be served; 0: only ask")
        .default(60)
        .argParser(parseNumber({ min: 0, max: 3600 })),
    )
    .action(async (shard: string, options) =>
      (await import("./cluster/split-command.ts")).clusterSplit(shard, options, output),
    );
  asksNode(cluster.command("suspects"))
    .description("list entities whose commands ended nodes, and those in quarantine for it")
    .action(async (options) => (await import("./cluster/suspects-command.ts")).clusterSuspects(options, output));
  asksNode(cluster.command("lift"))
    .description("let an entity in quarantine serve again, on all nodes")
    .argument("<kind/id>", "the entity, e.g. account/alice")
    .option("--tenant <name>", "only of this tenant; default: of all")
    .action(async (path: string, options) =>
      (await import("./cluster/suspects-command.ts")).clusterLift(path, options, output),
    );
}

function addTools(onefold: Command, output: Output): void {
  addSimulation(onefold, output);
  asksNode(onefold.command("bench"), "print each measurement as a line of JSON")
    .description(
      "measure a node of its own, or a command of a running one (which changes entities bench-0, bench-1, …)",
    )
    .argument("[kind]", "the kind to call")
    .argument("[command]", "the command's or query's name")
    .argument("[json]", "its input")
    .addOption(
      new Option("--concurrency <numbers>", "callers at once, with commas between")
        .default([1, 64, 512], "1,64,512")
        .argParser(parseNumbers),
    )
    .addOption(
      new Option("--seconds <number>", "for each measurement")
        .default(2)
        .argParser(parseNumber({ min: 0.1, max: 3600 })),
    )
    .addOption(
      new Option("--entities <number>", "that the calls are spread over")
        .default(1000)
        .argParser(parseWhole({ min: 1, max: 1_000_000 })),
    )
    .option("--directory <path>", "where its own node keeps its data; default: the system's temporary directory")
    .action(async (kind, operation, input, options) =>
      (await import("./bench-command.ts")).bench({ kind, operation, input }, options, output),
    );
  onefold
    .command("verify")
    .description("check every byte of a data directory: chain, anchors, snapshots; the node must not be running")
    .addOption(dataOption())
    .option("--json", "print the report as JSON")
    .action(async (options) => (await import("./verify-command.ts")).verify(options, output));
  addBackups(onefold, output);
  addMoving(onefold, output);
  const quarantine = onefold
    .command("quarantine")
    .description("show and lift the quarantine of entities whose commands ended the process");
  quarantine
    .command("ls")
    .description("list entities in quarantine, and suspects")
    .addOption(dataOption())
    .option("--tenant <name>", "only entities of this tenant")
    .option("--json", "print the list as JSON")
    .action(async (options) => (await import("./quarantine-command.ts")).listQuarantine(options, output));
  quarantine
    .command("lift")
    .description("let an entity serve again; the node must not be running")
    .argument("<kind/id>", "the entity, e.g. account/alice")
    .addOption(dataOption())
    .option("--tenant <name>", "only of this tenant; default: of all")
    .option("--json", "print what was lifted as JSON")
    .action(async (path: string, options) =>
      (await import("./quarantine-command.ts")).liftQuarantine(path, options, output),
    );
  onefold
    .command("completion")
    .description("print a script that completes command lines")
    .addArgument(new Argument("<shell>", "which shell it is for").choices(shells))
    .action(async (shell) => (await import("./completion-command.ts")).completion(shell, output));
  onefold
    .command(completeCommand, { hidden: true })
    .argument("[words...]")
    .action(async (words: readonly string[]) =>
      (await import("./completion-command.ts")).complete(onefold, words, output),
    );
}

function addSimulation(onefold: Command, output: Output): void {
  onefold
    .command("sim")
    .description(
      "simulate a system on a whole cluster in this process, under faults, seed after seed, and check what must hold",
    )
    .addArgument(systemArgument())
    .addOption(
      new Option("--nodes <number>", "how many nodes")
        .default(3)
        .argParser(parseWhole({ min: 1, max: simulatedNodesMax })),
    )
    .addOption(
      new Option("--seeds <number>", "how many seeds")
        .default(100)
        .argParser(parseWhole({ min: 1, max: 1_000_000_000 })),
    )
    .addOption(
      new Option("--from <number>", "the first of the seeds")
        .default(0)
        .argParser(parseWhole({ min: 0, max: 1_000_000_000_000 })),
    )
    .option("--seed <seed>", "only this one: gives a run again")
    .addOption(
      new Option(
        "--shards <number>",
        "how many shards the cluster begins with, a power of two (default: 16)",
      ).argParser(parseWhole({ min: 1, max: limits.shardsMax })),
    )
    .addOption(
      new Option(
        "--jobs <number>",
        "how many seeds to simulate at a time (default: as many as there are processors)",
      ).argParser(parseWhole({ min: 1, max: simulationJobsMax })),
    )
    .option(
      "--faults <names>",
      "what may go wrong, with commas between, or none; default: all that a healthy engine allows",
    )
    .option("--plan <file>", "what goes wrong, as --json printed it")
    .option("--no-shrink", "leave the plan of a seed that fails as it is")
    .option("--transcript <file>", "write the whole transcript of the seed that failed, or else of the last, to a file")
    .option("--json", "print the summary as JSON")
    .action(async (path: string, options) => (await import("./sim-command.ts")).sim(path, options, output));
}

function addBackups(onefold: Command, output: Output): void {
  asksNode(onefold.command("backup"), "print what was backed up as JSON")
    .description("write all that a node holds to one file, verified, while it goes on; or that of a data directory")
    .requiredOption("-o, --output <file>", "a new file, or - for the standard output")
    .option("--data <directory>", "back up this directory instead of asking a node; no node may have it open")
    .action(async (options) => (await import("./backup-command.ts")).backup(options, output));
  onefold
    .command("restore")
    .description("make a data directory of a backup, verified; it continues under a new incarnation")
    .argument("<file>", "the backup, or - for the standard input")
    .addOption(dataOption())
    .option("--check", "only verify the backup; nothing is written")
    .option("--json", "print what was restored as JSON")
    .action(async (file: string, options) => (await import("./restore-command.ts")).restore(file, options, output));
}

function addMoving(onefold: Command, output: Output): void {
  const promote = asksNode(onefold.command("promote"), "print how it goes as lines of JSON").description(
    "move an embedded system to a cluster, while it serves, with its history",
  );
  addPromoteOptions(promote).action(async (options) => (await import("./promote-command.ts")).promote(options, output));
}

function asksNode(command: Command, json = "print the answer as JSON, on one line"): Command {
  return command
    .addOption(
      new Option("--url <url>", "the node's address").env("ONEFOLD_URL").default(`http://127.0.0.1:${defaultPort}`),
    )
    .addOption(
      new Option("-H, --header <line>", "a header to send, e.g. 'Authorization: Bearer …'; may be repeated")
        .argParser(collect)
        .default([], "none"),
    )
    .option("--json", json);
}

function systemArgument(): Argument {
  const what = "a TypeScript or JavaScript module that exports a system, or a folder with one";
  return new Argument("[system]", what).default(".", "this folder");
}

function dataOption(): Option {
  return new Option("--data <directory>", "where the data is").default(".onefold");
}

function portOption(): Option {
  return new Option("--port <number>", "port to listen on; 0 for any free one")
    .default(defaultPort)
    .argParser(parseWhole({ min: 0, max: 65_535 }));
}

function keyOption(): Option {
  return new Option("--key <key>", "idempotency key: a call that is repeated with the same key takes hold once");
}

function limitOption(count: number): Option {
  return new Option("--limit <count>", "how many at most")
    .default(count)
    .argParser(parseWhole({ min: 1, max: 1_000_000 }));
}

function cursorOption(): Option {
  return new Option("--cursor <cursor>", "go on where an earlier answer ended");
}

function countOption(what: string): Option {
  return new Option("--count <number>", `end after so many ${what}; default: never`).argParser(
    parseWhole({ min: 1, max: Number.MAX_SAFE_INTEGER }),
  );
}

interface Bounds {
  readonly min: number;
  readonly max: number;
}

function parseWhole(bounds: Bounds): (text: string) => number {
  return (text) => {
    const value = /^\d{1,15}$/.test(text) ? Number(text) : Number.NaN;
    return within(value, bounds, "a whole number");
  };
}

function parseNumber(bounds: Bounds): (text: string) => number {
  return (text) => within(/^\d{1,9}(\.\d{1,9})?$/.test(text) ? Number(text) : Number.NaN, bounds, "a number");
}

function parseNumbers(text: string): readonly number[] {
  return text.split(",").map(parseWhole({ min: 1, max: 10_000 }));
}

function within(value: number, { min, max }: Bounds, what: string): number {
  if (value >= min && value <= max) return value;
  const range = max === Number.MAX_SAFE_INTEGER ? `from ${min}` : `${min} to ${max}`;
  throw new InvalidArgumentError(`It must be ${what}, ${range}.`);
}

function collect(line: string, lines: readonly string[]): readonly string[] {
  return [...lines, line];
}
