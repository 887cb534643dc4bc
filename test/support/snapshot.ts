import type { Queryable } from "../../db/pool.ts";

/** Everything that stands in a schema, by table, rows in a stable order. */
export type Snapshot = Record<string, unknown[]>;

/** `but`: tables left out, such as logs, which a repeat may add to. */
export async function snapshotOf(
  db: Queryable,
  { schema = "holdfast", but = [] }: { schema?: string; but?: readonly string[] } = {},
): Promise<Snapshot> {
  const { rows: tables } = await db.query<{ name: string }>(
    `select relname as name from pg_class
      where relnamespace = $1::regnamespace and relkind in ('r', 'p') and not relispartition
      order by relname`,
    [schema],
  );
  const snapshot: Snapshot = {};
  for (const { name } of tables) {
    if (but.includes(name)) continue;
    const { rows } = await db.query<{ row: unknown }>(
      `select to_jsonb(t) as row from ${schema}.${name} t order by t::text`,
    );
    snapshot[name] = rows.map(({ row }) => row);
  }
  return snapshot;
}

/** How many rows each table that has any holds. */
export function sizes(snapshot: Snapshot): Record<string, number> {
  return Object.fromEntries(
    Object.entries(snapshot)
      .filter(([, rows]) => rows.length > 0)
      .map(([table, rows]) => [table, rows.length]),
  );
}
