import type { Db, Queryable } from "../../db/pool.ts";

export const HOUR = "clock_timestamp() + interval '1 hour'";
export const MANY = 50_000;

export interface Many {
  /** SQL: of entity `g`. */
  tenant?: string;
  branch?: string;
  /** SQL: they wait until then. */
  due?: string;
  /** SQL: they are claimed until then. */
  lease?: string;
}

/** Entities of one branch, or of as many tenants; those of the same place in the row are one identity. */
export async function insertMany(
  db: Db,
  from: number,
  n: number,
  { tenant = "'a'", branch = "main", due, lease }: Many = {},
): Promise<void> {
  const state = lease ? 10 : due ? 9 : 1;
  await db.query(
    `insert into holdfast.entities
       (id, tenant, branch, request, type, identity, hash, fields, state, due_at, waits_for, token, lease_until)
     select $1::bigint + g, ${tenant}, $3, '00000000-0000-0000-0000-000000000000', 'box',
            decode(md5(g::text), 'hex'), '\\x00', '{}', ${state}, ${due ?? "null"},
            ${due ? "array['k' || g]" : "null"}, ${lease ? "1" : "null"}, ${lease ?? "null"}
       from generate_series(1, $2::int) g`,
    [from, n, branch],
  );
}

/** Pages of tables and indexes that a statement looks at, which it does. */
export async function pagesOf(db: Queryable, sql: string, values: unknown[] = []): Promise<number> {
  const { rows } = await db.query<{ "QUERY PLAN": { Plan: Record<string, number> }[] }>(
    `explain (analyze, buffers, timing off, format json) ${sql}`,
    values,
  );
  const { Plan: plan } = rows[0]!["QUERY PLAN"][0]!;
  return plan["Shared Hit Blocks"]! + plan["Shared Read Blocks"]!;
}
