import type { Db, Queryable, Rows, TransactionOptions, Tx } from "../../db/pool.ts";

/** Called before each statement with its number, from 1 on. What it throws, the statement throws. */
export type Before = (statement: number, text: string) => void | Promise<void>;

/** The same database, with something happening before each statement. Transactions are real. */
export function watched(db: Db, before: Before): Db {
  let statements = 0;
  const watch = (inner: Queryable): Queryable => ({
    async query<R>(text: string, values?: unknown[]): Promise<Rows<R>> {
      await before(++statements, text);
      return inner.query<R>(text, values);
    },
  });
  return {
    ...db,
    query: watch(db).query,
    transaction: <T>(work: (tx: Tx) => Promise<T>, options?: TransactionOptions) =>
      db.transaction((tx) => work(watch(tx)), options),
    within: (tx) => watch(db.within(tx)),
  };
}

/** Runs `work` and answers the statements it sent. */
export async function statementsOf(db: Db, work: (db: Db) => Promise<unknown>): Promise<string[]> {
  const seen: string[] = [];
  await work(watched(db, (_, text) => void seen.push(text)));
  return seen;
}

/** An error as Postgres or its driver gives it. */
export function fault(code: string, message = `injected ${code}`): Error & { code: string } {
  return Object.assign(new Error(message), { code });
}
