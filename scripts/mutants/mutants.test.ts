/** The list of mutants is whole: whatever is changed in the sources, each of them still breaks what it says. */
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { hazards, hazardsElsewhere } from "./hazards.ts";
import { applied } from "./mutant.ts";
import { mutants } from "./mutants.ts";
import { regimes } from "./regimes.ts";

const root = new URL("../../", import.meta.url);

describe("every mutant", () => {
  test("applies to the sources as they are", async () => {
    const stale: string[] = [];
    for (const { name, edits } of mutants) {
      const texts = new Map<string, string>();
      for (const edit of edits) {
        try {
          const text = texts.get(edit.file) ?? (await readFile(fileURLToPath(new URL(edit.file, root)), "utf8"));
          texts.set(edit.file, applied(edit, text));
        } catch (error) {
          stale.push(`${name}: ${String(error)}`);
        }
      }
    }
    assert.deepEqual(stale, [], "mend it so that it means the same: scripts/mutants");
  });

  test("has a name of its own, something that it breaks, and a trial that exists", async () => {
    assert.equal(new Set(mutants.map(({ name }) => name)).size, mutants.length);
    for (const { name, breaks, edits, trial } of mutants) {
      assert.ok(breaks.length > 0 && edits.length > 0, name);
      if (trial.kind === "cluster") assert.ok(Object.hasOwn(regimes, trial.regime), `${name}: ${trial.regime}`);
      if (trial.kind !== "tests") continue;
      for (const file of trial.files) assert.ok((await readFile(new URL(file, root))).length > 0, name);
    }
  });
});

test("no regime has the name of another kind of trial", () => {
  for (const name of ["program", "damage"]) assert.ok(!Object.hasOwn(regimes, name));
});

test("every hazard has a mutant", () => {
  const broken = new Set(mutants.flatMap(({ breaks }) => breaks));
  const without = Object.keys(hazards).filter((number) => !broken.has(`hazard ${number}`));
  assert.deepEqual(without.map(Number), hazardsElsewhere);
});
