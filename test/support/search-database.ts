import type { Queryable } from "../../db/pool.ts";

/**
 * Where a word stands in the tables of a schema: `table.column: rows`, whatever the type of the
 * column, and whatever the case. Bytes are read as text; partitions are seen through their parent.
 */
export async function searchDatabase(
  db: Queryable,
  word: string,
  schema = "holdfast",
): Promise<string[]> {
  const { rows: columns } = await db.query<{ table: string; column: string; type: string }>(
    `select c.table_name as table, c.column_name as column, c.data_type as type
       from information_schema.columns c
       join pg_class r on r.oid = format('%I.%I', c.table_schema, c.table_name)::regclass
      where c.table_schema = $1 and r.relkind in ('r', 'p') and not r.relispartition
      order by 1, 2`,
    [schema],
  );
  if (columns.length === 0) throw new Error(`schema ${schema} has no tables to search`);
  const searches = columns.map(({ table, column, type }) => {
    const text = type === "bytea" ? `encode("${column}", 'escape')` : `"${column}"::text`;
    return `select '${table}.${column}' as place, count(*)::int as n
              from "${schema}"."${table}" where ${text} ilike '%' || $1 || '%'`;
  });
  const { rows } = await db.query<{ place: string; n: number }>(searches.join("\nunion all\n"), [
    word,
  ]);
  return rows.filter((row) => row.n > 0).map((row) => `${row.place}: ${row.n}`);
}
