/**
 * Loads a user's system from its module, TypeScript or JavaScript, into this process.
 *
 * M1  The user's `import "onefold"` gives the very module that this program runs (no second instance of its classes),
 *     when both come from one installation: nothing is bundled, copied, or loaded under another URL.
 * M2  TypeScript is always an ECMAScript module, whatever the folder's package.json says or lacks; JavaScript is what Node
 *     takes it for.
 * M3  Whatever is wrong with the module, the error names the file and the reason, never a stack trace of this program.
 */
import { execFile } from "node:child_process";
import { register as registerHooks } from "node:module";
import { extname, relative } from "node:path";
import { pathToFileURL } from "node:url";
import { promisify } from "node:util";
import { register as registerTypeScript } from "tsx/esm/api";
import type { SystemHandle } from "../entity/definition.ts";
import { CommandFailure, exitCodes } from "./exit-code.ts";

export interface SystemModule {
  readonly system: SystemHandle;
  /** The absolute path of the module. */
  readonly path: string;
  /** The module's `examples` export, unchecked. */
  readonly examples: unknown;
  /** The module's `simulation` export, unchecked. */
  readonly simulation: unknown;
}

// Runs in the loader's thread, after tsx's own hook has resolved: tsx would load a `.ts` file as CommonJS in a folder
// without "type": "module", and then compile a second copy of everything that the file imports.
const typeScriptIsModule = `export async function resolve(specifier, context, next) {
  const found = await next(specifier, context);
  const isTypeScript = /^file:[^?#]*\\.tsx?([?#]|$)/.test(found.url) && !found.url.includes("/node_modules/");
  return isTypeScript ? { ...found, format: "module" } : found;
}`;

/** Makes this process able to import TypeScript. Call it once, before `loadSystem` and as early as wanted. */
export function enableTypeScript(): void {
  registerTypeScript();
  registerHooks(`data:text/javascript,${encodeURIComponent(typeScriptIsModule)}`);
}

/** Whether the module needs `enableTypeScript`. */
export function isTypeScript(path: string): boolean {
  return /^\.[cm]?tsx?$/.test(extname(path));
}

/**
 * Imports the module at `path` (absolute, as `findSystemModule` gives it) and returns the one system that it exports, under
 * whichever name. Throws `CommandFailure` (usage).
 */
export async function loadSystem(path: string): Promise<SystemModule> {
  const exports = await importModule(path);
  const systems = new Map<SystemHandle, string>();
  for (const [name, value] of Object.entries(exports)) {
    if (isSystemHandle(value) && !systems.has(value)) systems.set(value, name);
  }
  const [system] = systems.keys();
  if (system === undefined) {
    const names = Object.keys(exports);
    const exported = names.length === 0 ? "exports nothing" : `exports ${names.slice(0, 8).join(", ")}, none a system`;
    throw new CommandFailure(
      exitCodes.usage,
      `${shown(path)} ${exported}. Export what system("name", { … }) returns, e.g. export const bank = system("bank", { account }).`,
    );
  }
  if (systems.size > 1) {
    throw new CommandFailure(
      exitCodes.usage,
      `${shown(path)} exports several systems (${[...systems.values()].join(", ")}); a node runs one. Name a module that exports one.`,
    );
  }
  return { system, path, examples: exports.examples, simulation: exports.simulation };
}

/** Imports a module of the user's. Throws `CommandFailure` (usage). */
export async function importModule(path: string): Promise<Readonly<Record<string, unknown>>> {
  try {
    return (await import(pathToFileURL(path).href)) as Readonly<Record<string, unknown>>;
  } catch (cause) {
    throw new CommandFailure(exitCodes.usage, `${shown(path)} can't be loaded.\n${await explain(cause, path)}`, {
      cause,
    });
  }
}

/** Looks at the shape, not the class: the module may have been built with another copy of Onefold. */
function isSystemHandle(value: unknown): value is SystemHandle {
  if (value === null || (typeof value !== "object" && typeof value !== "function")) return false;
  const definition = (value as { readonly definition?: unknown }).definition;
  if (definition === null || typeof definition !== "object") return false;
  const parts = definition as Readonly<Record<string, unknown>>;
  return typeof parts.name === "string" && parts.entities instanceof Map && parts.transactions instanceof Map;
}

async function explain(cause: unknown, path: string): Promise<string> {
  if (!(cause instanceof Error)) return `It threw ${String(cause)} while it was loaded.`;
  const code = "code" in cause ? cause.code : undefined;
  if (cause.message.startsWith("Transform failed")) {
    return cause.message
      .split("\n")
      .slice(1)
      .map((line) => line.replace(": ERROR: ", ": "))
      .join("\n");
  }
  if (code === "ERR_MODULE_NOT_FOUND" || code === "MODULE_NOT_FOUND") {
    const name = /Cannot find package '([^']+)'/.exec(cause.message)?.[1];
    return name === undefined ? cause.message : `${cause.message}\nInstall it with: npm install ${name}`;
  }
  if (cause instanceof SyntaxError) return (await syntaxErrorPlace(path)) ?? cause.message;
  return `${cause.name}: ${cause.message}${userFrame(cause)}`;
}

/** Node keeps the place of a syntax error to itself when an import fails, and prints it when asked to check the file. */
async function syntaxErrorPlace(path: string): Promise<string | undefined> {
  if (isTypeScript(path)) return undefined;
  try {
    await promisify(execFile)(process.execPath, ["--check", path]);
    return undefined; // The error is in a module that this one imports.
  } catch (error) {
    const text = error instanceof Error && "stderr" in error ? String(error.stderr) : "";
    const lines = text.split("\n").filter((line) => !line.startsWith("    at ") && !line.startsWith("Node.js v"));
    const place = lines.join("\n").trim();
    return place === "" ? undefined : place;
  }
}

function userFrame(error: Error): string {
  const frame = error.stack?.split("\n").find((line) => line.startsWith("    at ") && !/node:|node_modules/.test(line));
  return frame === undefined ? "" : `\n${frame}`;
}

function shown(path: string): string {
  const short = relative(process.cwd(), path);
  return short === "" || short.startsWith("..") ? path : short;
}
