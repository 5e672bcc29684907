/**
 * Measures how long the compiler takes for a large system: 500 entities of 10 commands, put together, with a client and a
 * transaction that use all of them. Prints seconds; exits with 1 above the limit, and with the compiler's code if it objects.
 *
 *     node --import tsx scripts/type-speed.ts [entities] [commands]
 */
import { spawn } from "node:child_process";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const secondsMax = 10;

/** One file of a system of `entities` kinds with `commands` commands each; every third one sends to the kind before. */
export function largeSystemSource(entities: number, commands: number): string {
  const lines = [`import { type Client, entity, system, transaction } from "onefold";`, `import { z } from "zod";`];
  for (let e = 0; e < entities; e++) {
    lines.push(
      `export const kind${e} = entity("kind${e}")`,
      `  .state(z.object({ total: z.number(), names: z.array(z.string()), note${e}: z.string() }),`,
      `    () => ({ total: 0, names: [], note${e}: "" }))`,
      `  .collection("lines", z.object({ price: z.number(), count: z.bigint() }))`,
    );
    for (let c = 0; c < commands; c++) {
      const send = e > 0 && c % 3 === 0 ? ` context.send(kind${e - 1}, "one", "command${c}", { amount: 1 });` : "";
      lines.push(
        `  .command("command${c}", z.object({ amount: z.number(), label: z.string().optional() }), (state, input, context) => {`,
        `    state.total += input.amount; context.collections.lines.set("k", { price: 1, count: 1n });${send}`,
        `    return { total: state.total, names: state.names };`,
        `  })`,
      );
    }
    lines.push(`  .query("total", (state) => state.total);`);
  }
  const kinds = Array.from({ length: entities }, (_, e) => `kind${e}`);
  lines.push(`export const everything = transaction("everything").run(async (tx) => {`, `  let sum = 0;`);
  for (const kind of kinds) lines.push(`  sum += (await tx(${kind}, "one").command0({ amount: 1 })).total;`);
  lines.push(`  return sum;`, `});`, `export const large = system("large", { ${kinds.join(", ")}, everything });`);
  lines.push(`export async function use(client: Client<typeof large>): Promise<number> {`, `  let sum = 0;`);
  for (const kind of kinds) {
    lines.push(`  sum += (await client.${kind}("one").command${commands - 1}({ amount: 1, label: "x" })).total;`);
    lines.push(`  sum += await client.${kind}("one").total();`);
  }
  lines.push(`  return sum + (await client.everything());`, `}`);
  // The last line must fail, or the compiler has checked nothing.
  lines.push(`export const right = (client: Client<typeof large>): Promise<number> => client.kind0("one").total();`);
  lines.push(`// @ts-expect-error: total is a number`);
  lines.push(`export const wrong = (client: Client<typeof large>): Promise<string> => client.kind0("one").total();`);
  return `${lines.join("\n")}\n`;
}

/** Writes the system into a temporary folder below the package, so that it resolves `onefold`, and type-checks it. */
export async function measureTypeCheck(
  entities: number,
  commands: number,
): Promise<{ readonly seconds: number; readonly exitCode: number; readonly output: string }> {
  const parent = join(root, "node_modules", ".cache");
  await mkdir(parent, { recursive: true });
  const folder = await mkdtemp(join(parent, "onefold-type-speed-"));
  try {
    const options = {
      extends: join(root, "tsconfig.json"),
      compilerOptions: { paths: { onefold: [join(root, "src", "index.ts")] } },
      include: ["system.ts"],
    };
    await writeFile(join(folder, "tsconfig.json"), JSON.stringify(options));
    await writeFile(join(folder, "system.ts"), largeSystemSource(entities, commands));
    const startedMs = performance.now();
    const { exitCode, output } = await run([join(root, "node_modules", "typescript", "bin", "tsc"), "-p", folder]);
    return { seconds: (performance.now() - startedMs) / 1000, exitCode, output };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

function run(parameters: readonly string[]): Promise<{ readonly exitCode: number; readonly output: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, parameters, { cwd: root, stdio: ["ignore", "pipe", "pipe"] });
    let output = "";
    const gather = (chunk: Buffer): void => {
      output += chunk.toString("utf8");
    };
    child.stdout.on("data", gather);
    child.stderr.on("data", gather);
    child.on("error", reject);
    child.on("close", (code) => resolve({ exitCode: code ?? 1, output }));
  });
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  const entities = Number(process.argv[2] ?? 500);
  const commands = Number(process.argv[3] ?? 10);
  const { seconds, exitCode, output } = await measureTypeCheck(entities, commands);
  if (output !== "") console.log(output.slice(0, 4000));
  console.log(`${entities} entities of ${commands} commands: ${seconds.toFixed(2)} s (limit ${secondsMax} s)`);
  process.exitCode = exitCode !== 0 ? exitCode : seconds > secondsMax ? 1 : 0;
}
