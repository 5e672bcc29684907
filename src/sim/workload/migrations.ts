/**
 * The simulated system at three times of its life: what newer code changed in the states of `cell` and `ledger`, and a look at
 * every state that is met, which finds one that was not migrated, migrated twice, or has lost what nobody knew of.
 *
 * M1  What `mark` says no schema and no migration knows of; it must survive them all (G11).
 */
import type { JournalEntry } from "./plan.ts";

export const codeVersions = [1, 2, 3] as const;
export type CodeVersion = (typeof codeVersions)[number];
export const newestVersion: CodeVersion = 3;

/** A cell's state. Version 2 counts the entries beside the journal, version 3 calls the balance cents. */
export interface CellState {
  birth: string | null;
  /** Up to version 2. */
  balance?: number;
  /** From version 3. */
  cents?: number;
  /** From version 2. */
  entries?: number;
  journal: JournalEntry[];
  mark?: string;
}

/** A ledger's state. It is large, so that most effects leave it as it is; from version 2 it says which version made it. */
export interface LedgerState {
  birth: string | null;
  padding: string;
  edition?: number;
  mark?: string;
}

/** What `state(...)` of a definition takes besides schema and initial state. */
interface StateVersion {
  readonly version: number;
  readonly migrations: never[];
}

export const cellStates = {
  initial: (version: CodeVersion): CellState => ({
    birth: null,
    ...(version < 3 ? { balance: 0 } : { cents: 0 }),
    ...(version < 2 ? {} : { entries: 0 }),
    journal: [],
  }),
  version: (version: CodeVersion): StateVersion => versionOf(version, [countEntries, renameBalance]),
  balance: ({ balance, cents }: CellState): number => cents ?? balance ?? Number.NaN,
} as const;

export const ledgerStates = {
  initial: (version: CodeVersion): LedgerState => ({
    birth: null,
    padding: "",
    ...(version < 2 ? {} : { edition: version }),
  }),
  version: (version: CodeVersion): StateVersion => versionOf(version, [secondEdition, thirdEdition]),
} as const;

function versionOf(version: CodeVersion, migrations: readonly ((state: never) => object)[]): StateVersion {
  return { version, migrations: migrations.slice(0, version - 1) as never[] };
}

/** By listing the fields. */
function countEntries(state: CellState): CellState {
  return { ...state, entries: state.journal.length };
}

/** By naming them: what it does not name it does not know. */
function renameBalance({ birth, balance, entries, journal }: CellState): CellState {
  return { birth, cents: balance ?? Number.NaN, entries: entries ?? Number.NaN, journal };
}

/** In place. */
function secondEdition(state: LedgerState): LedgerState {
  state.edition = 2;
  return state;
}

function thirdEdition(state: LedgerState): LedgerState {
  if (state.edition !== 2) throw new Error(`a ledger of edition ${state.edition} is migrated from version 2 to 3`);
  state.edition = 3;
  return state;
}

/** The state, which must be one as this version of the code knows it. */
export function checkedCell(state: CellState, version: CodeVersion): CellState {
  const { balance, cents, entries, journal } = state;
  const isOfVersion =
    (version < 3 ? typeof balance === "number" && cents === undefined : balance === undefined && cents !== undefined) &&
    (version < 2 ? entries === undefined : entries === journal.length);
  if (!isOfVersion) throw new Error(`a cell is not as version ${version} has it: ${JSON.stringify(state)}`);
  checkMark(state);
  return state;
}

/** The same for a ledger. */
export function checkedLedger(state: LedgerState, version: CodeVersion): LedgerState {
  if (state.edition !== (version < 2 ? undefined : version)) {
    throw new Error(`version ${version} met a ledger of edition ${state.edition}`);
  }
  checkMark(state);
  return state;
}

/** M1. */
function checkMark({ birth, mark }: { readonly birth: string | null; readonly mark?: string }): void {
  if (birth !== null && mark !== birth) throw new Error(`a migration lost the mark of ${birth}`);
}
