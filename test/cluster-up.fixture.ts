/** A running `onefold cluster up`, by what it says of the processes that it has started. */
import type { ChildProcess } from "node:child_process";
import { Lines, type ProgramFolder } from "./command-line.fixture.ts";

const root = new URL("..", import.meta.url).pathname;

export interface Said {
  readonly engine?: string;
  readonly node?: string;
  readonly pid: number;
  readonly http?: string;
  readonly url?: string;
}

export class Up {
  readonly child: ChildProcess;
  readonly lines: Lines;
  readonly engines = new Map<string, Said>();
  readonly nodes = new Map<string, Said>();

  /** Of a program that was given `--json`. */
  constructor(child: ChildProcess) {
    this.child = child;
    this.lines = new Lines(child.stdout!);
    child.stderr!.resume();
  }

  /** The bank on three nodes, eight shards, with its data in the folder's `data`: resolves when all of it is up. */
  static async bank(folder: ProgramFolder): Promise<Up> {
    const size = ["--nodes", "3", "--shards", "8"];
    const up = new Up(folder.launch(["cluster", "up", `${root}examples/bank`, ...size, "--data", "data", "--json"]));
    await up.heard(/"kind":"up"/);
    return up;
  }

  /** Reads on until a line says this. */
  async heard(pattern: RegExp, boundMs = 60_000): Promise<Said> {
    for (;;) {
      const line = await this.lines.next(/./, boundMs);
      const said = JSON.parse(line) as Said;
      if (said.engine !== undefined) this.engines.set(said.engine, said);
      else if (said.node !== undefined && said.http !== undefined) this.nodes.set(said.node, said);
      if (pattern.test(line)) return said;
    }
  }

  get urls(): readonly string[] {
    return [...this.nodes.values()].map(({ http }) => http!).sort();
  }

  get pids(): readonly number[] {
    return [...this.nodes.values(), ...this.engines.values()].map(({ pid }) => pid);
  }
}
