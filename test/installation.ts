/** Makes a folder look as if `npm install onefold zod` had run in it, with this repository's build as the package. */
import { chmod, mkdir, readFile, symlink } from "node:fs/promises";
import { delimiter, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));

/** The built program. */
export const mainPath = join(root, "dist", "cli", "main.js");

/** What a package's `bin` may be. */
type Bin = string | Readonly<Record<string, string>>;

/** `others` are further packages of this repository that the folder is to have, with their programs. */
export async function installOnefold(folder: string, others: readonly string[] = []): Promise<void> {
  const modules = join(folder, "node_modules");
  await mkdir(join(modules, ".bin"), { recursive: true });
  await symlink(root, join(modules, "onefold"), "junction");
  for (const name of ["zod", ...others]) {
    await symlink(join(root, "node_modules", name), join(modules, name), "junction");
  }
  for (const name of others) {
    const { bin } = JSON.parse(await readFile(join(modules, name, "package.json"), "utf8")) as { bin?: Bin };
    const programs = typeof bin === "string" ? { [name]: bin } : (bin ?? {});
    for (const [program, path] of Object.entries(programs)) {
      await symlink(join(modules, name, path), join(modules, ".bin", program));
    }
  }
  await chmod(mainPath, 0o755);
  await symlink(mainPath, join(modules, ".bin", "onefold"));
}

/** In which `onefold` is found as `npx` would find it. */
export function shellEnvironment(folder: string): NodeJS.ProcessEnv {
  const { NODE_OPTIONS: _options, DEBUG: _debug, ...environment } = process.env;
  return { ...environment, PATH: `${join(folder, "node_modules", ".bin")}${delimiter}${process.env.PATH ?? ""}` };
}
