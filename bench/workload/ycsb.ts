/**
 * YCSB's workloads A, B, C and F (Cooper et al., "Benchmarking cloud serving systems with YCSB", SoCC 2010): records of 10
 * fields of 100 bytes, asked for with a Zipfian skew of 0.99. An update writes one field, a read reads all; F's
 * read-modify-write is a read and then an update, as in the original, and counts as one operation.
 *
 * The operations check themselves like this: each value names its record, its field and the write that it came from. A read must find
 * values of what it asked for. At the end a field must hold the value of a write that no other write to this field came after: one
 * that began only when it had been acknowledged.
 */
import assert from "node:assert/strict";
import { SeededRandom } from "../../src/base/random.ts";
import { inPortions } from "../load/closed-loop.ts";
import { zipfianDraws } from "../load/zipfian.ts";
import { type Operations, type RowFieldName, type RowFields, rowFieldNames } from "./operations.ts";
import type { Sizes, Workload } from "./workload.ts";

const theta = 0.99;
const valueBytes = 100;
const filler = "x".repeat(valueBytes);
/** Draws that are made beforehand; after so many operations they come again. */
const drawCount = 2 ** 20;
/** Rows that are read at the end: most of those that were written to in a short run, some of them in a long one. */
const checkedRowsMax = 2000;
const insertCount = 1000;

/** What each workload does in so many of a hundred operations; the others read. */
const kinds = [
  { name: "ycsb-a", updates: 50, modifies: 0, what: "half reads, half updates" },
  { name: "ycsb-b", updates: 5, modifies: 0, what: "95 % reads, 5 % updates" },
  { name: "ycsb-c", updates: 0, modifies: 0, what: "reads only" },
  { name: "ycsb-f", updates: 0, modifies: 50, what: "half reads, half reads with an update after each" },
] as const;

/** The four on one table, so that it is loaded once. */
export function ycsbWorkloads({ rows }: Sizes): readonly Workload[] {
  const random = new SeededRandom("ycsb");
  let table: Table | undefined;
  // Made when they are first needed: most processes run other workloads.
  const tableOf = () => {
    table ??= new Table(rows, random.fork("table"));
    return table;
  };
  return kinds.map(({ name, updates, modifies, what }) => {
    let choices: Uint8Array | undefined;
    return {
      name,
      description: `${what}; ${rows} records of 10 fields of 100 bytes, Zipfian ${theta}`,
      readsPerOperation: 1 - updates / 100,
      writesPerOperation: (updates + modifies) / 100,
      prepare: (operations) => {
        choices ??= percentages(random.fork(name));
        return tableOf().load(operations);
      },
      async operation(operations, index) {
        const drawn = tableOf().draw(index);
        const chosen = choices![index % choices!.length]!;
        if (chosen >= updates) await tableOf().read(operations, drawn, index);
        if (chosen < updates + modifies) await tableOf().update(operations, drawn, index);
      },
      check: (operations) => tableOf().check(operations),
    };
  });
}

/** From 0 to 99, each as often as any. */
function percentages(random: SeededRandom): Uint8Array {
  return Uint8Array.from({ length: 2 ** 16 }, () => random.integer(100));
}

/** The records, and what is known of them. */
class Table {
  readonly #rows: number;
  readonly #draws: Uint32Array;
  #isLoaded = false;
  /** Counts beginnings and ends of writes, so that they can be told apart in time. */
  #moment = 0;
  /** By field: when the latest of its acknowledged writes began; 0 where there was none. */
  readonly #begun: Float64Array;
  /** By write: when it was acknowledged; 0 where it was not yet. */
  readonly #acknowledged: number[] = [];

  constructor(rows: number, random: SeededRandom) {
    this.#rows = rows;
    this.#draws = zipfianDraws({ items: rows, theta, length: drawCount, random });
    this.#begun = new Float64Array(rows * rowFieldNames.length);
  }

  draw(index: number): number {
    return this.#draws[index % drawCount]!;
  }

  async load(operations: Operations): Promise<void> {
    if (this.#isLoaded) return;
    for (let from = 0; from < this.#rows; from += insertCount) {
      const count = Math.min(insertCount, this.#rows - from);
      await operations.insertRows(
        Array.from({ length: count }, (_, i) => ({ id: idOf(from + i), fields: initialFields(from + i) })),
      );
    }
    this.#isLoaded = true;
  }

  async read(operations: Operations, row: number, index: number): Promise<void> {
    const fields = await operations.readRow(idOf(row));
    const field = index % rowFieldNames.length;
    const value = fields[rowFieldNames[field]!];
    if (value?.length !== valueBytes || !value.startsWith(`${row}/${field}/`)) {
      throw new Error(`${idOf(row)} has ${JSON.stringify(value)} in ${rowFieldNames[field]}`);
    }
  }

  async update(operations: Operations, row: number, index: number): Promise<void> {
    const field = index % rowFieldNames.length;
    const write = this.#acknowledged.push(0) - 1;
    const begun = ++this.#moment;
    await operations.updateRow(idOf(row), { field: rowFieldNames[field]!, value: fieldValue(row, field, write) });
    this.#acknowledged[write] = ++this.#moment;
    const cell = row * rowFieldNames.length + field;
    if (begun > this.#begun[cell]!) this.#begun[cell] = begun;
  }

  async check(operations: Operations): Promise<void> {
    const written: number[] = [];
    for (let row = 0; row < this.#rows; row++) {
      if (rowFieldNames.some((_, field) => this.#begun[row * rowFieldNames.length + field]! > 0)) written.push(row);
    }
    const step = Math.max(1, written.length / checkedRowsMax);
    await inPortions(Math.min(written.length, checkedRowsMax), async (i) => {
      const row = written[Math.floor(i * step)]!;
      this.#checkRow(row, await operations.readRow(idOf(row)));
    });
  }

  #checkRow(row: number, fields: RowFields): void {
    rowFieldNames.forEach((name, field) => {
      const value = fields[name];
      const begun = this.#begun[row * rowFieldNames.length + field]!;
      const write = value.split("/")[2];
      if (write === "initial") assert.equal(begun, 0, `${idOf(row)} ${name} lost every write`);
      else {
        assert.equal(value, fieldValue(row, field, Number(write)), `${idOf(row)} ${name} holds something else`);
        assert.ok(this.#acknowledged[Number(write)]! > begun, `${idOf(row)} ${name} lost a later write`);
      }
    });
  }
}

function idOf(row: number): string {
  return `user${row}`;
}

function fieldValue(row: number, field: number, write: number | "initial"): string {
  return `${row}/${field}/${write}/${filler}`.slice(0, valueBytes);
}

function initialFields(row: number): RowFields {
  const fields: Partial<Record<RowFieldName, string>> = {};
  rowFieldNames.forEach((name, field) => {
    fields[name] = fieldValue(row, field, "initial");
  });
  return fields as RowFields;
}
