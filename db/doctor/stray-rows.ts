import { BY_OPERATION, makePartitions } from "../partitions.ts";
import type { Queryable } from "../pool.ts";
import { KEEP } from "../retention.ts";

/** Rows in default partitions, where retention does not find them. */

export const PARTITIONED = [...BY_OPERATION, "logs"] as const;

/** More than this is moved by a person, in a quiet hour: writers wait meanwhile. */
export const MOST_MOVED = 200_000;
const DAY_MS = 86_400_000;

/** Rows of each default partition; counting stops above what would be moved. */
export async function countStrayRows(db: Queryable): Promise<{ table: string; n: number }[]> {
  const counts = PARTITIONED.map(
    (table) =>
      `select '${table}' as table, count(*)::int as n
         from (select from holdfast.${table}_default limit ${MOST_MOVED + 1}) as rows`,
  );
  const { rows } = await db.query<{ table: string; n: number }>(
    `select * from (${counts.join(" union all ")}) as counted where n > 0`,
  );
  return rows;
}

/** Makes the partitions of stray rows, which moves them there. */
export async function moveStrayRows(db: Queryable): Promise<void> {
  for (const day of await strayDays(db)) await makePartitions(db, day);
}

const MS_OF_ID = "('x' || substr(replace(operation_id::text, '-', ''), 1, 12))::bit(48)::bigint";

/** Days of stray rows. What is out of any sensible time gets no partition: it stays where it is. */
async function strayDays(db: Queryable): Promise<number[]> {
  const times = [
    ...BY_OPERATION.map((table) => `select ${MS_OF_ID} as ms from holdfast.${table}_default`),
    "select (extract(epoch from at) * 1000)::bigint from holdfast.logs_default",
  ];
  const { rows } = await db.query<{ day: number }>(
    `select distinct (ms / ${DAY_MS})::int as day from (${times.join(" union all ")}) as times
      where ms between $1 and $2 order by 1`,
    [Date.now() - (KEEP.operations + 30) * DAY_MS, Date.now() + 60 * DAY_MS],
  );
  return rows.map(({ day }) => day * DAY_MS);
}
