/**
 * Strict serializability of transactions on lists, from what they read (Kingsbury and Alvaro, "Elle", VLDB 2020).
 *
 * LA1  A list that was read tells its key's whole history up to then: the longest read is the version order, every other must be a
 *      beginning of it. A committed append that the longest read does not hold comes after it, for lists only grow.
 * LA2  Edges: ww from the writer of an element to that of the next; wr from the writer of the last element that a transaction found
 *      to that transaction; rw from it to the writer of the first that it did not find. Own elements are no reason for an edge.
 * LA3  Sound: an anomaly proves that no order in real time explains the history. Complete where every committed append was read at
 *      last, for then the version orders are known.
 *
 * Names beside those of `cycles.ts`: G1a, G1b, `garbage-read`, `duplicate-elements`, `incompatible-order`, `internal`, `lost-update`.
 */
import { findCycles } from "./cycles.ts";
import { addFan, DependencyGraph } from "./dependency-graph.ts";
import type { Finding } from "./history.ts";
import { addRealTime } from "./real-time.ts";
import { type ListTransaction, outputsOf, type Scalar } from "./transaction-steps.ts";
import { TransactionWrites } from "./transaction-writes.ts";
import { jsonOf } from "./timeline.ts";

interface ListRead {
  readonly transaction: number;
  /** The elements that the transaction found: without its own appends before the read. */
  readonly found: readonly Scalar[];
}

/** All anomalies; none for a history that is strictly serializable (LA3). */
export function checkListAppend(history: readonly ListTransaction[]): readonly Finding[] {
  const check = new ListCheck(history);
  return check.run();
}

class ListCheck {
  readonly #history: readonly ListTransaction[];
  readonly #writes: TransactionWrites;
  readonly #findings: Finding[] = [];
  /** Of each key, what each transaction found there at first. */
  readonly #reads = new Map<string, ListRead[]>();
  readonly #orders = new Map<string, readonly Scalar[]>();

  constructor(history: readonly ListTransaction[]) {
    this.#history = history;
    this.#writes = new TransactionWrites(history);
  }

  run(): readonly Finding[] {
    for (const index of this.#history.keys()) this.#read(index);
    for (const [key, reads] of this.#reads) this.#orderKey(key, reads);
    const committed = this.#writes.committed();
    const graph = new DependencyGraph(this.#history.length);
    for (const key of this.#writes.keys()) this.#connect(graph, key);
    addRealTime(graph, this.#history, committed);
    return [...this.#findings, ...findCycles(graph, this.#history)];
  }

  #find(anomaly: string, what: string, shown: readonly number[]): void {
    this.#findings.push(this.#writes.finding(anomaly, what, shown));
  }

  /** Walks a transaction's steps with what it must see of itself. */
  #read(index: number): void {
    const transaction = this.#history[index]!;
    const outputs = outputsOf(transaction);
    if (outputs === undefined) return;
    /** What was read, with the appends since; or the appends alone, where nothing was read yet. */
    const seen = new Map<string, { readonly isWhole: boolean; readonly elements: readonly Scalar[] }>();
    for (const [at, step] of transaction.input.entries()) {
      const known = seen.get(step.key) ?? { isWhole: false, elements: [] };
      if (step.type === "append") {
        seen.set(step.key, { ...known, elements: [...known.elements, step.value] });
        continue;
      }
      const elements = outputs[at] ?? [];
      const isExpected = known.isWhole ? isEqual(elements, known.elements) : endsWith(elements, known.elements);
      if (!isExpected) {
        const expected = `${known.isWhole ? "" : "a list that ends with "}${jsonOf(known.elements)}`;
        this.#find("internal", `T${index} read ${jsonOf(elements)} from ${step.key} where it had left ${expected}.`, [
          index,
        ]);
      } else if (!known.isWhole) {
        this.#firstRead(step.key, index, elements.slice(0, elements.length - known.elements.length));
      }
      seen.set(step.key, { isWhole: true, elements });
    }
  }

  #firstRead(key: string, transaction: number, found: readonly Scalar[]): void {
    const distinct = new Set(found);
    if (distinct.size < found.length) {
      const twice = found.find((value, at) => found.indexOf(value) < at);
      this.#find("duplicate-elements", `T${transaction} read ${jsonOf(twice)} twice from ${key}.`, [transaction]);
      return;
    }
    const own = found.find((value) => this.#writes.of(key).get(value)?.transaction === transaction);
    if (own !== undefined) {
      this.#find("internal", `T${transaction} read ${jsonOf(own)} from ${key} before it appended it.`, [transaction]);
      return;
    }
    const reads = this.#reads.get(key);
    if (reads === undefined) this.#reads.set(key, [{ transaction, found }]);
    else reads.push({ transaction, found });
  }

  /** Finds the version order, and forgets the reads that contradict it. */
  #orderKey(key: string, reads: readonly ListRead[]): void {
    let longest: ListRead = reads[0]!;
    for (const read of reads) if (read.found.length > longest.found.length) longest = read;
    const kept: ListRead[] = [];
    for (const read of reads) {
      if (isBeginning(read.found, longest.found)) kept.push(read);
      else {
        const [one, other] = [longest.transaction, read.transaction];
        const what = `T${one} read ${jsonOf(longest.found)} from ${key}, and T${other} ${jsonOf(read.found)}; neither list grew from the other.`;
        this.#find("incompatible-order", what, [one, other]);
        this.#checkElements(key, read);
      }
    }
    this.#reads.set(key, kept);
    this.#orders.set(key, longest.found);
    this.#checkElements(key, longest);
    this.#findIntermediate(key, kept);
    this.#findLostUpdates(key, kept);
  }

  #checkElements(key: string, { transaction, found }: ListRead): void {
    for (const value of found) this.#findings.push(...this.#writes.sawRead(transaction, { key, value }));
  }

  #findIntermediate(key: string, reads: readonly ListRead[]): void {
    for (const { transaction, found } of reads) {
      const last = this.#writes.of(key).get(found.at(-1)!);
      if (last === undefined || last.isFinal || last.transaction === transaction) continue;
      const what = `T${transaction} read ${key} up to ${jsonOf(last.value)}, in the middle of T${last.transaction}.`;
      this.#find("G1b", what, [transaction, last.transaction]);
    }
  }

  #findLostUpdates(key: string, reads: readonly ListRead[]): void {
    const byLength = new Map<number, number>();
    for (const { transaction, found } of reads) {
      if (!this.#history[transaction]!.input.some((step) => step.type === "append" && step.key === key)) continue;
      const other = byLength.get(found.length);
      byLength.set(found.length, transaction);
      if (other === undefined) continue;
      const what = `T${other} and T${transaction} both read ${jsonOf(found)} from ${key} and appended to it.`;
      this.#find("lost-update", what, [other, transaction]);
    }
  }

  #connect(graph: DependencyGraph, key: string): void {
    const order = this.#orders.get(key) ?? [];
    const writes = this.#writes.of(key);
    const writerAt = (place: number): number | undefined => {
      const write = writes.get(order[place]!);
      return write === undefined || !this.#writes.isCommitted(write.transaction) ? undefined : write.transaction;
    };
    for (let place = 1; place < order.length; place++) {
      const [from, to] = [writerAt(place - 1), writerAt(place)];
      if (from === undefined || to === undefined) continue;
      const why = (): string =>
        `in ${key}, ${jsonOf(order[place - 1])} of T${from} stands right before ${jsonOf(order[place])} of T${to}`;
      graph.add({ from, to, kind: "ww", why });
    }
    const last: number[] = [];
    for (const { transaction, found } of this.#reads.get(key) ?? []) {
      const before = found.length === 0 ? undefined : writerAt(found.length - 1);
      const seen = jsonOf(found.at(-1) ?? null);
      if (before !== undefined) {
        const why = (): string => `T${transaction} read ${key} up to ${seen}, which T${before} appended`;
        graph.add({ from: before, to: transaction, kind: "wr", why });
      }
      if (found.length === order.length) {
        last.push(transaction);
        continue;
      }
      const after = writerAt(found.length);
      if (after === undefined) continue;
      const why = (): string =>
        `T${transaction} read ${key} without ${jsonOf(order[found.length])}, which T${after} appended`;
      graph.add({ from: transaction, to: after, kind: "rw", why });
    }
    this.#connectUnread(graph, key, { order, readers: last, lastWriter: writerAt(order.length - 1) });
  }

  /** What nobody read comes after all that was read (LA1). */
  #connectUnread(
    graph: DependencyGraph,
    key: string,
    end: {
      readonly order: readonly Scalar[];
      readonly readers: readonly number[];
      readonly lastWriter: number | undefined;
    },
  ): void {
    const read = new Set(end.order);
    const unread = new Set<number>();
    for (const { transaction, value } of this.#writes.of(key).values()) {
      if (!read.has(value) && this.#writes.isCommitted(transaction)) unread.add(transaction);
    }
    const to = [...unread];
    const why = (from: number, target: number): string => `T${from} read ${key} without what T${target} appended`;
    addFan(graph, { kind: "rw", from: end.readers, to, why });
    const { lastWriter } = end;
    if (lastWriter === undefined) return;
    const whyLater = (from: number, target: number): string =>
      `no read of ${key} that has what T${from} appended has what T${target} appended`;
    addFan(graph, { kind: "ww", from: [lastWriter], to, why: whyLater });
  }
}

function isEqual(a: readonly Scalar[], b: readonly Scalar[]): boolean {
  return a.length === b.length && isBeginning(a, b);
}

function isBeginning(beginning: readonly Scalar[], whole: readonly Scalar[]): boolean {
  return beginning.length <= whole.length && beginning.every((value, at) => whole[at] === value);
}

function endsWith(whole: readonly Scalar[], end: readonly Scalar[]): boolean {
  return end.length <= whole.length && end.every((value, at) => whole[whole.length - end.length + at] === value);
}
