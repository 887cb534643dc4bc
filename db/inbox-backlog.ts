import type { Queryable } from "./pool.ts";

/** For how long the tenant's oldest entity has waited to be planned, s; 0: none waits. Reads all that wait. */
export async function oldestQueuedSeconds(db: Queryable, tenant: string): Promise<number> {
  const { rows } = await db.query<{ seconds: number }>(
    `select coalesce(extract(epoch from clock_timestamp() - min(accepted_at)), 0)::float8 as seconds
       from holdfast.entities where tenant = $1 and state = 1 and operation is null`,
    [tenant],
  );
  return rows[0]!.seconds;
}
