/**
 * PostgreSQL as a subject: one table for each kind of thing, prepared statements over a pool of connections. What touches several rows is a
 * transaction that locks them in the order of their ids first, at the default level of isolation (read committed).
 */
import { once } from "node:events";
import { Pool, type PoolClient } from "pg";
import { type Operations, type RowFields, rowFieldNames } from "../workload/operations.ts";
import type { Subject } from "./subject.ts";

/** PostgreSQL takes 100 at most unless it is told otherwise, and gains nothing by more on few processors. */
export const poolConnectionsMax = 64;

const schema = `
  DROP TABLE IF EXISTS counter, account, book, book_order, usertable, savings, checking;
  CREATE TABLE counter (id text PRIMARY KEY, value bigint NOT NULL);
  CREATE TABLE account (id text PRIMARY KEY, cents bigint NOT NULL);
  CREATE TABLE book (id integer PRIMARY KEY, placed bigint NOT NULL, taken bigint NOT NULL);
  INSERT INTO book VALUES (1, 0, 0);
  CREATE TABLE book_order (price text PRIMARY KEY, quantity integer NOT NULL, owner text NOT NULL);
  CREATE TABLE usertable (id text PRIMARY KEY, ${rowFieldNames.map((name) => `${name} text NOT NULL`).join(", ")});
  CREATE TABLE savings (id text PRIMARY KEY, cents bigint NOT NULL);
  CREATE TABLE checking (id text PRIMARY KEY, cents bigint NOT NULL);
`;

const statements = {
  begin: "BEGIN",
  commit: "COMMIT",
  increment: `INSERT INTO counter VALUES ($1, 1)
    ON CONFLICT (id) DO UPDATE SET value = counter.value + 1 RETURNING value`,
  counterValue: "SELECT value FROM counter WHERE id = $1",
  deposit: `INSERT INTO account VALUES ($1, $2)
    ON CONFLICT (id) DO UPDATE SET cents = account.cents + excluded.cents RETURNING cents`,
  lockAccounts: "SELECT id, cents FROM account WHERE id = ANY($1) ORDER BY id FOR UPDATE",
  moveCents: `UPDATE account SET cents = cents + CASE WHEN id = $1 THEN -$3::bigint ELSE $3::bigint END
    WHERE id IN ($1, $2)`,
  balance: "SELECT cents FROM account WHERE id = $1",
  fillBook: `INSERT INTO book_order
    SELECT lpad(($1::integer + i)::text, 9, '0'), 1, 'market maker' FROM generate_series(0, $2::integer - 1) AS i`,
  notePlaced: "UPDATE book SET placed = placed + $1 WHERE id = 1",
  lockBook: "SELECT placed FROM book WHERE id = 1 FOR UPDATE",
  trade: `WITH
    best AS (DELETE FROM book_order WHERE price = (SELECT price FROM book_order ORDER BY price LIMIT 1) RETURNING price),
    added AS (INSERT INTO book_order VALUES ($1, $2, $3))
    UPDATE book SET placed = placed + 1, taken = taken + (SELECT count(*) FROM best) WHERE id = 1
    RETURNING placed - taken AS open`,
  openOrders: "SELECT placed - taken AS open FROM book WHERE id = 1",
  readRow: `SELECT ${rowFieldNames.join(", ")} FROM usertable WHERE id = $1`,
  insertRows: `INSERT INTO usertable SELECT * FROM unnest($1::text[], ${rowFieldNames.map((_, i) => `$${i + 2}::text[]`).join(", ")})`,
  openSavings: "INSERT INTO savings SELECT id, $2 FROM unnest($1::text[]) AS id",
  openChecking: "INSERT INTO checking SELECT id, $2 FROM unnest($1::text[]) AS id",
  customerBalance: `SELECT savings.cents + checking.cents AS cents FROM savings JOIN checking USING (id) WHERE id = $1`,
  depositChecking: "UPDATE checking SET cents = cents + $2 WHERE id = $1",
  transactSavings: "UPDATE savings SET cents = cents + $2 WHERE id = $1 AND cents + $2 >= 0",
  lockSavings: "SELECT cents FROM savings WHERE id = $1 FOR UPDATE",
  lockChecking: "SELECT id, cents FROM checking WHERE id = ANY($1) ORDER BY id FOR UPDATE",
  emptySavings: "UPDATE savings SET cents = 0 WHERE id = $1",
  amalgamate: `UPDATE checking SET cents = CASE WHEN id = $1 THEN 0 ELSE cents + $3::bigint END WHERE id IN ($1, $2)`,
  sendPayment: `UPDATE checking SET cents = cents + CASE WHEN id = $1 THEN -$3::bigint ELSE $3::bigint END
    WHERE id IN ($1, $2)`,
} as const;

/** One for each field, because a statement can't be prepared for a column to be named later. */
const updateRow = Object.fromEntries(
  rowFieldNames.map((name) => [name, `UPDATE usertable SET ${name} = $2 WHERE id = $1`]),
);

type Statement = keyof typeof statements;
type Row = Readonly<Record<string, string>>;

/** Connects to PostgreSQL at `port` on loopback and makes empty tables. Rejects where it does not sync what it commits. */
export async function openPostgres(port: number): Promise<Subject> {
  const pool = new Pool({ host: "127.0.0.1", port, user: "bench", database: "postgres", max: poolConnectionsMax });
  const connectionsEnded: Promise<unknown>[] = [];
  pool.on("connect", (client) => connectionsEnded.push(once(client, "end")));
  for (const setting of ["fsync", "synchronous_commit"]) {
    const { rows } = await pool.query<Row>(`SHOW ${setting}`);
    if (rows[0]![setting] !== "on") throw new Error(`PostgreSQL runs with ${setting} ${rows[0]![setting]}`);
  }
  await pool.query(schema);
  return {
    operations: postgresOperations(pool),
    // PostgreSQL is what Onefold is held against; it is not held against anything itself.
    mark: () => async () => undefined,
    close: async () => {
      await pool.end();
      // The pool has only said goodbye; whoever stops the server now would break off what is still going on.
      await Promise.all(connectionsEnded);
    },
  };
}

type Queryable = Pick<Pool | PoolClient, "query">;

/** Prepared when a connection first runs it. */
async function run(on: Queryable, name: Statement, values: readonly unknown[] = []): Promise<readonly Row[]> {
  const { rows } = await (on as Pool).query<Row>({ name, text: statements[name], values: [...values] });
  return rows;
}

/** How many rows it changed. */
async function change(on: Queryable, name: Statement, values: readonly unknown[]): Promise<number> {
  const { rowCount } = await (on as Pool).query({ name, text: statements[name], values: [...values] });
  return rowCount ?? 0;
}

/** Commits what `body` does, or nothing of it. */
async function inTransaction<T>(pool: Pool, body: (client: PoolClient) => Promise<T>): Promise<T> {
  const client = await pool.connect();
  let failure: Error | undefined;
  try {
    await run(client, "begin");
    const result = await body(client);
    await run(client, "commit");
    return result;
  } catch (error) {
    failure = error as Error;
    throw error;
  } finally {
    // A connection in the middle of a transaction is thrown away, and the transaction with it.
    client.release(failure);
  }
}

function postgresOperations(pool: Pool): Operations {
  const number = async (name: Statement, column: string, values: readonly unknown[] = []) =>
    Number((await run(pool, name, values))[0]![column]);
  return {
    increment: (id) => number("increment", "value", [id]),
    counterValue: (id) => number("counterValue", "value", [id]),

    deposit: (id, cents) => number("deposit", "cents", [id, cents]),
    transfer: ({ from, to, cents }) =>
      inTransaction(pool, async (client) => {
        const locked = await run(client, "lockAccounts", [[from, to]]);
        if (centsOf(locked, from) < cents) throw new Error(`${from} has too little money`);
        await run(client, "moveCents", [from, to, cents]);
      }),
    balance: (id) => number("balance", "cents", [id]),

    fillBook: ({ from, count }) =>
      inTransaction(pool, async (client) => {
        await run(client, "fillBook", [from, count]);
        await run(client, "notePlaced", [count]);
      }),
    trade: (price, { quantity, owner }) =>
      inTransaction(pool, async (client) => {
        // The lock comes first, so that the statement after it sees what those before it have left.
        await run(client, "lockBook");
        const [row] = await run(client, "trade", [price, quantity, owner]);
        return Number(row!.open);
      }),
    openOrders: () => number("openOrders", "open"),

    insertRows: (rows) =>
      run(pool, "insertRows", [
        rows.map(({ id }) => id),
        ...rowFieldNames.map((name) => rows.map(({ fields }) => fields[name])),
      ]),
    readRow: async (id) => (await run(pool, "readRow", [id]))[0] as RowFields,
    updateRow: (id, { field, value }) =>
      pool.query({ name: `update-${field}`, text: updateRow[field]!, values: [id, value] }),

    openCustomers: async (ids, cents) => {
      await run(pool, "openSavings", [ids, cents]);
      await run(pool, "openChecking", [ids, cents]);
    },
    customerBalance: (customer) => number("customerBalance", "cents", [customer]),
    depositChecking: async (customer, cents) => {
      await run(pool, "depositChecking", [customer, cents]);
      return cents;
    },
    transactSavings: async (customer, cents) =>
      (await change(pool, "transactSavings", [customer, cents])) === 0 ? 0 : cents,
    amalgamate: ({ from, to }) =>
      inTransaction(pool, async (client) => {
        const [savings] = await run(client, "lockSavings", [from]);
        const checking = await run(client, "lockChecking", [[from, to]]);
        await run(client, "emptySavings", [from]);
        await run(client, "amalgamate", [from, to, Number(savings!.cents) + centsOf(checking, from)]);
      }),
    writeCheck: (customer, { cents, penaltyCents }) =>
      inTransaction(pool, async (client) => {
        const [savings] = await run(client, "lockSavings", [customer]);
        const checking = await run(client, "lockChecking", [[customer]]);
        const all = Number(savings!.cents) + centsOf(checking, customer);
        const taken = all < cents ? cents + penaltyCents : cents;
        await run(client, "depositChecking", [customer, -taken]);
        return -taken;
      }),
    sendPayment: ({ from, to, cents }) =>
      inTransaction(pool, async (client) => {
        const checking = await run(client, "lockChecking", [[from, to]]);
        if (centsOf(checking, from) >= cents) await run(client, "sendPayment", [from, to, cents]);
      }),
  };
}

function centsOf(rows: readonly Row[], id: string): number {
  const row = rows.find((each) => each.id === id);
  if (row === undefined) throw new Error(`there is no ${id}`);
  return Number(row.cents);
}
