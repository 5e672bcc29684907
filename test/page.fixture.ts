/** What a page of the documentation shows: its code blocks, for tests that do what it says. */
import { execFile } from "node:child_process";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { shellEnvironment } from "./installation.ts";

const root = fileURLToPath(new URL("..", import.meta.url));

export interface Block {
  readonly language: string;
  readonly text: string;
  /** The file that the block is to be put into: what a comment in its first line names. */
  readonly file: string | undefined;
}

/** `path` is relative to the root. */
export async function blocksOf(path: string): Promise<readonly Block[]> {
  const markdown = await readFile(join(root, path), "utf8");
  return [...markdown.matchAll(/^```(\w+)\n([\s\S]*?)^```$/gm)].map(([, language = "", text = ""]) => ({
    language,
    text,
    file: /^(?:\/\/|#|<!--) ([\w./-]+\.\w+)(?: -->)?\n/.exec(text)?.[1],
  }));
}

/** Types every block that names a file into `folder`; gives their names. */
export async function typeIn(blocks: readonly Block[], folder: string): Promise<readonly string[]> {
  const files = blocks.flatMap((block) => (block.file === undefined ? [] : [{ ...block, file: block.file }]));
  for (const { file, text } of files) await writeFile(join(folder, file), text);
  return files.map(({ file }) => file);
}

export interface Ended {
  readonly exitCode: number;
  readonly output: string;
  readonly errors: string;
}

/** Checks the types of files in `folder`, which has TypeScript, as a strict program for Node or a page. */
export function compile(files: string, folder: string): Promise<Ended> {
  const options = "--noEmit --strict --target es2023 --module nodenext --skipLibCheck --allowImportingTsExtensions";
  const library = "--lib es2023,esnext.disposable,dom,dom.iterable";
  const types = `--types node --typeRoots ${join(root, "node_modules", "@types")}`;
  return shell(`tsc ${options} ${library} ${types} ${files}`, folder);
}

/**
 * Runs lines of a shell in `folder`; `npx` before a program of the folder's packages is left out, as it takes its time. `more` is
 * for the environment. Never rejects for an exit code.
 */
export function shell(lines: string, folder: string, more: NodeJS.ProcessEnv = {}): Promise<Ended> {
  const { NODE_TEST_CONTEXT: _inherited, ...inherited } = shellEnvironment(folder);
  const env = { ...inherited, ...more };
  const script = lines.replaceAll(/^npx /gm, "");
  return new Promise((resolve, reject) => {
    execFile("sh", ["-c", script], { cwd: folder, env, maxBuffer: 64 * 1024 * 1024 }, (error, output, errors) => {
      if (error === null) return resolve({ exitCode: 0, output, errors });
      if (typeof error.code !== "number") return reject(error);
      resolve({ exitCode: error.code, output, errors });
    });
  });
}
