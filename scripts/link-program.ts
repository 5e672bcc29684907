/**
 * Makes `npx onefold` run this repository's own build, as it does where the package is installed: npm links the programs of
 * dependencies into `node_modules/.bin`, but not those of the package itself. Part of `npm run build`.
 */
import { chmod, mkdir, rm, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const program = join(root, "dist", "cli", "main.js");
const folder = join(root, "node_modules", ".bin");

await chmod(program, 0o755);
await mkdir(folder, { recursive: true });
if (process.platform === "win32") {
  await writeFile(join(folder, "onefold.cmd"), '@node "%~dp0\\..\\..\\dist\\cli\\main.js" %*\r\n');
} else {
  const link = join(folder, "onefold");
  await rm(link, { force: true });
  await symlink(join("..", "..", "dist", "cli", "main.js"), link);
}
