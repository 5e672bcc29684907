/**
 * `kubernetes-validate` for the tests: a validator of Kubernetes manifests that carries the schemas of its version, brought into the project's
 * cache from PyPI, in a Python environment of its own. Run as a program it prints where it is.
 */
import { execFile } from "node:child_process";
import { access, mkdir, mkdtemp, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const execute = promisify(execFile);
/** Of the validator, and of Kubernetes. */
const version = "1.37.0";
const cacheDirectory = fileURLToPath(new URL("../.cache/kubernetes-validate", import.meta.url));
const installMs = 300_000;

/** The program's words, or why it can't be had here: Python with `venv` and `pip` is all that it needs. Throws where installing fails. */
export async function kubernetesValidate(): Promise<
  { readonly words: readonly string[] } | { readonly missing: string }
> {
  const home = join(cacheDirectory, version);
  // Run as a module: the environment may have been moved.
  const words = [join(home, "bin", "python"), "-m", "kubernetes_validate", "--strict", "-k", version];
  if (await exists(join(home, "bin", "python"))) return { words };
  try {
    await execute("python3", ["-c", "import venv, ensurepip"]);
  } catch {
    // Whatever the reason is: there is no Python that makes environments.
    return { missing: "python3 with venv is not installed" };
  }
  await mkdir(cacheDirectory, { recursive: true });
  const work = await mkdtemp(join(cacheDirectory, "work-"));
  try {
    await execute("python3", ["-m", "venv", work], { timeout: installMs });
    const pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", `kubernetes-validate==${version}`];
    await execute(join(work, "bin", "python"), pip, { timeout: installMs });
    // Renamed, so that whoever looks sees a whole one or none.
    await rename(work, home);
  } finally {
    await rm(work, { recursive: true, force: true });
  }
  return { words };
}

async function exists(path: string): Promise<boolean> {
  try {
    await access(path);
    return true;
  } catch {
    // Not there, or not ours to see: either way it is made.
    return false;
  }
}

if (process.argv[1] !== undefined && join(process.argv[1]) === fileURLToPath(import.meta.url)) {
  const found = await kubernetesValidate();
  console.log("words" in found ? found.words.join(" ") : found.missing);
}
