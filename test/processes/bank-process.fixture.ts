/** The bank in a process of its own, served by the built program from a data directory, and HTTP calls to it. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { copyFile, mkdir } from "node:fs/promises";
import { Agent, request } from "node:http";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { installOnefold, mainPath, shellEnvironment } from "../installation.ts";

const bankSource = fileURLToPath(new URL("../../examples/bank/bank.ts", import.meta.url));

/** A folder with the bank as JavaScript, which starts faster: the example has no syntax that is TypeScript's alone. */
export async function installBank(folder: string): Promise<void> {
  await installOnefold(folder);
  await mkdir(join(folder, "bank"));
  await copyFile(bankSource, join(folder, "bank", "index.mjs"));
}

export interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** The program, running. */
export class Program {
  readonly child: ChildProcess;
  readonly ended: Promise<Ended>;
  readonly #serving: Promise<string | undefined>;
  #stdout = "";
  #stderr = "";

  /** `shell` runs before the program in the same process, to set limits. */
  constructor(folder: string, args: readonly string[], options: { readonly shell?: string } = {}) {
    const command = [process.execPath, mainPath, ...args];
    const [file = "", ...rest] =
      options.shell === undefined ? command : ["bash", "-c", `${options.shell}; exec "$@"`, "bash", ...command];
    this.child = spawn(file, rest, {
      cwd: folder,
      env: shellEnvironment(folder),
      stdio: ["ignore", "pipe", "pipe"],
    });
    this.child.stderr!.setEncoding("utf8").on("data", (text: string) => {
      this.#stderr += text;
    });
    const lines = createInterface({ input: this.child.stdout! });
    lines.on("line", (line) => {
      this.#stdout += `${line}\n`;
    });
    const closed = once(this.child, "close") as Promise<[number | null, NodeJS.Signals | null]>;
    this.ended = closed.then(([code, signal]) => ({ code, signal, stdout: this.#stdout, stderr: this.#stderr }));
    const firstLine = (once(lines, "line") as Promise<[string]>).then(([line]) => addressIn(line));
    this.#serving = Promise.race([firstLine, this.ended.then(() => undefined)]);
  }

  static serve(folder: string, data: string, options: { readonly shell?: string } = {}): Program {
    return new Program(folder, ["start", "bank", "--port", "0", "--json", "--data", data], options);
  }

  get stderr(): string {
    return this.#stderr;
  }

  /** Its address once it serves; undefined if it ended before that. */
  get url(): Promise<string | undefined> {
    return this.#serving;
  }

  async kill(signal: NodeJS.Signals): Promise<Ended> {
    this.child.kill(signal);
    return this.ended;
  }
}

/** The address in the line of JSON that says that a node serves; undefined for what other commands print. */
function addressIn(line: string): string | undefined {
  return line.startsWith("{") ? (JSON.parse(line) as { readonly url?: string }).url : undefined;
}

export interface Answer {
  readonly status: number;
  readonly body: unknown;
}

/** Calls to one node. Its connections end with `close`. */
export class BankClient {
  readonly #url: string;
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 64 });

  constructor(url: string) {
    this.#url = url;
  }

  close(): void {
    this.#agent.destroy();
  }

  /** The answer, or undefined if the connection ended before there was one. */
  post(path: string, input: unknown, idempotencyKey?: string): Promise<Answer | undefined> {
    return this.#request("POST", path, JSON.stringify(input), idempotencyKey);
  }

  get(path: string): Promise<Answer | undefined> {
    return this.#request("GET", path, undefined, undefined);
  }

  async balance(id: string): Promise<number> {
    const answer = await this.get(`/v1/entities/account/${id}/balance`);
    if (answer?.status !== 200) throw new Error(`no balance of ${id}: ${JSON.stringify(answer)}`);
    return answer.body as number;
  }

  #request(method: string, path: string, body: string | undefined, key: string | undefined) {
    return new Promise<Answer | undefined>((resolve, reject) => {
      const headers = {
        ...(body === undefined
          ? {}
          : { "content-type": "application/json", "content-length": Buffer.byteLength(body) }),
        ...(key === undefined ? {} : { "idempotency-key": key }),
      };
      const sent = request(`${this.#url}${path}`, { method, headers, agent: this.#agent }, (response) => {
        const chunks: Buffer[] = [];
        response.on("data", (chunk: Buffer) => chunks.push(chunk));
        response.on("error", () => resolve(undefined));
        response.on("end", () => {
          if (!response.complete) return resolve(undefined);
          const text = Buffer.concat(chunks).toString("utf8");
          try {
            resolve({ status: response.statusCode!, body: text === "" ? undefined : JSON.parse(text) });
          } catch (cause) {
            reject(new Error(`not JSON: ${text}`, { cause }));
          }
        });
      });
      sent.on("error", () => resolve(undefined));
      sent.end(body);
    });
  }
}
