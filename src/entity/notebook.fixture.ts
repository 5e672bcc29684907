/** A system for tests of the core: entities that keep what happened to them, and commands that do everything a command may. */
import { z } from "zod";
import { Refused } from "../base/errors.ts";
import type { Client } from "./client-types.ts";
import { entity } from "./define.ts";
import { system, transaction } from "./define-system.ts";
import type { EntityCaller } from "./definition-types.ts";
import { type RigOptions, ShardRig } from "./shard.fixture.ts";

export function makeNotebook() {
  const hooks = {
    /** Runs in the middle of `note.hook`; what it returns is the command's output. */
    inCommand: (_state: unknown, _context: unknown): unknown => undefined,
    body: (_tx: EntityCaller): Promise<unknown> => Promise.resolve(),
  };
  const note = entity("note")
    .state(z.looseObject({ lines: z.array(z.string()) }), () => ({ lines: [] as string[] }))
    .collection("pages", z.object({ text: z.string() }))
    .command("write", z.object({ line: z.string() }), (state, { line }) => {
      state.lines.push(line);
      return state.lines.length;
    })
    .command("refuse", z.object({ line: z.string() }), (state, { line }): number => {
      state.lines.push(line);
      throw new Refused("not-now", { line });
    })
    .command("idle", () => undefined)
    .command("spoil", (state) => {
      (state as { lines: unknown }).lines = "spoiled";
    })
    .command("hook", (state, _input, context) => hooks.inCommand(state, context) as undefined)
    .command("setPage", z.object({ key: z.string(), text: z.string() }), (_state, { key, text }, context) => {
      context.collections.pages.set(key, { text });
    })
    .command("removePage", z.object({ key: z.string() }), (_state, { key }, context) =>
      context.collections.pages.delete(key),
    )
    .command(
      "mail",
      z.object({ to: z.string(), lines: z.array(z.string()), command: z.string().optional() }),
      (state, { to, lines, command }, context) => {
        state.lines.push(`mail to ${to}`);
        for (const line of lines) context.send(note, to, (command ?? "write") as "write", { line });
      },
    )
    .command("chain", z.object({ to: z.array(z.string()), hops: z.number() }), (state, { to, hops }, context) => {
      state.lines.push(`hop ${hops}`);
      if (hops > 0) context.send(note, to[hops % to.length]!, "chain", { to, hops: hops - 1 });
    })
    .command(
      "remind",
      z.object({
        delayMs: z.number(),
        line: z.string(),
        key: z.string().optional(),
        command: z.string().optional(),
      }),
      (_state, { delayMs, line, key, command }, context) => {
        context.after(delayMs, command ?? "write", { line }, key === undefined ? {} : { key });
      },
    )
    /** A timer that sets itself again under its own key, `times` times. */
    .command("repeat", z.object({ times: z.number(), delayMs: z.number() }), (state, { times, delayMs }, context) => {
      state.lines.push(`repeat ${times}`);
      if (times > 0) context.after(delayMs, "repeat", { times: times - 1, delayMs }, { key: "repeat" });
    })
    .command("cancel", z.object({ key: z.string() }), (_state, { key }, context) => context.cancelTimer(key))
    .command("end", (_state, _input, context) => context.delete())
    .command("now", (state, _input, context) => {
      state.lines.push("now");
      return context.now;
    })
    .query("lines", (state) => [...state.lines])
    .query(
      "pages",
      z.object({ from: z.string().optional(), to: z.string().optional(), reverse: z.boolean().optional() }).optional(),
      (_state, options, context) => [...context.collections.pages.range(options as object)].map(([key]) => key),
    )
    .query(
      "page",
      z.object({ key: z.string() }),
      (_state, { key }, context) => context.collections.pages.get(key)?.text,
    )
    .query("hookQuery", (state, _input, context) => hooks.inCommand(state, context) as undefined);
  const script = transaction("script").run((_tx) => hooks.body(_tx) as Promise<undefined>);
  const atHome = transaction("atHome", z.object({ id: z.string(), line: z.string() }))
    .at(({ id }) => note(id))
    .run((tx, { id, line }) => tx(note, id).write({ line }));
  const notebook = system("notebook", { note, script, atHome });
  return { notebook, note, hooks };
}

export type Notebook = ReturnType<typeof makeNotebook>;

export interface NotebookParts {
  readonly rig: ShardRig<Notebook["notebook"]>;
  readonly client: Client<Notebook["notebook"]>;
  readonly made: Notebook;
}

/** Runs `body` against a fresh notebook, in virtual time. */
export function withNotebook(body: (parts: NotebookParts) => Promise<void>, options: RigOptions = {}): Promise<void> {
  const made = makeNotebook();
  return ShardRig.run(made.notebook, (rig, client) => body({ rig, client, made }), options);
}
