/** What a workload is: how it begins, what one operation is, and how it proves that its operations did what they say. */
import { accountWorkloads } from "./account.ts";
import { counterWorkload } from "./counter.ts";
import type { Operations } from "./operations.ts";
import { orderBookWorkload } from "./order-book.ts";
import { smallBankWorkload } from "./small-bank.ts";
import { ycsbWorkloads } from "./ycsb.ts";

export interface Workload {
  readonly name: string;
  /** One line for people. */
  readonly description: string;
  /** Plain reads in one operation, and what it appends to a log, on average. */
  readonly readsPerOperation: number;
  readonly writesPerOperation: number;
  /** Makes what must be there. Called before each measurement; what stands already it leaves alone. Not measured. */
  prepare(operations: Operations): Promise<void>;
  /** The `index`-th operation; rejects where its own result is wrong. */
  operation(operations: Operations, index: number): Promise<unknown>;
  /** After `count` operations since `prepare`, all answered: rejects where they did not all take hold, once each. */
  check(operations: Operations, count: number): Promise<void>;
}

/** How much there is to work on. */
export interface Sizes {
  readonly counters: number;
  readonly accounts: number;
  readonly bookItems: number;
  readonly rows: number;
  readonly customers: number;
  /** Of the customers, those who are asked for in nine of ten cases. */
  readonly hotCustomers: number;
}

export const fullSizes: Sizes = {
  counters: 1000,
  accounts: 1000,
  bookItems: 100_000,
  rows: 100_000,
  customers: 10_000,
  hotCustomers: 100,
};

/** For a quick look: what takes long to load is smaller, so caches are kinder to it. */
export const quickSizes: Sizes = { ...fullSizes, rows: 10_000, customers: 1000 };

/** Workloads that run one after another on the same data, in processes of their own. */
export interface WorkloadFamily {
  readonly name: string;
  readonly workloads: readonly Workload[];
}

/** Each call makes workloads that know nothing of what others did. */
export function workloadFamilies(sizes: Sizes): readonly WorkloadFamily[] {
  const { transfer, read } = accountWorkloads(sizes);
  const alone = (workload: Workload): WorkloadFamily => ({ name: workload.name, workloads: [workload] });
  return [
    alone(counterWorkload("counter", sizes.counters)),
    alone(counterWorkload("hot", 1)),
    alone(transfer),
    alone(read),
    alone(orderBookWorkload(sizes)),
    { name: "ycsb", workloads: ycsbWorkloads(sizes) },
    alone(smallBankWorkload(sizes)),
  ];
}
