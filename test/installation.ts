/** Makes a folder look as if `npm install onefold zod` had run in it, with this repository's build as the package. */
import { chmod, mkdir, symlink } from "node:fs/promises";
import { delimiter, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));

/** The built program. */
export const mainPath = join(root, "dist", "cli", "main.js");

export async function installOnefold(folder: string): Promise<void> {
  const modules = join(folder, "node_modules");
  await mkdir(join(modules, ".bin"), { recursive: true });
  await symlink(root, join(modules, "onefold"), "junction");
  await symlink(join(root, "node_modules", "zod"), join(modules, "zod"), "junction");
  await chmod(mainPath, 0o755);
  await symlink(mainPath, join(modules, ".bin", "onefold"));
}

/** In which `onefold` is found as `npx` would find it. */
export function shellEnvironment(folder: string): NodeJS.ProcessEnv {
  const { NODE_OPTIONS: _options, DEBUG: _debug, ...environment } = process.env;
  return { ...environment, PATH: `${join(folder, "node_modules", ".bin")}${delimiter}${process.env.PATH ?? ""}` };
}
