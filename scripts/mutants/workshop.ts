/**
 * A copy of the sources that is broken for one mutant after the other. It is in `.cache` inside of the root, so that it has the root's
 * `node_modules`; many mutants have the same one, so that what was compiled of it serves again.
 */
import { cp, mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { applied, type Edit } from "./mutant.ts";

const copied = ["src", "scripts", "test", "examples", "package.json", "tsconfig.json"];

export class Workshop {
  readonly directory: string;

  private constructor(directory: string) {
    this.directory = directory;
  }

  static async open(root: string, number: number): Promise<Workshop> {
    const directory = join(root, ".cache", "mutants", `${process.pid}-${number}`);
    await rm(directory, { recursive: true, force: true });
    await mkdir(directory, { recursive: true });
    for (const name of copied) await cp(join(root, name), join(directory, name), { recursive: true });
    return new Workshop(directory);
  }

  /** Breaks the copy, runs `body`, and mends it again. Throws where an edit does not apply; then nothing is run. */
  async broken<T>(edits: readonly Edit[], body: () => Promise<T>): Promise<T> {
    const originals = new Map<string, string>();
    const texts = new Map<string, string>();
    for (const edit of edits) {
      const path = join(this.directory, edit.file);
      const original = originals.get(path) ?? (await readFile(path, "utf8"));
      originals.set(path, original);
      texts.set(path, applied(edit, texts.get(path) ?? original));
    }
    try {
      for (const [path, text] of texts) await writeFile(path, text);
      return await body();
    } finally {
      for (const [path, text] of originals) await writeFile(path, text);
    }
  }

  async remove(): Promise<void> {
    await rm(this.directory, { recursive: true, force: true });
  }
}
