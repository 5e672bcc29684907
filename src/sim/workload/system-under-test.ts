/**
 * The system that the simulation runs: four kinds of entity that do the same by different means, so that every path of the
 * core is walked, and transactions that are lists of steps.
 *
 * - `cell`    keeps all but its items in its root state.
 * - `shelf`   has a small root state that changes always, and collections; ids of one group share a slot.
 * - `ledger`  has a large root state that never changes after birth; everything else is in collections.
 * - `mortal`  deletes itself and is deleted; tells each of its commands to its `shadow`, which outlives it.
 */
import type { StandardSchemaV1 } from "@standard-schema/spec";
import { Refused } from "../../base/errors.ts";
import type { EntityHandle, SystemHandle } from "../../entity/definition.ts";
import { entity } from "../../entity/define.ts";
import { system, transaction } from "../../entity/define-system.ts";
import {
  type Handles,
  type Item,
  itemsOf,
  type PerformContext,
  perform,
  type ShadowEntry,
  type Surroundings,
  glimpseOf,
} from "./perform.ts";
import {
  type CellState,
  type CodeVersion,
  cellStates,
  checkedCell,
  checkedLedger,
  type LedgerState,
  ledgerStates,
  newestVersion,
} from "./migrations.ts";
import type { EntityName, Glimpse, JournalEntry, Kind, Memoir, Script, StepOutput, TaggedPlan } from "./plan.ts";
import { childTag } from "./plan.ts";

/** All entities that programs use. */
export const entityNames: readonly EntityName[] = [
  ...["c0", "c1", "c2", "c3"].map((id) => ({ kind: "cell" as const, id })),
  ...["g0/a", "g0/b", "g1/a"].map((id) => ({ kind: "shelf" as const, id })),
  ...["g0/l", "g1/l"].map((id) => ({ kind: "ledger" as const, id })),
  ...["m0", "m1"].map((id) => ({ kind: "mortal" as const, id })),
];

/** A schema that accepts what `accepts` accepts. Cheap: the simulation calls it often. */
function schemaOf<T>(what: string, accepts: (value: Record<string, unknown>) => boolean): StandardSchemaV1<T, T> {
  return {
    "~standard": {
      version: 1,
      vendor: "onefold-sim",
      validate: (value) =>
        typeof value === "object" && value !== null && accepts(value as Record<string, unknown>)
          ? { value: value as T }
          : { issues: [{ message: `not ${what}` }] },
    },
  };
}

const planSchema = schemaOf<TaggedPlan>("a plan", ({ tag }) => typeof tag === "string");
const scriptSchema = schemaOf<Script>("a script", ({ steps }) => Array.isArray(steps));
const itemSchema = schemaOf<Item>("an item", ({ value }) => typeof value === "number");
const journalItemSchema = schemaOf<JournalItem>("a journal's item", ({ tag }) => typeof tag === "string");
const shadowEntrySchema = schemaOf<ShadowEntry>("a shadow's entry", ({ tag }) => typeof tag === "string");
const isBalance = (balance: unknown): boolean => typeof balance === "number" && balance >= 0;

interface ShelfState {
  birth: string | null;
  balance: number;
  count: number;
}

interface JournalItem {
  readonly tag: string;
  readonly nowMs: number;
  readonly balance: number;
}

const ledgerPadding = "0123456789abcdef".repeat(80);

interface Journal {
  get(key: string): JournalItem | undefined;
  range(options?: { reverse?: boolean; limit?: number }): Iterable<readonly [string, JournalItem]>;
}

function journalKey(count: number): string {
  return String(count).padStart(6, "0");
}

function cellBody(state: CellState, version: CodeVersion) {
  checkedCell(state, version);
  return {
    get birth() {
      return state.birth;
    },
    get count() {
      return state.journal.length;
    },
    get balance() {
      return cellStates.balance(state);
    },
    begin(tag: string) {
      state.birth = tag;
      state.mark = tag;
    },
    note(tag: string, nowMs: number, balance: number) {
      state.journal.push([tag, nowMs]);
      if (version < 3) state.balance = balance;
      else state.cents = balance;
      if (version >= 2) state.entries = state.journal.length;
    },
  };
}

function shelfBody(state: ShelfState, journal: Journal & { set(key: string, item: JournalItem): void }) {
  return {
    get birth() {
      return state.birth;
    },
    get count() {
      return state.count;
    },
    get balance() {
      return state.balance;
    },
    begin(tag: string) {
      state.birth = tag;
    },
    note(tag: string, nowMs: number, balance: number) {
      state.count++;
      state.balance = balance;
      journal.set(journalKey(state.count), { tag, nowMs, balance });
    },
  };
}

function ledgerBody(
  state: LedgerState,
  journal: Journal & { set(key: string, item: JournalItem): void },
  version: CodeVersion,
) {
  checkedLedger(state, version);
  const [last] = journal.range({ reverse: true, limit: 1 });
  return {
    birth: state.birth,
    count: last === undefined ? 0 : Number(last[0]),
    balance: last === undefined ? 0 : last[1].balance,
    begin(tag: string) {
      state.birth = tag;
      state.mark = tag;
      state.padding = ledgerPadding;
      this.birth = tag;
    },
    note(tag: string, nowMs: number, balance: number) {
      this.count++;
      this.balance = balance;
      journal.set(journalKey(this.count), { tag, nowMs, balance });
    },
  };
}

function memoirOf(glimpse: Glimpse, journal: readonly JournalEntry[], items: Parameters<typeof itemsOf>[0]): Memoir {
  return { ...glimpseOf(glimpse), last: journal.at(-1)?.[0] ?? null, items: itemsOf(items), journal };
}

function entriesOf(journal: Journal): JournalEntry[] {
  return [...journal.range()].map(([, { tag, nowMs }]) => [tag, nowMs]);
}

/** `memoir` without the journal, which would make every read as long as the program. */
function lookOf({ journal: _, ...look }: Memoir) {
  return look;
}

const affinity = (id: string): string => id.split("/")[0]!;

/** The system as one version of its code has it, whose commands take their time in `surroundings`. */
export function makeSystemUnderTest(
  surroundings: Surroundings,
  codeVersion: CodeVersion = newestVersion,
): SystemHandle {
  const handles: Partial<Record<Kind | "shadow", EntityHandle>> = {};
  const partsOf = (kind: Kind) => ({ kind, surroundings, handles: handles as Handles });
  const contextOf = (context: unknown): PerformContext => context as PerformContext;

  const startCell = <Name extends string>(name: Name, version: CodeVersion) =>
    entity(name)
      .state(
        schemaOf<CellState>("a cell", ({ balance, cents }) => isBalance(balance ?? cents)),
        () => cellStates.initial(version),
        cellStates.version(version),
      )
      .collection("items", itemSchema);
  // Its shadow counts its commands, whatever the code: that is enough to tell.
  const mortalVersion: CodeVersion = 1;

  const cell = startCell("cell", codeVersion)
    .command("run", planSchema, (state, plan, context) =>
      perform(cellBody(state as CellState, codeVersion), plan, contextOf(context), partsOf("cell")),
    )
    .query("look", (state, _, { collections }) =>
      lookOf(memoirOf(cellBody(state as CellState, codeVersion), state.journal, collections.items)),
    )
    .query("memoir", (state, _, { collections }) =>
      memoirOf(cellBody(state as CellState, codeVersion), state.journal, collections.items),
    );

  const mortal = startCell("mortal", mortalVersion)
    .command("run", planSchema, (state, plan, context) =>
      perform(cellBody(state as CellState, mortalVersion), plan, contextOf(context), partsOf("mortal")),
    )
    .query("look", (state, _, { collections }) =>
      lookOf(memoirOf(cellBody(state as CellState, mortalVersion), state.journal, collections.items)),
    )
    .query("memoir", (state, _, { collections }) =>
      memoirOf(cellBody(state as CellState, mortalVersion), state.journal, collections.items),
    );

  const shelf = entity("shelf")
    .state(
      schemaOf<ShelfState>("a shelf", ({ balance }) => isBalance(balance)),
      () => ({ birth: null, balance: 0, count: 0 }),
    )
    .collection("items", itemSchema)
    .collection("journal", journalItemSchema)
    .affinity(affinity)
    .command("run", planSchema, (state, plan, context) =>
      perform(shelfBody(state, context.collections.journal), plan, contextOf(context), partsOf("shelf")),
    )
    .query("look", (state, _, { collections }) =>
      lookOf(memoirOf(state, entriesOf(collections.journal), collections.items)),
    )
    .query("memoir", (state, _, { collections }) => memoirOf(state, entriesOf(collections.journal), collections.items));

  const readLedger = (state: LedgerState, journal: Journal, items: Parameters<typeof itemsOf>[0]): Memoir => {
    checkedLedger(state, codeVersion);
    if (state.birth !== null && state.padding !== ledgerPadding) throw new Error("the padding is damaged");
    const [last] = journal.range({ reverse: true, limit: 1 });
    const entries = entriesOf(journal);
    return memoirOf({ birth: state.birth, count: entries.length, balance: last?.[1].balance ?? 0 }, entries, items);
  };
  const ledger = entity("ledger")
    .state(
      schemaOf<LedgerState>("a ledger", ({ padding }) => typeof padding === "string"),
      () => ledgerStates.initial(codeVersion),
      ledgerStates.version(codeVersion),
    )
    .collection("items", itemSchema)
    .collection("journal", journalItemSchema)
    .affinity(affinity)
    .command("run", planSchema, (state, plan, context) =>
      perform(
        ledgerBody(state as LedgerState, context.collections.journal, codeVersion),
        plan,
        contextOf(context),
        partsOf("ledger"),
      ),
    )
    .query("look", (state, _, { collections }) => lookOf(readLedger(state, collections.journal, collections.items)))
    .query("memoir", (state, _, { collections }) => readLedger(state, collections.journal, collections.items));

  const shadow = entity("shadow")
    .state(
      schemaOf<{ entries: ShadowEntry[] }>("a shadow", ({ entries }) => Array.isArray(entries)),
      () => ({ entries: [] }),
    )
    .command("note", shadowEntrySchema, (state, entry) => {
      state.entries.push(entry);
    })
    .query("entries", (state) => state.entries as ShadowEntry[]);

  Object.assign(handles, { cell, mortal, shelf, ledger, shadow });
  const kinds = { cell, mortal, shelf, ledger };
  const body = async (tx: unknown, script: Script): Promise<StepOutput[]> =>
    runScript((kind, id) => (tx as Caller)(kinds[kind], id), script);
  // With a home, and without one.
  const script = transaction("script", scriptSchema)
    .at(({ steps }) => kinds[steps[0]!.kind](steps[0]!.id))
    .run(body);
  const roam = transaction("roam", scriptSchema).run(body);
  return system("simulated", { cell, mortal, shelf, ledger, shadow, script, roam });
}

type Methods = {
  run(plan: TaggedPlan): Promise<Glimpse>;
  look(): Promise<Memoir>;
};
type Caller = (kind: EntityHandle, id: string) => Methods;

async function runScript(of: (kind: Kind, id: string) => Methods, script: Script): Promise<StepOutput[]> {
  const { steps, tag } = script;
  const runStep = async (index: number): Promise<StepOutput> => {
    const { kind, id, plan, catches } = steps[index]!;
    if (plan === undefined) return { step: "looked", look: await of(kind, id).look() };
    try {
      return { step: "ran", glimpse: await of(kind, id).run({ ...plan, tag: childTag.step(tag, index) }) };
    } catch (error) {
      if (!(error instanceof Refused) || catches !== true) throw error;
      return { step: "caught", code: error.code, glimpse: error.details as Glimpse };
    }
  };
  if (script.isParallel === true) return Promise.all(steps.map((_, index) => runStep(index)));
  const outputs: StepOutput[] = [];
  for (let index = 0; index < steps.length; index++) {
    if (script.failsAfter === index) throw new Error("as told");
    outputs.push(await runStep(index));
  }
  return outputs;
}
