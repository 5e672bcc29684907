/** What `onefold init` writes: a system, its test, and what npm and TypeScript need to run them. */

export interface InitFacts {
  /** A name that npm allows. */
  readonly packageName: string;
  /** What stands for Onefold among the dependencies. */
  readonly onefold: string;
}

/** Text by path, in the order in which a newcomer reads them. */
export function initFiles({ packageName, onefold }: InitFacts): ReadonlyMap<string, string> {
  return new Map([
    ["counters.ts", systemText],
    ["counters.test.ts", testText],
    ["package.json", `${JSON.stringify(packageJson(packageName, onefold), null, 2)}\n`],
    ["tsconfig.json", `${JSON.stringify(tsconfig, null, 2)}\n`],
    [".gitignore", "node_modules/\n.onefold/\n"],
    ["README.md", readmeText(packageName)],
  ]);
}

const systemText = `import { entity, Refused, system } from "onefold";
import { z } from "zod";

const amount = z.object({ by: z.number().int().positive() });

const counter = entity("counter")
  .state(z.object({ count: z.number().int().nonnegative() }), () => ({ count: 0 }))
  .command("increment", amount, (state, { by }) => {
    state.count += by;
    return state.count;
  })
  .command("decrement", amount, (state, { by }) => {
    if (state.count < by) throw new Refused("too-few", { count: state.count });
    state.count -= by;
    return state.count;
  })
  .query("count", (state) => state.count);

export const counters = system("counters", { counter });
`;

const testText = `import assert from "node:assert/strict";
import { test } from "node:test";
import { testSystem } from "onefold/sim";
import { counters } from "./counters.ts";

test("a counter counts, refuses to go below zero, and keeps its count over a crash", async (context) => {
  const running = await testSystem(counters);
  context.after(() => running.close());
  const visits = running.client.counter("visits");
  assert.equal(await visits.increment({ by: 5 }), 5);
  await assert.rejects(visits.decrement({ by: 6 }), { code: "too-few", details: { count: 5 } });
  await running.crash();
  assert.equal(await visits.count(), 5);
});
`;

function packageJson(name: string, onefold: string): unknown {
  return {
    name,
    version: "0.1.0",
    private: true,
    type: "module",
    main: "counters.ts",
    engines: { node: ">=20.19.0" },
    scripts: {
      dev: "onefold dev",
      start: "onefold start --data .onefold",
      test: "node --import tsx --test *.test.ts",
      types: "tsc",
    },
    dependencies: { onefold, zod: "^4.0.0" },
    devDependencies: { "@types/node": "^20.19.0", tsx: "^4.19.0", typescript: ">=5.8.0" },
  };
}

const tsconfig = {
  compilerOptions: {
    target: "ES2023",
    module: "NodeNext",
    types: ["node"],
    strict: true,
    noEmit: true,
    skipLibCheck: true,
    verbatimModuleSyntax: true,
    erasableSyntaxOnly: true,
    allowImportingTsExtensions: true,
  },
  include: ["*.ts"],
};

function readmeText(name: string): string {
  return `# ${name}

A system of counters, served by Onefold: \`counters.ts\` is all of it, \`counters.test.ts\` tests it in this process.

\`\`\`sh
npm install
npm test
npx onefold dev
\`\`\`

The last one serves it at http://127.0.0.1:7400, durable in \`.onefold/\`, and again whenever you save a change. From another
terminal:

\`\`\`sh
npx onefold call counter/visits increment '{"by": 5}'
npx onefold history counter/visits
npx onefold tail
\`\`\`
`;
}
