import type { Db, Queryable, Rows, TransactionOptions, Tx } from "../../db/pool.ts";

/** Called with the number of a statement, from 1 on. What it throws, the statement throws. */
export type Hook = (statement: number, text: string) => void | Promise<void>;

/**
 * The same database, with something happening before each statement, commits included. Transactions
 * are real. `after`: when what a statement did stands and only its answer is still to come, which is
 * the case of commits and of statements outside transactions.
 */
export function watched(db: Db, before: Hook, after: Hook = () => undefined): Db {
  let statements = 0;
  const watch = (inner: Queryable, stands: Hook): Queryable => ({
    async query<R>(text: string, values?: unknown[]): Promise<Rows<R>> {
      const statement = ++statements;
      await before(statement, text);
      const rows = await inner.query<R>(text, values);
      await stands(statement, text);
      return rows;
    },
  });
  const inside = (tx: Queryable) => watch(tx, () => undefined);
  return {
    ...db,
    query: watch(db, after).query,
    async transaction<T>(work: (tx: Tx) => Promise<T>, options?: TransactionOptions) {
      let statement = 0;
      const result = await db.transaction(async (tx) => {
        const answer = await work(inside(tx));
        statement = ++statements;
        await before(statement, "commit");
        return answer;
      }, options);
      await after(statement, "commit");
      return result;
    },
    within: (tx) => inside(db.within(tx)),
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
