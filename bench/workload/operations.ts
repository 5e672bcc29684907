/**
 * What the workloads do, whoever does it: Onefold over a transport, Redis or PostgreSQL. Each operation is durable when it
 * resolves, takes hold whole or not at all, and rejects only where something is broken.
 */

export const rowFieldNames = [
  "field0",
  "field1",
  "field2",
  "field3",
  "field4",
  "field5",
  "field6",
  "field7",
  "field8",
  "field9",
] as const;

export type RowFieldName = (typeof rowFieldNames)[number];
export type RowFields = { readonly [Name in RowFieldName]: string };

export interface Order {
  readonly quantity: number;
  readonly owner: string;
}

export interface Payment {
  readonly from: string;
  readonly to: string;
  readonly cents: number;
}

export interface CounterOperations {
  /** Adds one; resolves to the new value. */
  increment(id: string): Promise<number>;
  counterValue(id: string): Promise<number>;
}

export interface AccountOperations {
  /** Resolves to the new balance. */
  deposit(id: string, cents: number): Promise<number>;
  /** Rejects where `from` has too little; nothing has moved then. */
  transfer(payment: Payment): Promise<unknown>;
  balance(id: string): Promise<number>;
}

export interface BookOperations {
  /** Places `count` orders at the prices from `from` on. */
  fillBook(options: { readonly from: number; readonly count: number }): Promise<unknown>;
  /** Takes the order with the lowest price and places `order` at `price`; resolves to the number of open orders. */
  trade(price: string, order: Order): Promise<number>;
  openOrders(): Promise<number>;
}

export interface RowOperations {
  /** Inserts rows, in whatever way is fastest: not measured. */
  insertRows(rows: readonly { readonly id: string; readonly fields: RowFields }[]): Promise<unknown>;
  readRow(id: string): Promise<RowFields>;
  updateRow(id: string, change: { readonly field: RowFieldName; readonly value: string }): Promise<unknown>;
}

/** SmallBank's transactions. Those that change what the bank holds resolve to the change, 0 where they were refused. */
export interface CustomerOperations {
  /** For customers that have nothing yet, with this much in each of their two accounts: not measured. */
  openCustomers(ids: readonly string[], cents: number): Promise<unknown>;
  /** Both accounts together, as they were at one moment. */
  customerBalance(customer: string): Promise<number>;
  depositChecking(customer: string, cents: number): Promise<number>;
  /** `cents` may be negative; refused where it would leave less than nothing. */
  transactSavings(customer: string, cents: number): Promise<number>;
  /** All of one customer's money to another one's checking account. */
  amalgamate(customers: { readonly from: string; readonly to: string }): Promise<unknown>;
  /** From checking, whatever is there; costs `penaltyCents` more where both accounts together have less. */
  writeCheck(customer: string, check: { readonly cents: number; readonly penaltyCents: number }): Promise<number>;
  /** From checking to checking; without effect where there is too little. */
  sendPayment(payment: Payment): Promise<unknown>;
}

export interface Operations
  extends CounterOperations,
    AccountOperations,
    BookOperations,
    RowOperations,
    CustomerOperations {}
