/** A node of its own process on a temporary directory, for as long as a benchmark takes. */
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync } from "node:fs";
import { rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { extname, join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { CommandFailure, exitCodes } from "../exit-code.ts";

export interface TemporaryNode {
  readonly url: string;
  /** Ends the process and removes the directory. */
  close(): Promise<void>;
}

const signals = ["SIGINT", "SIGTERM"] as const;
/** What a shell reports for a program that a signal ended: 128 and the signal's number. */
const signalExitCodes = { SIGINT: 130, SIGTERM: 143 } as const;

/** `directory` is where the temporary one is made: its disk is what is measured. Throws `CommandFailure`. */
export async function startTemporaryNode(directory = tmpdir()): Promise<TemporaryNode> {
  let data: string | undefined;
  let child: ChildProcess | undefined;
  const close = async (): Promise<void> => {
    for (const name of signals) process.off(name, interrupted);
    if (child !== undefined) await ended(child);
    if (data !== undefined) await rm(data, { recursive: true, force: true });
  };
  const interrupted = (name: keyof typeof signalExitCodes): void => {
    close().then(
      () => process.exit(signalExitCodes[name]),
      (error: unknown) => {
        process.stderr.write(`${data} could not be removed: ${String(error)}\n`);
        process.exit(signalExitCodes[name]);
      },
    );
  };
  // Before there is anything that Ctrl-C must not leave behind; and at once, so that no signal comes in between.
  for (const name of signals) process.once(name, interrupted);
  try {
    data = makeDirectory(directory);
    // The same program and system as this one, TypeScript when run from source (the flags that make it run are inherited).
    const extension = extname(import.meta.url);
    const path = (relative: string): string => fileURLToPath(new URL(relative + extension, import.meta.url));
    const args = ["start", path("./counter-system"), "--data", join(data, "data"), "--port", "0", "--json"];
    child = fork(path("../main"), args, { stdio: ["ignore", "pipe", "pipe", "ipc"] });
    return { url: await urlOf(child), close };
  } catch (error) {
    await close();
    throw error;
  }
}

function makeDirectory(directory: string): string {
  try {
    return mkdtempSync(join(directory, "onefold-bench-"));
  } catch (cause) {
    throw new CommandFailure(exitCodes.usage, `There can be no temporary directory in ${directory}.`, { cause });
  }
}

/** Of what the node has to say, so much is kept, to be shown if it does not start. */
const keptCharacters = 4000;

async function urlOf(child: ChildProcess): Promise<string> {
  let said = "";
  child.stderr!.setEncoding("utf8").on("data", (text: string) => {
    said = (said + text).slice(-keptCharacters);
  });
  const line = await firstLine(child);
  if (line === undefined) {
    throw new CommandFailure(exitCodes.internal, `The benchmark's own node did not start.\n${said}`);
  }
  return (JSON.parse(line) as { readonly url: string }).url;
}

async function firstLine(child: ChildProcess): Promise<string | undefined> {
  for await (const line of createInterface({ input: child.stdout! })) return line;
  return undefined;
}

async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exit = once(child, "exit");
  child.kill("SIGKILL");
  await exit;
}
