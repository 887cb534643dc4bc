import { keySql, quoted, type Source } from "./index-source.ts";
import type { Queryable } from "./pool.ts";

/** Walking a registered table in order of its primary key, page by page, from any key on. */

export interface SourcePage {
  /** Objects looked at. */
  rows: number;
  /** Key of the last of them; null when there are none. */
  last: string | null;
}

/** The next `limit` objects after a key; undefined: from the beginning. */
export async function findSourcePage(
  db: Queryable,
  source: Source,
  after: string | undefined,
  limit: number,
): Promise<SourcePage> {
  const columns = source.keys.map(({ column }) => `t.${quoted(column)}`);
  const { rows } = await db.query<SourcePage>(
    `with page as (
       select ${keySql(source, "t")} as key,
              row_number() over (order by ${columns.join(", ")}) as no
         from ${source.table} t
        where ${after === undefined ? "true" : keyAfter(source, "t", "$2::text")}
        order by ${columns.join(", ")}
        limit $1)
     select no::int as rows, key as last from page order by no desc limit 1`,
    after === undefined ? [limit] : [limit, after],
  );
  return rows[0] ?? { rows: 0, last: null };
}

/**
 * SQL: true of a row whose key lies in a page. `after` and `last` are SQL texts; undefined: no bound.
 */
export function keyBetween(
  source: Pick<Source, "keys">,
  row: string,
  after: string | undefined,
  last: string | undefined,
): string {
  const bounds = [
    ...(after === undefined ? [] : [keyAfter(source, row, after)]),
    ...(last === undefined ? [] : [keyUpTo(source, row, last)]),
  ];
  return bounds.length === 0 ? "true" : bounds.join(" and ");
}

const keyAfter = (source: Pick<Source, "keys">, row: string, key: string) =>
  compared(source, row, ">", key);
const keyUpTo = (source: Pick<Source, "keys">, row: string, key: string) =>
  compared(source, row, "<=", key);

// As one comparison of rows, which the index of the primary key answers.
function compared(
  { keys }: Pick<Source, "keys">,
  row: string,
  sign: ">" | "<=",
  key: string,
): string {
  const columns = keys.map(({ column }) => `${row}.${quoted(column)}`);
  const [only, ...others] = keys;
  if (others.length === 0) return `${columns[0]} ${sign} (${key})::${only!.type}`;
  const values = keys.map(({ type }, place) => `(${key}::jsonb ->> ${place})::${type}`);
  return `(${columns.join(", ")}) ${sign} (${values.join(", ")})`;
}
