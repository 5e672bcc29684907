/** A system whose log grows fast and whose state does not, and whose commands may loop for ever. */
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Answer } from "./bank-process.fixture.ts";

/** Large states that replace each other: much log, little store. */
const notesSource = `
  import { entity, system } from "onefold";
  import { z } from "zod";
  const note = entity("note")
    .state(z.object({ text: z.string(), count: z.number() }), () => ({ text: "", count: 0 }))
    .command("keep", z.object({ text: z.string() }), (state, { text }) => {
      state.text = text;
      return ++state.count;
    })
    .command("loop", (state) => {
      state.count = 1e6;
      for (;;) {
        try {
          for (;;) state.count++;
        } catch {
          // What stops it must not be caught.
        } finally {
          state.count++;
        }
      }
    })
    .query("loopQuery", (state) => {
      for (let i = state.count; ; i++);
    })
    .query("count", (state) => state.count);
  export const notes = system("notes", { note });
`;

/** Beside the bank in a folder that `installBank` has made. */
export async function installNotes(folder: string): Promise<void> {
  await mkdir(join(folder, "notes"));
  await writeFile(join(folder, "notes", "index.mjs"), notesSource);
}

/** The error's code, if it is an error's answer. */
export function codeOf(answer: Answer | undefined): string | undefined {
  return (answer?.body as { code?: string } | null | undefined)?.code;
}
