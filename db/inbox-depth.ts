import type { Queryable } from "./pool.ts";

/** How many entities of a tenant wait to be planned, counted up to `countTo`, from the index of them. */
export async function countQueued(db: Queryable, tenant: string, countTo: number): Promise<number> {
  const { rows } = await db.query<{ n: number }>(
    `select count(*)::int as n from (
       select from holdfast.entities where tenant = $1 and state = 1 and operation is null
        limit $2) queued`,
    [tenant, countTo],
  );
  return rows[0]!.n;
}
