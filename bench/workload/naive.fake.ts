/** The operations on plain maps: what a subject should do, without any disk. For the workloads' own tests. */
import type { Operations, RowFields } from "./operations.ts";

export function naiveOperations(): Operations {
  const counters = new Map<string, number>();
  const accounts = new Map<string, number>();
  const orders = new Set<string>();
  const rows = new Map<string, RowFields>();
  const savings = new Map<string, number>();
  const checking = new Map<string, number>();
  const add = (to: Map<string, number>, id: string, amount: number): number => {
    const sum = (to.get(id) ?? 0) + amount;
    to.set(id, sum);
    return sum;
  };
  return {
    increment: async (id) => add(counters, id, 1),
    counterValue: async (id) => counters.get(id) ?? 0,
    deposit: async (id, cents) => add(accounts, id, cents),
    transfer: async ({ from, to, cents }) => {
      add(accounts, from, -cents);
      add(accounts, to, cents);
    },
    balance: async (id) => accounts.get(id) ?? 0,
    fillBook: async ({ from, count }) => {
      for (let i = 0; i < count; i++) orders.add(String(from + i).padStart(9, "0"));
    },
    trade: async (price) => {
      // A Set keeps the order of insertion, which is the order of prices.
      for (const best of orders) {
        orders.delete(best);
        break;
      }
      orders.add(price);
      return orders.size;
    },
    openOrders: async () => orders.size,
    insertRows: async (inserted) => {
      for (const { id, fields } of inserted) rows.set(id, fields);
    },
    readRow: async (id) => rows.get(id)!,
    updateRow: async (id, { field, value }) => {
      rows.set(id, { ...rows.get(id)!, [field]: value });
    },
    openCustomers: async (ids, cents) => {
      for (const id of ids) {
        add(savings, id, cents);
        add(checking, id, cents);
      }
    },
    customerBalance: async (customer) => savings.get(customer)! + checking.get(customer)!,
    depositChecking: async (customer, cents) => {
      add(checking, customer, cents);
      return cents;
    },
    transactSavings: async (customer, cents) => {
      if (savings.get(customer)! + cents < 0) return 0;
      add(savings, customer, cents);
      return cents;
    },
    amalgamate: async ({ from, to }) => {
      add(checking, to, savings.get(from)! + checking.get(from)!);
      savings.set(from, 0);
      checking.set(from, 0);
    },
    writeCheck: async (customer, { cents, penaltyCents }) => {
      const all = savings.get(customer)! + checking.get(customer)!;
      const taken = all < cents ? cents + penaltyCents : cents;
      add(checking, customer, -taken);
      return -taken;
    },
    sendPayment: async ({ from, to, cents }) => {
      if (checking.get(from)! < cents) return;
      add(checking, from, -cents);
      add(checking, to, cents);
    },
  };
}
