/** The command line's grammar of clusters: the options of a node, and the commands below `onefold cluster`. */
import { type Command, InvalidArgumentError, Option } from "commander";
import { limits } from "../../base/limits.ts";
import { isRegionName } from "../../base/regions.ts";

/** Options of `onefold start` that make it a node of a cluster. */
export function addMemberOptions(start: Command): Command {
  return start
    .option(
      "--cluster <urls>",
      "be a node of the cluster on these servers of the engine, nats://…, with commas between",
    )
    .option("--name <name>", "with --cluster: the node's name, the same at each start; default: the machine's")
    .option(
      "--node-address <host:port>",
      "with --cluster: where the other nodes reach this one; port 0 for any free one",
      "127.0.0.1:0",
    )
    .option(
      "--node-listen <host:port>",
      "with --cluster: where it listens for them, if not there: behind a proxy or a mapped port",
    )
    .option("--http-url <url>", "with --cluster: where clients reach this node; default: where it listens")
    .addOption(
      new Option("--label <name=value>", "with --cluster: a label, such as zone=a or region=eu; may be repeated")
        .argParser(collectLabel)
        .default({}, "none"),
    )
    .addOption(
      new Option(
        "--shards <number>",
        "with --cluster: of a cluster that is founded now, a power of two; default: 16",
      ).argParser(shardCount),
    )
    .addOption(
      new Option(
        "--followers <number>",
        "with --cluster: copies of each shard besides its owner's, when it is founded",
      ).argParser(wholeWithin(0, limits.followersMax)),
    )
    .addOption(
      new Option(
        "--regions <names>",
        "with --cluster: regions to pin kinds to later, when it is founded, with commas between; those of pinned kinds it has anyway",
      ).argParser(regionNames),
    )
    .option(
      "--await-system",
      "with --cluster: found no cluster, wait for a system that is moved here by `onefold promote`",
    )
    .option("--engine-credentials <file>", "with --cluster: how this node signs in to the engine, see docs/clusters.md")
    .addOption(
      new Option("--engine-replicas <number>", "with --cluster: on how many of the engine's servers each log is kept")
        .choices(["1", "3", "5"])
        .default("3"),
    )
    .option(
      "--engine-name <name>",
      "with --cluster: begins the names of what the cluster keeps in the engine; default: made of the system's name",
    )
    .option("--node-cert <file>", "with --cluster: this node's certificate for its peers and the engine, in PEM")
    .option("--node-key <file>", "with --cluster: its key")
    .option("--node-ca <file>", "with --cluster: who signs the certificates of nodes and of the engine")
    .option("--unsafe-durability", "with --cluster: serve although the engine may lose what it acknowledged");
}

/** `onefold promote`. */
export function addPromoteOptions(promote: Command): Command {
  return promote
    .requiredOption("--to <urls>", "servers of the cluster's engine, nats://…, with commas between")
    .option("--data <directory>", "move this directory's system instead of a running node's; no node may have it open")
    .addOption(new Option("--shards <number>", "of the cluster, a power of two").default(16).argParser(shardCount))
    .addOption(
      new Option("--followers <number>", "copies of each shard besides its owner's")
        .default(1)
        .argParser(wholeWithin(0, limits.followersMax)),
    )
    .option("--engine-credentials <file>", "how the node signs in to the engine, see docs/clusters.md")
    .addOption(
      new Option("--engine-replicas <number>", "on how many of the engine's servers each log is kept")
        .choices(["1", "3", "5"])
        .default("3"),
    )
    .option(
      "--engine-name <name>",
      "begins the names of what the cluster keeps in the engine; default: made of the system's name",
    )
    .option("--node-cert <file>", "the node's certificate for the engine, in PEM, on the node's machine")
    .option("--node-key <file>", "its key")
    .option("--node-ca <file>", "who signs the engine's certificates")
    .option("--unsafe-durability", "move although the engine may lose what it acknowledged");
}

/** `onefold cluster up`. */
export function addUpOptions(up: Command): Command {
  return up
    .addOption(new Option("--nodes <number>", "how many nodes").default(3).argParser(wholeWithin(1, 9)))
    .addOption(
      new Option("--servers <number>", "how many servers of the engine; with 1 nothing survives its loss")
        .choices(["1", "3", "5"])
        .default("3"),
    )
    .addOption(
      new Option("--port <number>", "port of the first node, the others' follow; default: any free ones").argParser(
        wholeWithin(1, 65_535),
      ),
    )
    .option("--data <directory>", "where the cluster's data is", ".onefold-cluster")
    .addOption(
      new Option(
        "--regions <names>",
        "with commas between: nodes are in one after the other, and each has so many servers",
      ).argParser(regionNames),
    )
    .addOption(new Option("--shards <number>", "of a new cluster, a power of two; default: 16").argParser(shardCount))
    .addOption(
      new Option("--followers <number>", "of a new cluster: copies of each shard besides its owner's").argParser(
        wholeWithin(0, limits.followersMax),
      ),
    )
    .option("--no-restart", "leave what has ended or was killed as it is")
    .option("--json", "print a line of JSON for each process when it is up, and for each change of a node's health");
}

function collectLabel(text: string, labels: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  const [, name, value] = /^([a-z][a-z0-9-]{0,31})=([\w.-]{1,64})$/i.exec(text) ?? [];
  if (name === undefined || value === undefined) {
    throw new InvalidArgumentError("It must be name=value, of letters, digits, '-', '_' and '.'.");
  }
  return { ...labels, [name]: value };
}

function regionNames(text: string): readonly string[] {
  const names = text.split(",").map((name) => name.trim());
  if (names.every(isRegionName) && new Set(names).size === names.length) return names;
  throw new InvalidArgumentError(
    "It must be names of regions, each of lower-case letters, digits and '-', with commas between.",
  );
}

function shardCount(text: string): number {
  const count = wholeWithin(1, 256)(text);
  if (Number.isInteger(Math.log2(count))) return count;
  throw new InvalidArgumentError("It must be a power of two, 1 to 256.");
}

function wholeWithin(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = /^\d{1,9}$/.test(text) ? Number(text) : Number.NaN;
    if (value >= min && value <= max) return value;
    throw new InvalidArgumentError(`It must be a whole number, ${min} to ${max}.`);
  };
}
