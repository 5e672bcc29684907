/** Database servers as child processes: found or installed, started on loopback, watched until they are ready, and ended. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { access, constants } from "node:fs/promises";
import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { delimiter, join } from "node:path";

export interface DatabaseServer {
  readonly port: number;
  /** What it says it is, with its version. */
  readonly version: string;
  /** Ends it and resolves when it has ended. Idempotent. */
  close(): Promise<void>;
}

export interface ServerIdentity {
  readonly uid: number;
  readonly gid: number;
}

/** The path of a program in one of the folders given or on the PATH; undefined where there is none. */
export async function findProgram(name: string, folders: readonly string[] = []): Promise<string | undefined> {
  for (const folder of [...folders, ...(process.env.PATH ?? "").split(delimiter)]) {
    const path = join(folder, name);
    const isThere = await access(path, constants.X_OK).then(
      () => true,
      () => false,
    );
    if (isThere) return path;
  }
  return undefined;
}

/**
 * Installs one of Debian's packages where this process may; rejects with what is to be done where it may not, or where that fails.
 */
export async function installPackage(name: string): Promise<void> {
  const aptGet = await findProgram("apt-get");
  const advice = `Install ${name} (Debian, Ubuntu: apt-get install ${name}).`;
  if (aptGet === undefined || process.getuid?.() !== 0) throw new Error(`${name} is not installed here. ${advice}`);
  console.error(`${name} is not installed here; installing it with apt-get.`);
  try {
    await run(aptGet, ["install", "--yes", "--no-install-recommends", name]);
  } catch (cause) {
    throw new Error(`${name} could not be installed. Run apt-get update, or install it yourself. ${advice}`, { cause });
  }
}

/** Runs a program to its end; resolves to what it wrote on standard output. Rejects where it fails, with what it said. */
export async function run(path: string, args: readonly string[], identity?: ServerIdentity): Promise<string> {
  const child = spawn(path, args, { stdio: ["ignore", "pipe", "pipe"], cwd: "/", ...identity });
  let output = "";
  let complaint = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    output += text;
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    complaint += text;
  });
  const [code] = (await once(child, "close")) as [number | null];
  if (code !== 0) throw new Error(`${path} failed (${code}): ${complaint || output}`);
  return output;
}

/** A port of loopback that nobody has just now. */
export async function freePort(): Promise<number> {
  const server = createServer();
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}

export interface StartOptions {
  readonly path: string;
  readonly args: readonly string[];
  readonly identity?: ServerIdentity | undefined;
  /** What it writes once it can be reached. */
  readonly readyText: string;
  /** Makes it end without losing anything. */
  readonly endSignal: NodeJS.Signals;
}

const readyMsMax = 60_000;

/** Starts a server that stays. Rejects where it ends, or says nothing of being ready for a minute, with what it said instead. */
export async function startServer(options: StartOptions): Promise<{ close(): Promise<void> }> {
  const { path, args, identity, readyText, endSignal } = options;
  const child = spawn(path, args, { stdio: ["ignore", "pipe", "pipe"], cwd: "/", ...identity });
  const ended = new Promise<void>((resolve) => child.once("close", () => resolve()));
  const killed = () => child.kill("SIGKILL");
  // Where the benchmark itself ends in the middle, its servers must not stay behind.
  process.once("exit", killed);
  const close = async (): Promise<void> => {
    child.kill(endSignal);
    await ended;
    process.removeListener("exit", killed);
  };
  try {
    await untilReady(child, readyText);
  } catch (error) {
    await close();
    throw error;
  }
  return { close };
}

async function untilReady(child: ChildProcess, readyText: string): Promise<void> {
  let said = "";
  await new Promise<void>((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`not ready after ${readyMsMax} ms: ${said}`)), readyMsMax);
    const settle = (done: () => void) => {
      clearTimeout(timer);
      done();
    };
    for (const stream of [child.stdout!, child.stderr!]) {
      // It is read to the end, so that the server never waits for somebody to read.
      stream.setEncoding("utf8").on("data", (text: string) => {
        if (said.length < 10_000) said += text;
        if (said.includes(readyText)) settle(resolve);
      });
    }
    child.once("error", (error) => settle(() => reject(error)));
    child.once("exit", (code) => settle(() => reject(new Error(`the server ended (${code}): ${said}`))));
  });
}
