/** A system with one of everything that definitions can say, behind `authenticate`: for the fuzzer. */
import { entity, Refused, system, transaction } from "onefold";
import { z } from "zod";

const line = z.discriminatedUnion("kind", [
  z.object({ kind: z.literal("text"), text: z.string().max(50) }),
  z.object({ kind: z.literal("sum"), cents: z.bigint(), at: z.date().optional() }),
]);

type Tree = { name: string; children: Tree[] };
const tree: z.ZodType<Tree> = z.object({
  name: z.string(),
  get children() {
    return z.array(tree).max(4);
  },
});

const note = entity("note")
  .state(z.object({ lines: z.array(line), body: z.instanceof(Uint8Array<ArrayBuffer>).optional() }), () => ({
    lines: [],
  }))
  .command(
    "add",
    line,
    (state, added) => {
      if (state.lines.length >= 20) throw new Refused("full");
      if (added.kind === "text" && added.text === "") throw new Refused("empty text", { at: new Date(0), size: 0n });
      state.lines.push(added);
      return state.lines.length;
    },
    {
      output: z.number().int().positive(),
      refusals: { full: null, "empty text": z.object({ at: z.date(), size: z.bigint() }) },
    },
  )
  .command("write", z.object({ body: z.instanceof(Uint8Array<ArrayBuffer>) }), (state, { body }) => {
    state.body = body;
  })
  .command("clear", (_state, _input, context) => context.delete())
  .command("echo", z.unknown(), (_state, input) => input as string)
  .command("prune", tree, (_state, { children }) => ({ name: "pruned", children }), { output: tree })
  .command("map", z.record(z.string(), z.number()), (_state, map) => map, { output: z.record(z.string(), z.number()) })
  .command("pair", z.tuple([z.string(), z.number()]), (_state, [text, number]) => ({ text, number }))
  .command("maybe", z.string().min(2).optional(), (_state, text) => text, { output: z.string().min(2).optional() })
  .command("later", z.object({ ms: z.number().min(0).max(50) }), (_state, { ms }, context) => {
    context.after(ms, "add", { kind: "text", text: "later" });
    context.send(note, "inbox", "add", { kind: "text", text: "sent" });
  })
  .query(
    "lines",
    z.object({ from: z.date().optional(), count: z.number().int().min(1).max(5).default(5) }),
    (state, { count }) => state.lines.slice(0, count),
    {
      output: z.array(line),
    },
  )
  .query("body", (state) => state.body ?? null, { output: z.instanceof(Uint8Array<ArrayBuffer>).nullable() });

const copy = transaction("copy", z.object({ from: z.string().min(1).max(20), to: z.string().min(1).max(20) }))
  .at(({ from }) => note(from))
  .run(
    async (tx, { from, to }) => {
      const lines = await tx(note, from).lines({ count: 1 });
      if (lines.length === 0) throw new Refused("nothing", { from });
      await tx(note, to).add(lines[0] as { kind: "text"; text: string });
      return lines.length;
    },
    {
      output: z.number(),
      refusals: {
        nothing: z.object({ from: z.string() }),
        full: null,
        "empty text": z.object({ at: z.date(), size: z.bigint() }),
      },
    },
  );

/** `Authorization: Bearer` and the scopes. */
export const credentials = ["Bearer *", "Bearer inspect", "Bearer none", "Bearer metrics admin"];

export const varied = system(
  "varied",
  { note, copy },
  {
    authenticate: ({ headers }) => {
      const [scheme, ...scopes] = (headers.authorization ?? "").split(" ");
      return scheme === "Bearer" && scopes.length > 0 ? { tenant: "fuzz", subject: "fuzzer", scopes } : null;
    },
    authorize: (_principal, { id }) => id !== "forbidden",
  },
);
