/**
 * Proves that the checkers find what they are there to find: breaks a copy of the sources on purpose, one mutant at a time, and expects
 * its trial to notice. `npm run mutants` looks for all, `npm run mutants -- WORD…` for those that have all the words in their name, file,
 * trial, or in what they break (docs/simulation.md).
 *
 * `--list` lists them, `--jobs N` looks for so many at once (default: as many as there are cores), `--seeds N` tries at most so many seeds,
 * `--json` prints what came of each as JSON. `trial: cluster` is a word as well. Ends with 1 if one was missed, or does not apply to the
 * sources any more.
 */
import { availableParallelism } from "node:os";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { Hunt } from "./mutants/hunt.ts";
import { type Mutant, trialKey } from "./mutants/mutant.ts";
import { mutants } from "./mutants/mutants.ts";
import { line, listed, table } from "./mutants/report.ts";

const { values, positionals: words } = parseArgs({
  allowPositionals: true,
  options: {
    list: { type: "boolean", default: false },
    json: { type: "boolean", default: false },
    jobs: { type: "string", default: String(availableParallelism()) },
    seeds: { type: "string", default: "1000000" },
  },
});

const chosen = mutants.filter((mutant) => {
  const text = textOf(mutant);
  return words.every((word) => text.includes(word.toLowerCase()));
});
if (values.list) for (const mutant of chosen) console.log(listed(mutant));
else await hunt();

async function hunt(): Promise<void> {
  const results = await new Hunt({
    root: fileURLToPath(new URL("..", import.meta.url)),
    jobs: whole(values.jobs, "--jobs"),
    seedsMax: whole(values.seeds, "--seeds"),
    onResult: (result, { count, of }) => console.error(`${count}/${of} ${line(result)}`),
    onBrokenControl: (trial, outcome) => {
      if (outcome.kind === "found") {
        console.error(
          `The unbroken sources fail, so it proves nothing: ${trial}, seed ${outcome.seed}: ${outcome.what}`,
        );
      }
    },
  }).run(chosen);
  const lost = results.filter(({ verdict }) => verdict.kind !== "caught");
  if (values.json) {
    console.log(
      JSON.stringify(
        results.map(({ mutant: { name, breaks, trial }, verdict, seconds }) => {
          return { name, breaks, trial: trialKey(trial), ...verdict, seconds };
        }),
        null,
        2,
      ),
    );
  } else {
    console.log(table(results));
    console.log(`${results.length - lost.length} of ${results.length} mutants caught`);
  }
  process.exitCode = lost.length > 0 || results.length === 0 ? 1 : 0;
}

function textOf({ name, breaks, edits, trial }: Mutant): string {
  return [name, ...breaks, ...edits.map(({ file }) => file), `trial: ${trialKey(trial)}`].join("\n").toLowerCase();
}

function whole(text: string, option: string): number {
  const number = Number(text);
  if (!Number.isSafeInteger(number) || number < 1) throw new Error(`${option} takes a whole number from 1 on.`);
  return number;
}
