import type { Db, Queryable } from "../../db/pool.ts";

/** What `work` looked at in tables and indexes of these names, counted by the one session it ran in. */
export async function rowsRead(
  db: Db,
  names: string,
  work: (tx: Queryable) => Promise<unknown>,
): Promise<number> {
  return db.transaction(async (tx) => {
    const rows = async () =>
      (
        await tx.query<{ n: number }>(
          `select sum(pg_stat_get_xact_tuples_fetched(oid) + pg_stat_get_xact_tuples_returned(oid))::int as n
             from pg_class where relname ~ $1`,
          [names],
        )
      ).rows[0]!.n;
    const before = await rows();
    await work(tx);
    return (await rows()) - before;
  });
}
