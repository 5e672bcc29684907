/**
 * Strict serializability of transactions on registers whose written values are unique, from what they read (Kingsbury and Alvaro,
 * "Elle", VLDB 2020, section 5: registers tell less of their order than lists).
 *
 * RG1  wr: who wrote a value comes before who read it. Null was there before every write.
 * RG2  The version order is known in part: a transaction that read a value and wrote another put its own right after it; and a version
 *      that some transaction had written or read when it completed is older than what transactions invoked later write.
 * RG3  rw: who read a version comes before who wrote a later one. ww and the rest of the order follow from wr and from time.
 * RG4  Sound: an anomaly proves that no order in real time explains the history. Not complete, unlike the check of lists: writes that
 *      overlap in time and that nobody read before writing are in no known order.
 *
 * Names beside those of `cycles.ts`: G1a, G1b, `garbage-read`, `internal`, `lost-update`.
 */
import { findCycles } from "./cycles.ts";
import { addFan, DependencyGraph } from "./dependency-graph.ts";
import { endOf, type Finding } from "./history.ts";
import { addRealTime } from "./real-time.ts";
import { outputsOf, type RegisterTransaction, type Scalar } from "./transaction-steps.ts";
import { TransactionWrites } from "./transaction-writes.ts";
import { jsonOf } from "./timeline.ts";

/** One value of one key, with who read it from another and who of these wrote the key as well. */
interface Version {
  readonly value: Scalar | null;
  readonly readers: number[];
  readonly updaters: number[];
}

/** All anomalies that can be told (RG4). */
export function checkRegisterTransactions(history: readonly RegisterTransaction[]): readonly Finding[] {
  const check = new RegisterCheck(history);
  return check.run();
}

class RegisterCheck {
  readonly #history: readonly RegisterTransaction[];
  readonly #writes: TransactionWrites;
  readonly #findings: Finding[] = [];
  readonly #versions = new Map<string, Map<Scalar | null, Version>>();

  constructor(history: readonly RegisterTransaction[]) {
    this.#history = history;
    this.#writes = new TransactionWrites(history);
  }

  run(): readonly Finding[] {
    for (const index of this.#history.keys()) this.#read(index);
    const committed = this.#writes.committed();
    const graph = new DependencyGraph(this.#history.length);
    for (const [key, versions] of this.#versions) this.#connect(graph, key, versions);
    addRealTime(graph, this.#history, committed);
    return [...this.#findings, ...findCycles(graph, this.#history)];
  }

  #find(anomaly: string, what: string, shown: readonly number[]): void {
    this.#findings.push(this.#writes.finding(anomaly, what, shown));
  }

  #read(index: number): void {
    const { input } = this.#history[index]!;
    const outputs = outputsOf(this.#history[index]!);
    if (outputs === undefined) return;
    const seen = new Map<string, Scalar | null>();
    for (const [at, step] of input.entries()) {
      if (step.type === "write") {
        seen.set(step.key, step.value);
        continue;
      }
      const value = outputs[at]!;
      const known = seen.get(step.key);
      if (known === undefined) {
        const isUpdate = input.some(({ type, key }) => type === "write" && key === step.key);
        this.#firstRead(index, { key: step.key, value, isUpdate });
      } else if (known !== value) {
        this.#find("internal", `T${index} read ${jsonOf(value)} from ${step.key} where it had left ${jsonOf(known)}.`, [
          index,
        ]);
      }
      seen.set(step.key, value);
    }
  }

  #firstRead(
    reader: number,
    { key, value, isUpdate }: { readonly key: string; readonly value: Scalar | null; readonly isUpdate: boolean },
  ): void {
    const write = value === null ? undefined : this.#writes.of(key).get(value);
    if (write?.transaction === reader) {
      this.#find("internal", `T${reader} read ${jsonOf(value)} from ${key} before it wrote it.`, [reader]);
      return;
    }
    if (value !== null) this.#findings.push(...this.#writes.sawRead(reader, { key, value }));
    if (write?.isFinal === false) {
      const what = `T${reader} read ${jsonOf(value)} from ${key}, in the middle of T${write.transaction}.`;
      this.#find("G1b", what, [reader, write.transaction]);
    }
    const version = this.#version(key, value);
    version.readers.push(reader);
    if (!isUpdate) return;
    const other = version.updaters[0];
    version.updaters.push(reader);
    if (other === undefined) return;
    this.#find("lost-update", `T${other} and T${reader} both read ${jsonOf(value)} from ${key} and wrote it.`, [
      other,
      reader,
    ]);
  }

  #version(key: string, value: Scalar | null): Version {
    let versions = this.#versions.get(key);
    if (versions === undefined) {
      versions = new Map();
      this.#versions.set(key, versions);
    }
    let version = versions.get(value);
    if (version === undefined) {
      version = { value, readers: [], updaters: [] };
      versions.set(value, version);
    }
    return version;
  }

  #connect(graph: DependencyGraph, key: string, versions: ReadonlyMap<Scalar | null, Version>): void {
    const writers = new Set<number>();
    for (const { transaction } of this.#writes.of(key).values()) {
      if (this.#writes.isCommitted(transaction)) writers.add(transaction);
    }
    const later = new LaterWriters(this.#history, [...writers]);
    for (const { value, readers, updaters } of versions.values()) {
      const write = value === null ? undefined : this.#writes.of(key).get(value);
      const writer = write !== undefined && this.#writes.isCommitted(write.transaction) ? write.transaction : undefined;
      if (writer !== undefined) {
        for (const reader of readers) {
          const why = (): string => `T${reader} read ${jsonOf(value)} from ${key}, which T${writer} wrote`;
          graph.add({ from: writer, to: reader, kind: "wr", why });
        }
      } else if (value !== null) continue;
      const next = new Set(updaters);
      for (const index of later.after(value === null ? Number.NEGATIVE_INFINITY : this.#knownFrom(readers, writer)))
        next.add(index);
      // The writer of the version is before its readers already.
      if (writer !== undefined) next.delete(writer);
      const why = (from: number, target: number): string =>
        `T${from} read ${jsonOf(value)} from ${key}, which T${target} overwrote`;
      addFan(graph, { kind: "rw", from: readers, to: [...next], why });
    }
  }

  /** The time from which on a version is known to be there: what is invoked later writes a later one (RG2). */
  #knownFrom(readers: readonly number[], writer: number | undefined): number {
    let known = writer === undefined ? Number.POSITIVE_INFINITY : endOf(this.#history[writer]!);
    for (const reader of readers) known = Math.min(known, endOf(this.#history[reader]!));
    return known;
  }
}

/** Which transactions that write one key were invoked after a time. */
class LaterWriters {
  readonly #history: readonly RegisterTransaction[];
  /** By invocation. */
  readonly #writers: readonly number[];
  /** Of each place, the earliest end from there on. */
  readonly #earliestEnds: readonly number[];

  constructor(history: readonly RegisterTransaction[], writers: readonly number[]) {
    this.#history = history;
    this.#writers = [...writers].sort((a, b) => history[a]!.invoked - history[b]!.invoked);
    const ends: number[] = [];
    let earliest = Number.POSITIVE_INFINITY;
    for (const writer of [...this.#writers].reverse()) {
      earliest = Math.min(earliest, endOf(history[writer]!));
      ends.push(earliest);
    }
    this.#earliestEnds = ends.reverse();
  }

  /** Those with none of the others wholly before them in time: the rest follows from real time. */
  *after(time: number): Iterable<number> {
    let [from, to] = [0, this.#writers.length];
    while (from < to) {
      const middle = (from + to) >> 1;
      if (this.#history[this.#writers[middle]!]!.invoked > time) to = middle;
      else from = middle + 1;
    }
    const earliest = this.#earliestEnds[from];
    for (let at = from; at < this.#writers.length; at++) {
      const writer = this.#writers[at]!;
      if (this.#history[writer]!.invoked > earliest!) return;
      yield writer;
    }
  }
}
